package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
)

func (c *cli) checkpointCommand() *cobra.Command {
	var f operationFlags
	var full bool
	cmd := &cobra.Command{
		Use: "checkpoint JOB", Short: "Have a checkpoint of a running job taken now",
		Long: `Have a checkpoint of a running job taken now, beside those that it takes by itself. It is one of
the job's checkpoints like any other: kept and deleted as they are. Its folder is the only line on stdout.`,
		Args: words("JOB"), ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.checkpoint(cmd.Context(), f, args[0], full)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&full, "full", false, "write all state anew, and refer to nothing that older checkpoints wrote")
	return cmd
}

func (c *cli) checkpoint(ctx context.Context, f operationFlags, ref string, full bool) error {
	r := api.CheckpointRequest{CheckpointType: api.CheckpointConfigured}
	if full {
		r.CheckpointType = api.CheckpointFull
	}
	return c.onJob(ctx, f, ref, verb{
		name: "checkpoint", command: "checkpoint", known: client.CheckpointOperation,
		start: func(ctx context.Context, cl *client.Client, job, trigger string) (client.Operation, error) {
			r.TriggerID = trigger
			return cl.Checkpoint(ctx, job, r)
		},
		told: func(j *api.Job, out *outcome, took string) string {
			return fmt.Sprintf("checkpoint %d of job %q is complete after %s", out.CheckpointID, j.Name, took)
		},
	})
}
