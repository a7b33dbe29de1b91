package minicluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha/memha"
	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager"
	"github.com/weirstream/weir/taskmanager/task"
)

// Options of a cluster in this process.
type Options struct {
	TaskManagers int // default 1
	Slots        int // of each TaskManager; default: what the job needs
	// Dir holds checkpoints and state; default: a temporary folder, removed by Close.
	Dir      string
	Memory   int64             // bytes of each TaskManager; 0: a default of the worker's
	Settings map[string]string // cluster configuration
	Log      *slog.Logger
	HA       *memha.Store // the records; default: new ones. A test gives its own, to depose the leader
	// OnRestart, if set, is told of each failure after which the job is restarted. It is called
	// by the JobManager's goroutine for the job and must not block.
	OnRestart func(Restart)
	// NewProgram builds the one program that this cluster can run.
	NewProgram func() (*task.Program, error)
}

// Restart is a failure after which a job, or a region of it, is started again.
type Restart struct {
	Job   job.ID
	Cause string        // who failed, and with what
	In    time.Duration // from now on
}

// Cluster is a running cluster.
type Cluster struct {
	o       Options
	manager *jobmanager.JobManager
	rpc     pipe
	data    *memnet.Network
	cancel  context.CancelFunc
	ended   chan error // of the JobManager
	members []*member
	temp    string
}

// member is one TaskManager.
type member struct {
	tm     *taskmanager.TaskManager
	cancel context.CancelFunc
	ended  chan error
}

// Start starts a cluster.
func Start(o Options) (*Cluster, error) {
	o.TaskManagers = cmp.Or(o.TaskManagers, 1)
	o.Slots = cmp.Or(o.Slots, 1)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{o: o, rpc: newPipe(), data: new(memnet.Network), ended: make(chan error, 1)}
	if o.Dir == "" {
		var err error
		if c.temp, err = os.MkdirTemp("", "weir"); err != nil {
			return nil, fmt.Errorf("make folder for local mode: %w", err)
		}
		c.o.Dir = c.temp
	}
	if o.HA == nil {
		o.HA = memha.New()
	}
	var err error
	c.manager, err = jobmanager.New(jobmanager.Config{
		HA: o.HA, Storage: filepath.Join(c.o.Dir, "ha"), Settings: o.Settings, RPC: c.rpc, Log: o.Log.With("part", "jobmanager"),
		RegionFailed: func(id job.ID, f execgraph.RegionFailed) {
			if o.OnRestart != nil && !f.GivenUp {
				o.OnRestart(Restart{Job: id, Cause: f.Failure.Cause, In: f.Delay})
			}
		},
	})
	if err != nil {
		return nil, errors.Join(err, c.removeTemp())
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() { c.ended <- c.manager.Run(ctx) }()
	for range o.TaskManagers {
		if err := c.AddTaskManager(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// AddTaskManager starts one more.
func (c *Cluster) AddTaskManager() error {
	agent := newPipe()
	n := len(c.members)
	tm, err := taskmanager.New(taskmanager.Config{
		ID: fmt.Sprintf("tm-%d", n), Slots: c.o.Slots, JobManagers: []string{"jobmanager"}, Memory: c.o.Memory,
		Data:          filepath.Join(c.o.Dir, fmt.Sprintf("tm-%d", n)),
		Launcher:      &launcher{program: c.o.NewProgram, agent: agent.dial, data: c.data, log: c.o.Log.With("part", "worker")},
		Dial:          func(ctx context.Context, _ string) (net.Conn, error) { return c.rpc.dial(ctx) },
		AgentListener: agent, Log: c.o.Log.With("part", "taskmanager"),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{tm: tm, cancel: cancel, ended: make(chan error, 1)}
	go func() { m.ended <- tm.Run(ctx) }()
	c.members = append(c.members, m)
	return nil
}

// StopTaskManager ends a TaskManager with its workers. A goroutine can't be killed
// as a process can: what the JobManager sees is the same, a stream that breaks.
func (c *Cluster) StopTaskManager(i int) error {
	if i < 0 || i >= len(c.members) || c.members[i] == nil {
		return fmt.Errorf("stop TaskManager %d of %d: there is none", i, len(c.members))
	}
	m := c.members[i]
	c.members[i] = nil
	m.cancel()
	return <-m.ended
}

// TaskManagerID is the id of a TaskManager, "" if it was stopped.
func (c *Cluster) TaskManagerID(i int) string {
	if i < 0 || i >= len(c.members) || c.members[i] == nil {
		return ""
	}
	return c.members[i].tm.ID()
}

// JobManager is the cluster's.
func (c *Cluster) JobManager() *jobmanager.JobManager { return c.manager }

// leadTimeout bounds the wait for the JobManager to lead: it has no rival.
const leadTimeout = 10 * time.Second

// Submit starts the job that plan describes.
func (c *Cluster) Submit(ctx context.Context, plan *metapb.Plan, settings map[string]string) (job.ID, error) {
	return c.SubmitFrom(ctx, plan, settings, api.Restore{})
}

// SubmitFrom is Submit for a job that starts from a snapshot.
func (c *Cluster) SubmitFrom(ctx context.Context, plan *metapb.Plan, settings map[string]string, from api.Restore) (job.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	for {
		id, _, err := c.manager.Submit(ctx, jobmanager.Submission{Plan: plan, Args: plan.Args, Settings: settings, Restore: from})
		if !errors.Is(err, jobmanager.ErrNotLeader) {
			return id, err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return "", err
		}
	}
}

// Close stops everything and removes the temporary folder.
func (c *Cluster) Close() error {
	var errs []error
	for _, m := range c.members {
		if m != nil {
			m.cancel()
		}
	}
	for _, m := range c.members {
		if m != nil {
			errs = append(errs, <-m.ended)
		}
	}
	if c.cancel != nil {
		c.cancel()
		errs = append(errs, <-c.ended)
	}
	return errors.Join(append(errs, c.removeTemp())...)
}

func (c *Cluster) removeTemp() error {
	if c.temp == "" {
		return nil
	}
	if err := os.RemoveAll(c.temp); err != nil {
		return fmt.Errorf("remove folder of local mode: %w", err)
	}
	return nil
}
