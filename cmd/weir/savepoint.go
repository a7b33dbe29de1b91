package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
)

func (c *cli) savepointCommand() *cobra.Command {
	var f operationFlags
	var format, dispose string
	cmd := &cobra.Command{
		Use: "savepoint JOB [DIR]", Short: "Take a savepoint of a running job, or delete one",
		Long: `Take a savepoint of a running job: a copy of its state that is complete in itself, can be moved
and belongs to you. The job goes on and does not wait for it. DIR is the folder to put it into, by
default execution.checkpointing.savepoint-dir. The savepoint's own folder is the only line on stdout.

With -d PATH the savepoint at PATH is deleted.`,
		Example:           "  weir savepoint orders /backup/weir\n  weir savepoint orders --type native --detached\n  weir savepoint -d /backup/weir/savepoint-0123ab-4f2a",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dispose != "" {
				if len(args) > 0 {
					return usage(fmt.Sprintf("weir savepoint -d takes one path, and not %q", args[0]), "weir savepoint -d PATH")
				}
				return c.dispose(cmd.Context(), f, dispose)
			}
			if len(args) > 2 {
				return words("JOB", "DIR")(cmd, args)
			}
			if len(args) == 0 {
				return words("JOB")(cmd, args)
			}
			folder, err := folderTyped(append(args, "")[1])
			if err != nil {
				return err
			}
			kind, err := parseFormat(format)
			if err != nil {
				return err
			}
			return c.savepoint(cmd.Context(), f, args[0], api.SavepointRequest{TargetDirectory: folder, FormatType: kind})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&format, "type", "", "canonical (default): one sorted run for each operator, for any backend; native: the runs as they are, quicker")
	cmd.Flags().StringVarP(&dispose, "dispose", "d", "", "delete the savepoint at `PATH`")
	cmd.Flags().VarPF(notBuilt("Weir does not run on YARN"), "yarnapplicationId", "", "").Hidden = true
	return cmd
}

func (c *cli) savepoint(ctx context.Context, f operationFlags, ref string, r api.SavepointRequest) error {
	return c.onJob(ctx, f, ref, verb{
		name: "savepoint", command: "savepoint", known: client.SavepointOperation,
		start: func(ctx context.Context, cl *client.Client, job, trigger string) (client.Operation, error) {
			r.TriggerID = trigger
			return cl.Savepoint(ctx, job, r)
		},
		told: func(j *api.Job, out *outcome, took string) string {
			return fmt.Sprintf("savepoint of job %q is complete after %s; start from it:  weir run -s %s PKG|BINARY", j.Name, took, out.Location)
		},
	})
}

func (c *cli) dispose(ctx context.Context, f operationFlags, path string) error {
	path, err := folderTyped(path)
	if err != nil {
		return err
	}
	cl, err := c.connect()
	if err != nil {
		return err
	}
	_, result, err := c.operate(ctx, cl, operation{
		verb: "disposal", flags: f, again: "weir savepoint -d " + path, known: client.DisposalOperation,
		start: func(ctx context.Context, trigger string) (client.Operation, error) {
			return cl.Dispose(ctx, api.DisposalRequest{TriggerID: trigger, Path: path})
		},
	})
	if err != nil || result == nil {
		return err
	}
	c.say("savepoint " + path + " is deleted")
	return nil
}

func (c *cli) stopCommand() *cobra.Command {
	var f operationFlags
	var format, folder string
	var drain bool
	cmd := &cobra.Command{
		Use: "stop JOB", Short: "Stop a job with a savepoint, from which it can go on",
		Long: `Stop a job: take a savepoint, have the sinks publish everything before it, and end the job as
FINISHED. Nothing is lost or doubled when it goes on from there. If its checkpoint fails, the job
goes on; if only the copy into DIR fails, the job has stopped and the error says where its state is.
With --drain the job ends as if its input had ended, before the savepoint: for good, as results of
what was still open have been emitted.`,
		Example: "  weir stop orders --savepointPath /backup/weir\n  weir run -s /backup/weir/savepoint-0123ab-4f2a ./orders",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, dir, err := optionalFolder(cmd, args, folder)
			if err != nil {
				return err
			}
			kind, err := parseFormat(format)
			if err != nil {
				return err
			}
			return c.stop(cmd.Context(), f, ref, api.StopRequest{TargetDirectory: dir, FormatType: kind, Drain: drain})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&folder, "savepointPath", "p", "", "folder to put the savepoint into, `DIR` (default: execution.checkpointing.savepoint-dir)")
	fl.StringVar(&format, "type", "", "canonical (default) or native; see weir savepoint")
	fl.BoolVarP(&drain, "drain", "d", false, "end the job as if its input had ended, before the savepoint")
	return cmd
}

func (c *cli) stop(ctx context.Context, f operationFlags, ref string, r api.StopRequest) error {
	return c.onJob(ctx, f, ref, verb{
		name: "stop", command: "stop", ended: api.StateFinished, changes: true, known: client.SavepointOperation,
		start: func(ctx context.Context, cl *client.Client, job, trigger string) (client.Operation, error) {
			r.TriggerID = trigger
			return cl.Stop(ctx, job, r)
		},
		told: func(j *api.Job, out *outcome, _ string) string {
			line := fmt.Sprintf("job %q is stopped: %s", j.Name, stateLine(j))
			if r.Drain {
				return line + "; it was drained and is not to go on"
			}
			return line + "; go on:  weir run -s " + out.Location + " PKG|BINARY"
		},
	})
}
