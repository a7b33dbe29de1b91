package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client/api"
)

func (c *cli) listCommand() *cobra.Command {
	var running, all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List jobs, newest first", Args: words(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			jobs, err := cl.Jobs(cmd.Context())
			if err != nil {
				return err
			}
			return c.list(jobs, running && !all)
		},
	}
	cmd.Flags().BoolVarP(&running, "running", "r", false, "only jobs that have not ended")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "all jobs, those that have ended too (the default)")
	return cmd
}

func (c *cli) list(jobs []*api.Job, running bool) error {
	shown, names := []*api.Job{}, []string{}
	for _, j := range jobs {
		if !running || !api.Terminal(j.State) {
			shown, names = append(shown, j), append(names, j.ID)
		}
	}
	if done, err := c.structured(shown, names); done {
		return err
	}
	if len(shown) == 0 {
		c.say("no jobs; start one:  weir run PKG|BINARY")
		return nil
	}
	rows := [][]string{{"ID", "NAME", "STATE", "DURATION", "PARALLELISM", "RESTARTS", "CHECKPOINT", "SIZE"}}
	if c.output == "wide" {
		rows[0] = append(rows[0], "SUBMITTED", "PATH", "LAST FAILURE")
	}
	for _, j := range shown {
		r := []string{j.ID, j.Name, j.State, since(j.DurationMS), strconv.Itoa(j.Parallelism), strconv.Itoa(j.Restarts), "-", "-"}
		path, failure := "-", "-"
		if cp := j.LastCheckpoint; cp != nil {
			r[6], r[7], path = strconv.FormatUint(cp.ID, 10), size(cp.Bytes), orDash(cp.Path)
		}
		if f := j.LastFailure; f != nil {
			failure = failureLine(f)
		}
		if c.output == "wide" {
			r = append(r, clock(j.SubmittedAt), path, failure)
		}
		rows = append(rows, r)
	}
	c.table(rows)
	return nil
}

func failureLine(f *api.Failure) string {
	if f.Task == "" {
		return oneLine(f.Cause)
	}
	return fmt.Sprintf("%s: %s", f.Task, oneLine(f.Cause))
}
