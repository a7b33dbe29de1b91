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
	"strconv"
	"strings"

	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/minicluster"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/taskmanager/task"
	"github.com/weirstream/weir/taskmanager/worker"
)

// EnvLog is the level of the runtime's log in local mode: "debug", "info", "warn" or
// "error". Without it only failures after which the job is restarted are told of.
const EnvLog = "WEIR_LOG"

// runLocal runs the job in this process to its end and returns its closing line, ""
// if the plan has none.
func runLocal(ctx context.Context, plan *metapb.Plan, newProgram func() (*task.Program, error), log *slog.Logger) (line string, err error) {
	r, err := minicluster.Run(ctx, minicluster.Options{NewProgram: newProgram, Log: log}, plan, nil)
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

// localLog is the log of local mode at the level that EnvLog names.
func localLog(level string, to io.Writer) (*slog.Logger, error) {
	if level == "" {
		return slog.New(passing{slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelWarn})}), nil
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		levels := []string{"debug", "info", "warn", "error"}
		hint := "one of " + strings.Join(levels, ", ") + " is possible"
		if near := config.Nearest(strings.ToLower(level), levels); near != "" {
			hint = "did you mean " + EnvLog + "=" + near + "?"
		}
		return nil, fmt.Errorf("%w: %s=%s is no level of a log; %s", ErrUsage, EnvLog, level, hint)
	}
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: l})), nil
}

// passing is a log of failures after which the job is restarted, and of nothing else:
// how it ends is said by the program's last line.
type passing struct{ slog.Handler }

// Handle implements slog.Handler.
func (h passing) Handle(ctx context.Context, r slog.Record) error {
	restarted := false
	r.Attrs(func(a slog.Attr) bool {
		restarted = a.Key == "given_up" && a.Value.Kind() == slog.KindBool && !a.Value.Bool()
		return !restarted
	})
	if !restarted {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h passing) WithAttrs(as []slog.Attr) slog.Handler { return passing{h.Handler.WithAttrs(as)} }

// WithGroup implements slog.Handler.
func (h passing) WithGroup(name string) slog.Handler { return passing{h.Handler.WithGroup(name)} }

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
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}
