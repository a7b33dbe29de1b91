package minicluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/taskmanager"
	"github.com/weirstream/weir/taskmanager/task"
	"github.com/weirstream/weir/taskmanager/worker"
)

// launcher starts workers as objects of this process.
type launcher struct {
	program func() (*task.Program, error)
	agent   func(ctx context.Context) (net.Conn, error)
	data    *memnet.Network // shared by all workers of the cluster
	log     *slog.Logger
}

// NeedsBinary implements taskmanager.Launcher.
func (l *launcher) NeedsBinary() bool { return false }

// Launch implements taskmanager.Launcher.
func (l *launcher) Launch(s taskmanager.WorkerSpec) (taskmanager.Process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &object{cancel: cancel, ended: make(chan taskmanager.Exit, 1)}
	go func() {
		err := worker.Run(ctx, worker.Options{
			JobID: job.ID(s.JobID), WorkerID: s.WorkerID, NewProgram: l.program, DialAgent: l.agent,
			TCP: fmt.Sprintf("worker-%d", s.WorkerID), Listen: l.data.Listen, Dial: l.data.Dial, Log: l.log,
		})
		reason := "the worker ended"
		if err != nil {
			reason = err.Error()
		}
		p.ended <- taskmanager.Exit{Reason: reason}
	}()
	return p, nil
}

// object is a worker that is no process.
type object struct {
	cancel context.CancelFunc
	ended  chan taskmanager.Exit
}

// PID implements taskmanager.Process.
func (o *object) PID() int { return os.Getpid() }

// Wait implements taskmanager.Process.
func (o *object) Wait() taskmanager.Exit { return <-o.ended }

// Terminate implements taskmanager.Process.
func (o *object) Terminate() { o.cancel() }

// Kill implements taskmanager.Process. A goroutine can't be killed: the worker is
// cancelled, and one that does not return is left behind.
func (o *object) Kill() { o.cancel() }
