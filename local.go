package weir

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/minicluster"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/taskmanager"
	"github.com/weirstream/weir/taskmanager/task"
	"github.com/weirstream/weir/taskmanager/worker"
)

// EnvLog is the level of the runtime's log in local mode: "debug", "info", "warn" or
// "error". Without it only failures after which the job is restarted are told of.
const EnvLog = "WEIR_LOG"

// runLocal runs the job in this process to its end and returns its closing line, ""
// if the plan has none. level is EnvLog's value; what there is to tell goes to w.
func runLocal(ctx context.Context, plan *metapb.Plan, newProgram func() (*task.Program, error), level string, w io.Writer) (line string, err error) {
	o := minicluster.Options{NewProgram: newProgram}
	if level == "" {
		o.OnRestart = func(r minicluster.Restart) { // how the job ends is said by the last line
			fmt.Fprintf(w, "restart: %s; the job goes on from its last checkpoint in %v\n", r.Cause, r.In.Round(time.Millisecond))
		}
	} else {
		l, err := config.ParseLogLevel(EnvLog, level)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrUsage, err)
		}
		o.Log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
	}
	r, err := minicluster.Run(ctx, o, plan, nil)
	if err != nil {
		return "", fmt.Errorf("run job %q: %w", plan.Name, err)
	}
	if r.State != "FINISHED" {
		if r.Failure != "" {
			return "", fmt.Errorf("%w: it is %s: %s", errJob, r.State, r.Failure)
		}
		return "", fmt.Errorf("%w: it is %s", errJob, r.State)
	}
	return r.ClosingLine, nil
}

// runWorker serves the agent that listens at agent until the job has ended.
func runWorker(ctx context.Context, agent string, build func(*Env) error, opts []Option, args []string) error {
	id, err := strconv.ParseUint(os.Getenv(weirpb.EnvWorkerID), 10, 64)
	if err != nil {
		return fmt.Errorf("%s is no worker id: %w", weirpb.EnvWorkerID, err)
	}
	return worker.Run(ctx, worker.Options{
		JobID: job.ID(os.Getenv(weirpb.EnvWorkerJob)), WorkerID: id,
		NewProgram: func() (*task.Program, error) { return assemble(build, opts, args, os.Getenv) },
		DialAgent: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", agent)
		},
		TCP: net.JoinHostPort(cmp.Or(os.Getenv(weirpb.EnvWorkerHost), "127.0.0.1"), "0"), Unix: filepath.Join(filepath.Dir(agent), fmt.Sprintf("w%d", id)),
		SetMemory: func(bytes int64) { debug.SetMemoryLimit(taskmanager.GoMemoryLimit(bytes)) },
		Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}
