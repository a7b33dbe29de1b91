package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/taskmanager"
)

// taskManagerConfig is what a TaskManager is started with.
type taskManagerConfig struct {
	JobManagers []string // RPC addresses
	Slots       int
	Data        string // folder, made and locked
	Host        string
	ClusterID   string
	Memory      int64 // bytes
	Log         *slog.Logger
}

func (c *cli) taskManagerCommand() *cobra.Command {
	var d daemonFlags
	cmd := &cobra.Command{
		Use: "taskmanager", Short: "Start a TaskManager", Args: words(),
		Long: `Start a TaskManager: it offers its slots to the leading JobManager and runs a worker for each job
that gets some. While there is no JobManager it keeps trying.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := terminated(cmd.Context())
			defer stop()
			cfg, release, err := c.taskManagerConfig(cmd, &d)
			if err != nil {
				return err
			}
			defer release()
			return runTaskManager(ctx, cfg)
		},
	}
	d.add(cmd)
	d.setting(cmd, "jobmanager", config.TaskJobManagers.Option, "RPC addresses of the JobManagers, host:port,… (default 127.0.0.1:6123)")
	d.setting(cmd, "slots", config.TaskSlots.Option, "slots to offer (default 1)")
	d.flag(cmd, "data", "data folder (default ~/.weir/taskmanager)", folder(config.TaskManagerData.Option, "data"))
	d.setting(cmd, "host", config.TaskHost.Option, "address at which other hosts reach this one's workers (default 127.0.0.1)")
	d.setting(cmd, "cluster-id", config.ClusterID.Option, "name of the cluster; JobManagers of another are refused (default whichever they have)")
	return cmd
}

func (c *cli) taskManagerConfig(cmd *cobra.Command, d *daemonFlags) (cfg taskManagerConfig, release func(), err error) {
	e, err := c.resolve(cmd, d)
	if err != nil {
		return cfg, nil, err
	}
	cfg = taskManagerConfig{
		JobManagers: e.Get(config.TaskJobManagers), Slots: e.Get(config.TaskSlots), Host: e.Get(config.TaskHost),
		ClusterID: e.Given()[config.ClusterID.Option.Key], Memory: e.ProcessMemory(),
	}
	if len(cfg.JobManagers) == 0 {
		cfg.JobManagers = []string{net.JoinHostPort(e.Get(config.RPCAddress), strconv.Itoa(e.Get(config.RPCPort)))}
	}
	for _, a := range cfg.JobManagers {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return cfg, nil, usage(fmt.Sprintf("JobManager address %q is not of the form host:port", a), "such as --jobmanager 127.0.0.1:6123")
		}
	}
	if err := checkExposure("address", "--host", cfg.Host, false, d.insecure); err != nil {
		return cfg, nil, err
	}
	cfg.Log = c.logger(e)
	data, lock, err := dataFolder(e.Get(config.TaskManagerData), "taskmanager")
	if err != nil {
		return cfg, nil, err
	}
	cfg.Data = data
	return cfg, func() { lock.Close() }, nil
}

// runTaskManager serves until ctx is done.
func runTaskManager(ctx context.Context, cfg taskManagerConfig) error {
	launcher := &taskmanager.ProcessLauncher{}
	defer launcher.Close()
	t, err := taskmanager.New(taskmanager.Config{
		ClusterID: cfg.ClusterID, Host: cfg.Host, Slots: cfg.Slots, JobManagers: cfg.JobManagers, Data: cfg.Data, Memory: cfg.Memory,
		Version: buildflags.Version(), Launcher: launcher, Log: cfg.Log,
	})
	if err != nil {
		return err
	}
	cfg.Log.Info("TaskManager started", "taskmanager", t.ID(), "slots", cfg.Slots, "memory", size(uint64(cfg.Memory)), "jobmanagers", cfg.JobManagers, "data", cfg.Data)
	switch err := t.Run(ctx); {
	case errors.Is(err, taskmanager.ErrRefused):
		return failure(exitConflict, "REGISTRATION_REFUSED", err.Error())
	case err != nil:
		return err
	}
	cfg.Log.Info("TaskManager stopped", "taskmanager", t.ID(), "cause", stopCause(ctx))
	return nil
}
