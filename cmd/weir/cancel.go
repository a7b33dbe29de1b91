package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/config"
)

func (c *cli) cancelCommand() *cobra.Command {
	var detach bool
	var timeout, folder string
	cmd := &cobra.Command{
		Use: "cancel JOB", Short: "Cancel a job; its checkpoints are kept",
		Long: `Cancel a job and wait until it is CANCELED. Its checkpoints are kept unless
execution.checkpointing.externalized-checkpoint-retention says otherwise.

With -s a savepoint is taken first; if it fails, the job goes on. What the sinks had prepared after it
is dropped: prefer weir stop.`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("withSavepoint") {
				ref, dir, err := optionalFolder(cmd, args, folder)
				if err != nil {
					return err
				}
				return c.cancelWithSavepoint(cmd.Context(), operationFlags{detached: detach, timeout: timeout}, ref, dir)
			}
			if err := words("JOB")(cmd, args); err != nil {
				return err
			}
			limit, err := parseTimeout(timeout)
			if err != nil {
				return err
			}
			return c.cancel(cmd.Context(), args[0], detach, limit)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detached", "d", false, "do not wait for the job's end")
	cmd.Flags().StringVar(&timeout, "timeout", "", `longest wait, such as "30s" (default: none)`)
	cmd.Flags().StringVarP(&folder, "withSavepoint", "s", "", "take a savepoint first, into `[DIR]` (default: execution.checkpointing.savepoint-dir)")
	return cmd
}

func (c *cli) cancelWithSavepoint(ctx context.Context, f operationFlags, ref, folder string) error {
	c.say("note: prefer  weir stop " + ref + "  which also publishes what the sinks have prepared")
	return c.onJob(ctx, f, ref, verb{
		name: "savepoint", command: "savepoint", ended: api.StateCanceled, changes: true, known: client.SavepointOperation,
		start: func(ctx context.Context, cl *client.Client, job, trigger string) (client.Operation, error) {
			return cl.Savepoint(ctx, job, api.SavepointRequest{TriggerID: trigger, TargetDirectory: folder, CancelJob: true})
		},
		told: func(j *api.Job, out *outcome, _ string) string {
			return fmt.Sprintf("job %q is cancelled: %s; start from its savepoint:  weir run -s %s PKG|BINARY", j.Name, stateLine(j), out.Location)
		},
	})
}

func (c *cli) cancel(ctx context.Context, ref string, detach bool, limit time.Duration) error {
	ctx, stop := attached(ctx)
	defer stop()
	cl, err := c.connect()
	if err != nil {
		return err
	}
	j, err := cl.Find(ctx, ref)
	if err != nil {
		return err
	}
	if err := cl.Cancel(ctx, j.ID); err != nil {
		return err
	}
	if detach {
		c.say(fmt.Sprintf("job %q is being cancelled", j.Name))
		return nil
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
		defer cancel()
	}
	err = c.watch(ctx, cl, j.ID, func(now *api.Job) (bool, error) {
		j = now
		return api.Terminal(now.State), nil
	})
	switch {
	case errors.Is(err, errTimeout):
		return failure(exitTimeout, "TIMEOUT", fmt.Sprintf("%v passed and job %q is %s; it is still being cancelled", limit, j.Name, j.State))
	case errors.Is(err, context.Canceled):
		return c.detached(j.ID)
	case err != nil:
		return err
	case j.State != api.StateCanceled:
		return failure(exitConflict, "JOB_ENDED", fmt.Sprintf("job %q was not cancelled: it is %s", j.Name, j.State), "weir describe "+j.ID)
	}
	c.say(stateLine(j))
	kept := j.Settings[config.CheckpointRetention.Key] != "DELETE_ON_CANCELLATION" // if not, they may not be gone yet
	if cp := j.LastCheckpoint; kept && cp != nil && !cp.Discarded && cp.Path != "" {
		c.say(fmt.Sprintf("checkpoint %d is kept: %s", cp.ID, cp.Path))
	}
	_, err = c.structured(j, []string{j.ID})
	return err
}
