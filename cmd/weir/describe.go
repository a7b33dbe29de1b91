package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client/api"
)

func (c *cli) describeCommand() *cobra.Command {
	var checkpoint uint64
	cmd := &cobra.Command{
		Use: "describe JOB", Short: "Show a job: its subtasks, checkpoints, failures and result",
		Long: `Show a job, named by its name, its id or a beginning that only one job has. With --checkpoint, one of
its checkpoints: what each subtask did for it, and how long that took.`,
		Args: words("JOB"), ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, j, err := c.findJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("checkpoint") {
				return c.describe(j)
			}
			d, err := cl.CheckpointDetails(cmd.Context(), j.ID, checkpoint)
			if err != nil {
				return err
			}
			return c.describeCheckpoint(d)
		},
	}
	cmd.Flags().Uint64Var(&checkpoint, "checkpoint", 0, "show the checkpoint of this `ID`")
	return cmd
}

func (c *cli) describeCheckpoint(d *api.CheckpointDetails) error {
	if done, err := c.structured(d, []string{strconv.FormatUint(d.ID, 10)}); done {
		return err
	}
	head := [][]string{
		{"checkpoint", fmt.Sprintf("%d, %s", d.ID, d.Kind)}, {"status", d.Status}, {"triggered", clock(d.TriggeredAt) + " UTC"}, {"took", since(d.DurationMS)},
		{"size", fmt.Sprintf("%s, %s of it new", size(d.Bytes), size(d.NewBytes))}, {"acknowledged", fmt.Sprintf("by %d of %d subtasks", d.Acked, d.Subtasks)},
	}
	if d.Path != "" {
		head = append(head, []string{"path", d.Path})
	}
	if d.Failure != "" {
		head = append(head, []string{"failure", oneLine(d.Failure)})
	}
	c.table(head)
	rows := [][]string{{"SUBTASK", "ACKED AFTER", "START DELAY", "ALIGNMENT", "SYNC", "ASYNC", "STALL", "SIZE", "NEW", "IN FLIGHT"}}
	for _, v := range d.Vertices {
		for _, s := range v.Subtasks {
			r := []string{fmt.Sprintf("%s[%d]", v.UID, s.Index), "-"}
			if s.AckedAt != nil {
				r = []string{r[0], since(s.DurationMS), since(s.StartDelayMS), since(s.AlignmentMS), since(s.SyncMS), since(s.AsyncMS), since(s.LongestStallMS), size(s.Bytes), size(s.NewBytes), "-"}
				if s.Unaligned {
					r[len(r)-1] = size(s.InFlightBytes)
				}
			}
			rows = append(rows, r)
		}
	}
	fmt.Fprintln(c.stdout)
	c.table(rows)
	return nil
}

func (c *cli) describe(j *api.Job) error {
	if done, err := c.structured(j, []string{j.ID}); done {
		return err
	}
	head := [][]string{
		{"job", j.Name}, {"id", j.ID}, {"state", stateWith(j)}, {"submitted", clock(j.SubmittedAt) + " UTC"},
		{"duration", since(j.DurationMS)}, {"parallelism", strconv.Itoa(j.Parallelism)}, {"restarts", strconv.Itoa(j.Restarts)},
	}
	if cp := j.LastCheckpoint; cp != nil {
		where := cp.Path
		if where == "" {
			where = "deleted"
		}
		head = append(head, []string{"checkpoint", fmt.Sprintf("%d, %s in %s, %s", cp.ID, size(cp.Bytes), since(cp.DurationMS), where)})
	}
	if v, s := j.TimeHolder(); s != nil {
		at := time.UnixMilli(*s.Metrics.Watermark).UTC()
		head = append(head, []string{"event time", fmt.Sprintf("%s, held back by %s of %s[%d]", at.Format(time.RFC3339Nano), s.Metrics.HeldBy, v.UID, s.Index)})
	}
	if f := j.LastFailure; f != nil {
		head = append(head, []string{"last failure", clock(f.Time) + " UTC  " + failureLine(f)})
	}
	if r := j.Result; r != nil {
		for _, name := range slices.Sorted(maps.Keys(r.Sums)) {
			head = append(head, []string{"result " + name, strconv.FormatUint(r.Sums[name], 10)})
		}
		for _, name := range slices.Sorted(maps.Keys(r.Texts)) {
			head = append(head, []string{"result " + name, r.Texts[name]})
		}
		if r.ClosingLine != "" {
			head = append(head, []string{"closing line", r.ClosingLine})
		}
	}
	c.table(head)
	if len(j.Vertices) > 0 {
		fmt.Fprintln(c.stdout)
		c.table(c.subtaskRows(j))
	}
	if len(j.Checkpoints.History) > 0 {
		fmt.Fprintln(c.stdout)
		c.table(checkpointRows(j))
	}
	if len(j.Failures) > 1 { // one stands above
		fmt.Fprintln(c.stdout)
		rows := [][]string{{"FAILED AT", "TASK", "CAUSE"}}
		for i := range j.Failures {
			f := &j.Failures[i]
			rows = append(rows, []string{clock(f.Time), orDash(f.Task), oneLine(f.Cause)})
		}
		c.table(rows)
	}
	if c.output == "wide" && len(j.Settings) > 0 {
		fmt.Fprintln(c.stdout)
		rows := [][]string{{"SETTING", "VALUE"}}
		for _, k := range slices.Sorted(maps.Keys(j.Settings)) {
			rows = append(rows, []string{k, j.Settings[k]})
		}
		c.table(rows)
	}
	return nil
}

// stateWith is the job's state, and what it waits for.
func stateWith(j *api.Job) string {
	if w := j.Slots; w != nil {
		return fmt.Sprintf("%s, waiting for %s, %d free", j.State, counted(w.Wanted, "slot"), w.Free)
	}
	return j.State
}

func (c *cli) subtaskRows(j *api.Job) [][]string {
	rows := [][]string{{"SUBTASK", "STATE", "ATTEMPT", "TASKMANAGER", "TM PID", "WORKER PID"}}
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			rows = append(rows, []string{
				fmt.Sprintf("%s[%d]", v.UID, s.Index), s.State, orDash(s.Attempt), orDash(s.TaskManagerID), pid(s.TaskManagerPID), pid(s.WorkerPID),
			})
		}
	}
	return rows
}

func checkpointRows(j *api.Job) [][]string {
	rows := [][]string{{"CHECKPOINT", "KIND", "STATUS", "TRIGGERED", "TOOK", "SIZE", "NEW", "PATH"}}
	for _, cp := range j.Checkpoints.History {
		where := cp.Path
		if cp.Failure != "" {
			where = oneLine(cp.Failure)
		}
		rows = append(rows, []string{
			strconv.FormatUint(cp.ID, 10), orDash(cp.Kind), cp.Status, clock(cp.TriggeredAt), since(cp.DurationMS), size(cp.Bytes), size(cp.NewBytes), orDash(where),
		})
	}
	return rows
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func pid(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
