package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/exit"
)

// jobManagerConfig is what a JobManager is started with.
type jobManagerConfig struct {
	REST, RPC net.Listener
	Data      string // folder, made and locked
	Storage   string // high-availability.storageDir, made
	Shared    bool   // Storage was given, and is not the data folder's
	Etcd      []string
	ClusterID string
	Settings  *config.Effective
	Token     string      // of REST; "" = none
	TLS       *tls.Config // of REST; nil = none
	Log       *slog.Logger
	Fatal     func(error) // ends the process when the embedded etcd can't go on
}

func (c *cli) jobManagerCommand() *cobra.Command {
	var d daemonFlags
	cmd := &cobra.Command{
		Use: "jobmanager", Short: "Start a JobManager", Args: words(),
		Long: `Start a JobManager. Several may run with the same etcd and storage folder: one leads, the others
stand by. Without --etcd it starts an etcd of its own in the data folder.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := terminated(cmd.Context())
			defer stop()
			cfg, release, err := c.jobManagerConfig(cmd, &d)
			if err != nil {
				return err
			}
			defer release()
			cfg.Fatal = func(err error) { os.Exit(c.report(etcdEnded(cfg.Data, err))) }
			return runJobManager(ctx, cfg)
		},
	}
	d.add(cmd)
	d.address(cmd, "rest", config.RESTAddress.Option, config.RESTPort.Option, "address of the REST API, host:port (default 127.0.0.1:8081)")
	d.address(cmd, "rpc", config.RPCAddress.Option, config.RPCPort.Option, "address for TaskManagers, host:port (default 127.0.0.1:6123)")
	d.flag(cmd, "data", "data folder (default ~/.weir/jobmanager)", folder(config.JobManagerData.Option, "data"))
	d.setting(cmd, "etcd", config.EtcdEndpoints.Option, "host:port,… of etcd (default: an embedded one)")
	d.setting(cmd, "cluster-id", config.ClusterID.Option, "name of the cluster (default weir)")
	return cmd
}

// jobManagerConfig checks everything that can be checked before a port is opened, in
// the order of what the user can do about it, and takes folder and ports.
func (c *cli) jobManagerConfig(cmd *cobra.Command, d *daemonFlags) (cfg jobManagerConfig, release func(), err error) {
	e, err := c.resolve(cmd, d)
	if err != nil {
		return cfg, nil, err
	}
	cfg = jobManagerConfig{
		Storage: e.Get(config.StorageDir), Etcd: e.Get(config.EtcdEndpoints), ClusterID: e.Get(config.ClusterID), Settings: e,
	}
	if cfg.Token, cfg.TLS, err = secrets(e); err != nil {
		return cfg, nil, err
	}
	if err := checkExposure("REST address", "--rest", e.Get(config.RESTAddress), cfg.Token != "" && cfg.TLS != nil, d.insecure); err != nil {
		return cfg, nil, err
	}
	if err := checkExposure("RPC address", "--rpc", e.Get(config.RPCAddress), false, d.insecure); err != nil {
		return cfg, nil, err
	}
	cfg.Log = c.logger(e)
	data, lock, err := dataFolder(e.Get(config.JobManagerData), "jobmanager")
	if err != nil {
		return cfg, nil, err
	}
	cfg.Data, cfg.Shared = data, cfg.Storage != ""
	if !cfg.Shared {
		cfg.Storage = data
		if len(cfg.Etcd) > 0 {
			cfg.Log.Warn("job binaries lie in this JobManager's own data folder; another JobManager can't take its jobs over: "+
				"set "+config.StorageDir.Key+" to a folder that all share", "folder", data)
		}
	} else if err := os.MkdirAll(cfg.Storage, 0o700); err != nil {
		lock.Close()
		return cfg, nil, failure(exitFailed, "STORAGE_FOLDER", fmt.Sprintf("%s %s can't be made: %v", config.StorageDir.Key, cfg.Storage, exit.WithoutPath(err)))
	}
	if cfg.REST, err = listen("REST address", "--rest", e.Get(config.RESTAddress), e.Get(config.RESTPort)); err != nil {
		lock.Close()
		return cfg, nil, err
	}
	if cfg.RPC, err = listen("RPC address", "--rpc", e.Get(config.RPCAddress), e.Get(config.RPCPort)); err != nil {
		cfg.REST.Close()
		lock.Close()
		return cfg, nil, err
	}
	return cfg, func() { // the listeners are closed by whoever serves them; closing twice is harmless
		cfg.REST.Close()
		cfg.RPC.Close()
		lock.Close()
	}, nil
}

// etcdEnded says what the embedded etcd died of, and the JobManager with it.
func etcdEnded(data string, err error) error {
	hint := "start the JobManager again; its jobs go on from their last checkpoints"
	if errors.Is(err, syscall.ENOSPC) {
		hint = "make room in " + data + " and " + hint
	}
	return failure(exitFailed, "ETCD_ENDED", fmt.Sprintf("the embedded etcd in %s can't go on: %v", data, err), hint)
}

// secrets reads the token and the certificate of the REST API.
func secrets(e *config.Effective) (token string, t *tls.Config, err error) {
	if path := e.Get(config.RESTTokenFile); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", nil, failure(exitUsage, "TOKEN_FILE", fmt.Sprintf("%s %s can't be read: %v", config.RESTTokenFile.Key, path, exit.WithoutPath(err)))
		}
		if token = strings.TrimSpace(string(b)); len(token) < 16 {
			return "", nil, failure(exitUsage, "TOKEN_FILE", fmt.Sprintf("%s %s holds %d characters, a token has at least 16", config.RESTTokenFile.Key, path, len(token)), "openssl rand -hex 32 > FILE")
		}
	}
	cert, key := e.Get(config.RESTCert), e.Get(config.RESTKey)
	if cert == "" && key == "" {
		return token, nil, nil
	}
	if cert == "" || key == "" {
		return "", nil, failure(exitUsage, "TLS", fmt.Sprintf("%s and %s must be given together", config.RESTCert.Key, config.RESTKey.Key))
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return "", nil, failure(exitUsage, "TLS", fmt.Sprintf("certificate %s with key %s: %v", cert, key, exit.WithoutPath(err)))
	}
	return token, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
