package main

import (
	"context"
	"os"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/daemon"
)

// runJobManager serves until ctx is done.
func runJobManager(ctx context.Context, c jobManagerConfig) error {
	c.Log.Info("JobManager starts", "rest", c.REST.Addr().String(), "rpc", c.RPC.Addr().String(), "data", c.Data,
		"cluster", c.ClusterID, "version", buildflags.Version())
	storage := c.Storage
	if !c.Shared {
		storage = ""
	}
	err := daemon.JobManager(ctx, daemon.JobManagerOptions{
		REST: c.REST, RPC: c.RPC, Data: c.Data, Storage: storage, Etcd: c.Etcd, ClusterID: c.ClusterID, Fatal: c.Fatal,
		Settings: c.Settings.Given(), Effective: settingsView(c.Settings), Token: c.Token, TLS: c.TLS,
		Hosts:             hostNames(c.Settings.Get(config.RESTAddress)),
		MaxBinary:         c.Settings.Get(config.RESTMaxBody),
		HeartbeatInterval: c.Settings.Get(config.HeartbeatInterval), HeartbeatTimeout: c.Settings.Get(config.HeartbeatTimeout),
		AdoptionTimeout: c.Settings.Get(config.AdoptionTimeout),
		RetainFor:       c.Settings.Get(config.HistoryAge), RetainJobs: c.Settings.Get(config.HistorySize),
		Version: buildflags.Version(), Commit: buildflags.Commit(), Log: c.Log,
	})
	if ctx.Err() != nil {
		c.Log.Info("JobManager stopped", "cause", stopCause(ctx))
	}
	return err
}

// settingsView is what is in effect, for the REST API.
func settingsView(e *config.Effective) []api.Setting {
	var all []api.Setting
	for _, v := range e.Settings() {
		all = append(all, api.Setting{Key: v.Option.Key, Value: v.Value, Origin: v.Origin})
	}
	return all
}

// hostNames are the names by which clients may address the REST API: the one it was
// given, and the machine's.
func hostNames(given string) []string {
	names := []string{given}
	if name, err := os.Hostname(); err == nil { // without a name it is reached by address
		names = append(names, name)
	}
	return names
}
