package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/statebackend/objstore"
)

// operationFlags are those of every verb that starts an operation.
type operationFlags struct {
	detached bool
	trigger  string
	timeout  string
}

func (f *operationFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&f.detached, "detached", false, "print the operation's id and do not wait for its end")
	fl.StringVar(&f.trigger, "trigger-id", "", "`ID` of the operation; one that was started before is watched, not started again")
	fl.StringVar(&f.timeout, "timeout", "", `longest wait, such as "30s"; the operation goes on after it (default: none)`)
}

// outcome is what a verb that starts an operation prints with -o json.
type outcome struct {
	JobID        string `json:"job-id,omitempty"`
	RequestID    string `json:"request-id"`
	CheckpointID uint64 `json:"checkpoint-id,omitempty"`
	Location     string `json:"location,omitempty"` // the snapshot's folder
	State        string `json:"state,omitempty"`    // of the job, where the operation changes it
}

// operation is one that is started and watched for a verb.
type operation struct {
	verb  string // "savepoint", for messages
	flags operationFlags
	job   *api.Job // nil: it is of no job
	again string   // command line that watches it, without --trigger-id
	start func(ctx context.Context, trigger string) (client.Operation, error)
	// known is the operation of that id, if it was started before.
	known func(trigger string) client.Operation
	// ended demands that the job be in this state when it is over; "" = none.
	ended string
}

// operate starts o and watches it to its end, unless told not to. A nil result without an
// error means that the operation goes on.
func (c *cli) operate(ctx context.Context, cl *client.Client, o operation) (*outcome, *api.OperationResult, error) {
	trigger := cmp.Or(o.flags.trigger, client.NewID())
	limit, err := parseTimeout(o.flags.timeout)
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := attached(ctx)
	defer stop()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
		defer cancel()
	}
	again := o.again + " --trigger-id " + trigger
	var result *api.OperationResult
	op, err := o.begin(ctx, cl, trigger)
	if err == nil {
		if again = o.again + " --trigger-id " + op.ID; o.flags.detached {
			c.say(o.verb + " is under way; watch it:  " + again)
			return nil, nil, c.print(o.outcome(op.ID), op.ID)
		}
		result, err = c.watchOperation(ctx, cl, op, o)
	}
	switch {
	case errors.Is(err, errTimeout):
		return nil, nil, failure(exitTimeout, "TIMEOUT", fmt.Sprintf("%v passed and the %s is not over; it goes on", limit, o.verb), "watch it:  "+again)
	case errors.Is(err, context.Canceled):
		c.say("detached; the " + o.verb + " goes on. Watch it:  " + again)
		return nil, nil, &exitError{Exit: exitDetached}
	case err != nil:
		return nil, nil, err
	}
	out := o.outcome(op.ID)
	out.Location, out.CheckpointID = result.Location, result.CheckpointID
	return out, result, nil
}

// verb is an operation on a job, as a command knows it.
type verb struct {
	name    string // "savepoint", for messages
	command string // that watches it, such as "savepoint", and what is typed after the job
	args    string
	ended   string // state that the job is in when it is over; "" = it goes on
	changes bool   // the job's state is part of what it makes
	known   func(job, trigger string) client.Operation
	start   func(ctx context.Context, cl *client.Client, job, trigger string) (client.Operation, error)
	// told is what people are told of the end; j is the job as it is then.
	told func(j *api.Job, out *outcome, took string) string
}

// onJob carries a verb out on the job that ref names. The place of what it made, if it
// made something, is the only line on stdout.
func (c *cli) onJob(ctx context.Context, f operationFlags, ref string, v verb) error {
	cl, j, err := c.findJob(ctx, ref)
	if err != nil {
		return err
	}
	id, began := j.ID, time.Now()
	out, result, err := c.operate(ctx, cl, operation{
		verb: v.name, flags: f, job: j, again: "weir " + v.command + " " + id + v.args, ended: v.ended,
		known: func(trigger string) client.Operation { return v.known(id, trigger) },
		start: func(ctx context.Context, trigger string) (client.Operation, error) {
			return v.start(ctx, cl, id, trigger)
		},
	})
	if err != nil || result == nil {
		return err
	}
	if v.changes {
		if j, err = cl.Job(ctx, id); err != nil {
			return err
		}
		out.State = j.State
	}
	c.say(v.told(j, out, took(began)))
	return c.print(out, out.Location)
}

// begin starts o, unless it was started before under the id that was typed.
func (o *operation) begin(ctx context.Context, cl *client.Client, trigger string) (client.Operation, error) {
	if o.flags.trigger != "" {
		op := o.known(trigger)
		if _, err := cl.Look(ctx, op); !errors.Is(err, api.ErrNotFound) {
			return op, err
		}
	}
	return o.start(ctx, trigger)
}

// outcome is what is known of an operation when it has been started.
func (o *operation) outcome(id string) *outcome {
	out := &outcome{RequestID: id}
	if o.job != nil {
		out.JobID = o.job.ID
	}
	return out
}

// watchOperation waits for the end of op and, where that is part of it, of the job.
func (c *cli) watchOperation(ctx context.Context, cl *client.Client, op client.Operation, o operation) (*api.OperationResult, error) {
	b := c.newBar(o.verb)
	phase, told := "", time.Now()
	result, err := cl.Watch(ctx, op, func(p api.OperationProgress) {
		switch {
		case p.Phase == api.PhaseCopy:
			b.set("copying", int64(p.CopiedBytes), int64(p.Bytes), true)
		case p.Phase != "":
			b.set(p.Phase, int64(p.Acked), int64(p.Subtasks), false)
		}
		if b == nil && (p.Phase != phase || p.Phase == api.PhaseCopy && time.Since(told) >= copyNews) {
			phase, told = p.Phase, time.Now()
			c.say(progressLine(o.verb, p))
		}
	})
	b.finish()
	if err != nil || o.ended == "" {
		return result, err
	}
	err = c.watch(ctx, cl, o.job.ID, func(j *api.Job) (bool, error) {
		*o.job = *j
		if api.Terminal(j.State) && j.State != o.ended {
			return true, verdict(j)
		}
		return api.Terminal(j.State), nil
	})
	return result, err
}

// copyNews is the time between two lines about one copy, where there is no bar.
const copyNews = 10 * time.Second

// progressLine is what a log is told of a phase.
func progressLine(verb string, p api.OperationProgress) string {
	line := verb + ": " + p.Phase
	switch {
	case p.Bytes > 0:
		line += fmt.Sprintf(", %s of %s", size(p.CopiedBytes), size(p.Bytes))
	case p.Subtasks > 0:
		line += fmt.Sprintf(", %d of %d subtasks", p.Acked, p.Subtasks)
	}
	return line
}

// print writes an outcome; for people it is line alone.
func (c *cli) print(o *outcome, line string) error {
	if done, err := c.structured(o, []string{line}); done {
		return err
	}
	if line != "" {
		fmt.Fprintln(c.stdout, line)
	}
	return nil
}

// findJob returns the job that ref names and a client.
func (c *cli) findJob(ctx context.Context, ref string) (*client.Client, *api.Job, error) {
	cl, err := c.connect()
	if err != nil {
		return nil, nil, err
	}
	j, err := cl.Find(ctx, ref)
	return cl, j, err
}

// formats of savepoints, as they are typed.
var formats = []string{"canonical", "native"}

// parseFormat reads --type; "" is the cluster's default.
func parseFormat(typed string) (string, error) {
	if typed == "" || slices.Contains(formats, strings.ToLower(typed)) {
		return strings.ToUpper(typed), nil
	}
	return "", badWord("--type", typed, formats)
}

// badWord refuses a word that is none of those that are possible.
func badWord(flag, typed string, possible []string) error {
	hint := "one of " + strings.Join(possible, ", ")
	if near := config.Nearest(strings.ToLower(typed), possible); near != "" {
		hint = "did you mean " + flag + " " + near + "?"
	}
	return usage(fmt.Sprintf("%s %q is not known", flag, typed), hint)
}

// folderTyped is a folder as the cluster must be told it: a relative path means the
// shell's folder. URLs are left as they are, if there is such a storage.
func folderTyped(path string) (string, error) {
	if strings.Contains(path, "://") {
		if _, err := objstore.LocalPath(path); err != nil {
			return "", usage(err.Error(), "a path, or file:///path")
		}
	}
	if path == "" || strings.Contains(path, "://") {
		return path, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find folder %s: %w", path, err)
	}
	return abs, nil
}

// optionalFolder takes the job and the value of a flag whose value may be left out:
// where no job is left, the value was the job.
func optionalFolder(cmd *cobra.Command, args []string, value string) (job, folder string, err error) {
	switch {
	case len(args) == 0 && value != "":
		return value, "", nil
	case len(args) != 1:
		return "", "", words("JOB")(cmd, args)
	}
	folder, err = folderTyped(value)
	return args[0], folder, err
}

// took is how long something took, for people.
func took(began time.Time) string { return since(time.Since(began).Milliseconds()) }
