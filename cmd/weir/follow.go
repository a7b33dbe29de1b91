package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
)

// Times between two looks at a job that is followed.
const (
	lookFirst = 100 * time.Millisecond
	lookMost  = 500 * time.Millisecond
	// checkpointNews is the least time between two lines about checkpoints.
	checkpointNews = 10 * time.Second
)

// attached returns a context that ends with Ctrl-C or SIGTERM: the command goes, what
// it watches goes on.
func attached(ctx context.Context) (context.Context, context.CancelFunc) {
	return terminated(ctx)
}

// detached is the end of a command that was left by Ctrl-C.
func (c *cli) detached(id string) error {
	c.say(fmt.Sprintf("detached; the job goes on. Watch it:  weir wait %s --for=finished    end it:  weir cancel %s", id, id))
	return &exitError{Exit: exitDetached}
}

// watch looks at a job until see says that it has seen enough. While the cluster does
// not answer it waits: a leader that is gone is replaced.
func (c *cli) watch(ctx context.Context, cl *client.Client, id string, see func(*api.Job) (bool, error)) error {
	pause, said := lookFirst, ""
	for {
		j, err := cl.Job(ctx, id)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, api.ErrUnavailable):
			if line := err.Error(); line != said {
				said = line
				c.say(line + "; waiting")
			}
		case err != nil:
			return err
		default:
			said = ""
			if enough, err := see(j); enough || err != nil {
				return err
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(pause*3/2, lookMost)
	}
}

// news tells what has changed since a job was last looked at.
type news struct {
	say        func(string)
	state      string
	failure    time.Time
	checkpoint uint64
	told       time.Time
	failed     uint64    // id of the last failed checkpoint that was told of
	lacking    time.Time // since when the job lacks slots; zero: it does not
	wanting    string    // what was told of that
}

func (n *news) tell(j *api.Job, now time.Time) {
	if f := j.LastFailure; f != nil && f.Time.After(n.failure) {
		n.failure = f.Time
		if !f.Fatal { // that of a FAILED job stands in its state
			n.say("failure: " + failureLine(f))
		}
	}
	if len(j.Checkpoints.History) > 0 {
		if cp := j.Checkpoints.History[0]; cp.Status == api.CheckpointFailed && cp.ID > n.failed {
			n.failed = cp.ID
			n.say(fmt.Sprintf("checkpoint %d failed: %s", cp.ID, oneLine(cp.Failure)))
		}
	}
	cp := j.LastCheckpoint
	if cp != nil && cp.ID > n.checkpoint && !api.Terminal(j.State) && (n.told.IsZero() || now.Sub(n.told) >= checkpointNews) {
		n.checkpoint, n.told = cp.ID, now
		n.say(fmt.Sprintf("checkpoint %d completed in %s: %s of state", cp.ID, since(cp.DurationMS), size(cp.Bytes)))
	}
	if j.State != n.state {
		n.state = j.State
		n.say(stateLine(j))
	}
	n.tellSlots(j.Slots, now)
}

// tellSlots tells of slots that the job has lacked for a while.
func (n *news) tellSlots(w *api.SlotsWanted, now time.Time) {
	line := ""
	switch {
	case w == nil:
		n.lacking = time.Time{}
	case n.lacking.IsZero():
		n.lacking = now
	case now.Sub(n.lacking) >= slotNews:
		line = fmt.Sprintf("waiting for %s, %d free; start more:  weir taskmanager --slots N", counted(w.Wanted, "slot"), w.Free)
	}
	if line != n.wanting {
		if n.wanting = line; line != "" {
			n.say(line)
		}
	}
}

// slotNews is how long a job must lack slots before that is worth a line.
const slotNews = 3 * time.Second

func stateLine(j *api.Job) string {
	line := j.State
	switch {
	case j.State == api.StateRunning:
		line += ", " + counted(subtasks(j), "subtask")
	case api.Terminal(j.State):
		line += fmt.Sprintf(" after %s, %s", since(j.DurationMS), counted(j.Restarts, "restart"))
	}
	return line
}

// counted is a number of things: "1 restart", "2 restarts".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

func subtasks(j *api.Job) (n int) {
	for _, v := range j.Vertices {
		n += len(v.Subtasks)
	}
	return n
}

// follow tells of a job until it has ended, prints its closing line, and returns how.
func (c *cli) follow(ctx context.Context, cl *client.Client, id string) error {
	ctx, stop := attached(ctx)
	defer stop()
	n := news{say: c.say}
	var last *api.Job
	err := c.watch(ctx, cl, id, func(j *api.Job) (bool, error) {
		n.tell(j, time.Now())
		last = j
		return api.Terminal(j.State), nil
	})
	if errors.Is(err, context.Canceled) {
		return c.detached(id)
	}
	if err != nil {
		return err
	}
	return c.ended(last)
}

// ended prints what a job that has ended leaves, and returns its verdict.
func (c *cli) ended(j *api.Job) error {
	if done, err := c.structured(j, []string{j.ID}); err != nil {
		return err
	} else if !done && j.Result != nil && j.Result.ClosingLine != "" {
		fmt.Fprintln(c.stdout, j.Result.ClosingLine)
	}
	return verdict(j)
}

// verdict is the error of a job that did not finish.
func verdict(j *api.Job) error {
	switch {
	case j.State == api.StateFinished:
		return nil
	case j.LastFailure != nil && j.State == api.StateFailed:
		return failure(exitJob, "JOB_FAILED", fmt.Sprintf("job %q is FAILED: %s", j.Name, failureLine(j.LastFailure)), "weir describe "+j.ID)
	}
	return failure(exitJob, "JOB_"+j.State, fmt.Sprintf("job %q is %s", j.Name, j.State), "weir describe "+j.ID)
}
