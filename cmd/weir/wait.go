package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/config"
)

// conditions are what can be waited for.
var conditions = []string{"finished", "running", "checkpoint"}

// errTimeout is the cause of a context whose --timeout has passed.
var errTimeout = errors.New("timeout")

func (c *cli) waitCommand() *cobra.Command {
	var condition, timeout string
	cmd := &cobra.Command{
		Use: "wait JOB --for=" + strings.Join(conditions, "|"), Short: "Wait until a job has finished, runs or has a checkpoint",
		Long: "Wait until a job has ended (finished; exit code 7 if it is FAILED or CANCELED), until all its\nsubtasks run (running), or until it has a completed checkpoint (checkpoint).",
		Args: words("JOB"), ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(conditions, condition) {
				hint := "one of " + strings.Join(conditions, ", ")
				if near := config.Nearest(condition, conditions); near != "" {
					hint = "did you mean --for=" + near + "?"
				}
				return usage(fmt.Sprintf("condition %q is not known", condition), hint)
			}
			limit, err := parseTimeout(timeout)
			if err != nil {
				return err
			}
			return c.wait(cmd.Context(), args[0], condition, limit)
		},
	}
	cmd.Flags().StringVar(&condition, "for", "finished", "what to wait for: "+strings.Join(conditions, "|"))
	cmd.Flags().StringVar(&timeout, "timeout", "", `longest wait, such as "30s"; the job goes on after it (default: none)`)
	return cmd
}

// parseTimeout reads --timeout; a number alone would be ms in the configuration, and
// seconds to many: it is refused.
func parseTimeout(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := config.ParseDuration(s)
	if err != nil || d <= 0 || !strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz") {
		return 0, usage(fmt.Sprintf("--timeout %q is not a duration", s), "such as --timeout=30s")
	}
	return d, nil
}

func (c *cli) wait(ctx context.Context, ref, condition string, limit time.Duration) error {
	ctx, stop := attached(ctx)
	defer stop()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
		defer cancel()
	}
	cl, err := c.connect()
	if err != nil {
		return err
	}
	var last *api.Job
	j, err := cl.Find(ctx, ref)
	if err == nil {
		last = j
		n := news{say: c.say}
		if f := j.LastFailure; f != nil {
			n.failure = f.Time // only what happens from now on
		}
		err = c.watch(ctx, cl, j.ID, func(j *api.Job) (bool, error) {
			last = j
			n.tell(j, time.Now())
			return met(j, condition)
		})
	}
	switch {
	case errors.Is(err, errTimeout):
		state := "not known yet"
		if last != nil {
			state = last.State
		}
		return failure(exitTimeout, "TIMEOUT", fmt.Sprintf("%v passed and job %s is %s; it goes on", limit, ref, state))
	case errors.Is(err, context.Canceled):
		return c.detached(ref)
	case err != nil:
		return err
	case condition == "finished":
		return c.ended(last)
	}
	_, err = c.structured(last, []string{last.ID})
	return err
}

// met reports whether a job fulfils a condition; the error says that it never will.
func met(j *api.Job, condition string) (bool, error) {
	ended := api.Terminal(j.State)
	switch condition {
	case "finished":
		return ended, nil
	case "running":
		if ended && j.State != api.StateFinished {
			return false, verdict(j)
		}
		return ended || j.State == api.StateRunning && allRun(j), nil
	}
	if j.LastCheckpoint != nil {
		return true, nil
	}
	if ended && j.State != api.StateFinished {
		return false, verdict(j)
	}
	if ended {
		return false, failure(exitConflict, "NO_CHECKPOINT", fmt.Sprintf("job %q is FINISHED and has no checkpoint", j.Name))
	}
	return false, nil
}

func allRun(j *api.Job) bool {
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			if s.State != "RUNNING" && s.State != "FINISHED" {
				return false
			}
		}
	}
	return len(j.Vertices) > 0
}
