package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha/etcdha"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/jobmanager"
	"github.com/weirstream/weir/jobmanager/rest"
	"github.com/weirstream/weir/proto/metapb"
)

// JobManagerOptions say what a JobManager process is.
type JobManagerOptions struct {
	REST, RPC net.Listener // both doors, open; closed when JobManager returns
	Data      string       // folder; made if it is not there
	Storage   string       // high-availability.storageDir; "" = Data
	Etcd      []string     // endpoints; none = embedded, in Data
	ClusterID string
	LeaseTTL  time.Duration // 0 = etcdha's default
	Fatal     func(error)   // ends the process when the embedded etcd can't go on; see etcdha.Options

	Settings  map[string]string // cluster configuration, canonical keys
	Effective []api.Setting     // the same with origins, for the REST API
	Token     string            // that REST clients present; "" = none
	TLS       *tls.Config       // of the REST API; nil = plain
	Hosts     []string          // names that the REST API goes by
	MaxBinary int64

	HeartbeatInterval time.Duration
	HeartbeatTimeout  time.Duration
	AdoptionTimeout   time.Duration
	RetainFor         time.Duration
	RetainJobs        int

	Version, Commit string
	Log             *slog.Logger
}

// records are the open store of a JobManager.
type records interface {
	jobmanager.HA
	io.Closer
}

// openRecords opens etcd. The embedded one locks the data folder first.
func openRecords(ctx context.Context, o JobManagerOptions) (records, error) {
	opts := etcdha.Options{Endpoints: o.Etcd, ClusterID: o.ClusterID, LeaseTTL: o.LeaseTTL, Fatal: o.Fatal}
	if len(o.Etcd) > 0 {
		return etcdha.Open(opts)
	}
	return etcdha.StartEmbedded(ctx, filepath.Join(o.Data, "etcd"), "", opts)
}

// JobManager runs a JobManager until ctx is done.
func JobManager(ctx context.Context, o JobManagerOptions) (err error) {
	private := ""
	if o.Storage == "" && o.Settings[config.CheckpointDir.Key] == "" && o.Settings[config.CheckpointStorage.Key] != "jobmanager" {
		private = filepath.Join(o.Data, "checkpoints")
	}
	o.Storage = cmp.Or(o.Storage, o.Data)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	defer o.REST.Close() // the servers close them too, if they come to serve
	defer o.RPC.Close()
	store, err := openRecords(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var id [8]byte
	rand.Read(id[:])
	m, err := jobmanager.New(jobmanager.Config{
		ClusterID: o.ClusterID, HA: store, Storage: o.Storage, Private: private, Settings: o.Settings, Version: o.Version, RPC: o.RPC, Log: o.Log,
		HeartbeatInterval: o.HeartbeatInterval, HeartbeatTimeout: o.HeartbeatTimeout, AdoptionTimeout: o.AdoptionTimeout, RetainFor: o.RetainFor, RetainJobs: o.RetainJobs,
		Self: &metapb.LeaderRecord{
			RestAddress: reachable(o.REST.Addr()), RpcAddress: reachable(o.RPC.Addr()), Process: hex.EncodeToString(id[:]), Pid: uint32(os.Getpid()),
		},
	})
	if err != nil {
		return err
	}
	server, err := rest.New(rest.Options{
		Cluster: m.API(), Settings: o.Effective, Version: o.Version, Commit: o.Commit, Token: o.Token, Hosts: o.Hosts,
		MaxBinary: o.MaxBinary, TLS: o.TLS, Log: o.Log,
	})
	if err != nil {
		return err
	}
	return serve(ctx, m, server, o.REST)
}

// serve runs both until one ends or ctx is done, then ends the other.
func serve(ctx context.Context, m *jobmanager.JobManager, server *rest.Server, web net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- m.Run(ctx) }()
	go func() { ended <- server.Serve(ctx, web) }()
	first := <-ended
	cancel()
	return errors.Join(first, <-ended)
}

// reachable is the address by which others reach a listener: one on all addresses
// goes by the name of the host.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return a.String()
	}
	name, err := os.Hostname()
	if err != nil {
		return a.String()
	}
	return net.JoinHostPort(name, port)
}
