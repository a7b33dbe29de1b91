package weirtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/minicluster"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager"
)

const (
	// patience bounds every wait: a test that hangs fails, and says where it stood. It
	// is far more than any of them takes.
	patience = 2 * time.Minute
	// look is how often a wait looks at the job.
	look = 2 * time.Millisecond
)

// Job is a job on a cluster of its own, in the test's process. Its methods belong to
// the test's goroutine. Each wait ends the test when the job has ended otherwise than
// expected.
type Job struct {
	t       testing.TB
	s       *setup
	cluster *minicluster.Cluster
	tms     int // TaskManagers started so far
	id      job.ID
	dir     string // of the cluster
}

// Result is what a job has left behind.
type Result struct {
	ClosingLine string
	Sums        map[string]uint64 // named results
	Texts       map[string]string
	Restarts    int
	// RestoredFrom is the checkpoint that the last start was restored from, 0 = none.
	RestoredFrom uint64
}

// Run starts the job that build declares on a cluster in this process: a JobManager
// and TaskManagers as in production, records, state and checkpoints included, only
// the network and the processes are not. It returns once the job is submitted; all of
// it ends with the test.
func Run(t testing.TB, build func(*weir.Env) error, opts ...Option) *Job {
	t.Helper()
	j, err := run(t, build, opts)
	if err != nil {
		t.Fatalf("submit the job: %v", err)
	}
	return j
}

// Refused is Run for a job that the cluster does not accept, such as one that can't be
// started from its savepoint: it returns why.
func Refused(t testing.TB, build func(*weir.Env) error, opts ...Option) error {
	t.Helper()
	j, err := run(t, build, opts)
	if err == nil {
		t.Fatalf("job %s was accepted", j.id)
	}
	return err
}

// run returns what the cluster says of the submission.
func run(t testing.TB, build func(*weir.Env) error, opts []Option) (*Job, error) {
	t.Helper()
	s := newSetup(t, opts)
	plan, program, err := weir.ProgramFor(s.args, func(name string) string { return s.env[name] }, build,
		append(slices.Clone(s.options), weir.Replaced(&s.set))...)
	if err != nil {
		t.Fatalf("plan the job: %v", err)
	}
	cluster := map[string]string{keyParallelism: defaultParallelism, keyBackoff: defaultBackoff}
	needed, err := jobmanager.SlotsNeeded(cluster, plan, s.settings)
	if err != nil {
		t.Fatalf("plan the job: %v", err)
	}
	log := newTestLog(t)
	dir := t.TempDir()
	c, err := minicluster.Start(minicluster.Options{
		TaskManagers: s.taskManagers, Slots: s.defaultSlots(needed), Dir: dir,
		Settings: cluster, Log: log.logger(t), NewProgram: program,
	})
	if err != nil {
		t.Fatalf("start the cluster: %v", err)
	}
	j := &Job{t: t, s: s, cluster: c, tms: s.taskManagers, dir: dir}
	t.Cleanup(func() {
		log.end() // what follows is no news
		if err := c.Close(); err != nil {
			t.Errorf("stop the cluster: %v", err)
		}
	})
	ctx, cancel := j.context()
	defer cancel()
	j.id, err = c.SubmitFrom(ctx, plan, s.settings, s.restore())
	return j, err
}

func (j *Job) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(j.t.Context(), patience)
}

// view is what the JobManager tells of the job.
func (j *Job) view(ctx context.Context) *api.Job {
	j.t.Helper()
	v, err := j.cluster.JobManager().API().Job(ctx, j.id)
	if err != nil {
		j.t.Fatalf("ask for the job: %v", err)
	}
	return v
}

// await waits for a state of the job in which done is true. With mayEnd it is asked
// about a job that has ended too, otherwise that fails the test.
func (j *Job) await(what string, mayEnd bool, done func(*api.Job) bool) *api.Job {
	j.t.Helper()
	ctx, cancel := j.context()
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		v := j.view(ctx)
		ended := api.Terminal(v.State)
		if (mayEnd || !ended) && done(v) {
			return v
		}
		if ended {
			j.t.Fatalf("wait for %s: the job has ended: %s", what, describe(v))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			j.t.Fatalf("wait for %s: not within %v: %s", what, patience, describe(v))
		}
	}
}

// describe says how a job stands, for a failed test.
func describe(v *api.Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d restarts, %d checkpoints completed and %d failed", v.State, v.Restarts, v.Checkpoints.Completed, v.Checkpoints.Failed)
	for _, x := range v.Vertices {
		fmt.Fprintf(&b, "; %s %s", x.UID, x.State)
	}
	if f := v.LastFailure; f != nil {
		fmt.Fprintf(&b, "\nlast failure: %s %s", f.Task, f.Cause)
	}
	return b.String()
}

// AwaitCheckpoint waits until n more checkpoints have completed, of those that begin
// after this call.
func (j *Job) AwaitCheckpoint(n int) {
	j.t.Helper()
	var after, last uint64
	first, seen := true, 0
	j.await(fmt.Sprintf("%d checkpoints", n), false, func(v *api.Job) bool {
		for _, c := range slices.Backward(v.Checkpoints.History) {
			if first {
				after = max(after, c.ID)
			} else if c.ID > max(after, last) && c.Status == api.CheckpointCompleted {
				seen, last = seen+1, c.ID
			}
		}
		first = false
		return seen >= n
	})
}

// AwaitCaptured waits until the sink uid, a captured one, has committed n records or
// more.
func (j *Job) AwaitCaptured(uid string, n int) {
	j.t.Helper()
	c, ok := j.s.captures[uid]
	if !ok {
		j.t.Fatalf("AwaitCaptured: no sink %q is captured", uid)
	}
	j.await(fmt.Sprintf("%d records of sink %q", n, uid), true, func(*api.Job) bool { return c.count() >= n })
}

// Captured is the number of records that the captured sink uid has committed so far.
func (j *Job) Captured(uid string) int {
	j.t.Helper()
	c, ok := j.s.captures[uid]
	if !ok {
		j.t.Fatalf("Captured: no sink %q is captured", uid)
	}
	return c.count()
}

// running waits until all of the job runs, and returns the TaskManagers that run it,
// by their numbers.
func (j *Job) running() (numbers []int, view *api.Job) {
	j.t.Helper()
	view = j.await("all subtasks to run", false, func(v *api.Job) bool {
		numbers = nil
		for i := range j.tms {
			if runs(v, j.cluster.TaskManagerID(i)) {
				numbers = append(numbers, i)
			}
		}
		return v.State == api.StateRunning && len(numbers) > 0 && !slices.ContainsFunc(v.Vertices, func(x api.Vertex) bool {
			return x.State != "RUNNING" && x.State != "FINISHED"
		})
	})
	return numbers, view
}

// runs reports whether the TaskManager id runs a part of the job.
func runs(v *api.Job, id string) bool {
	return id != "" && slices.ContainsFunc(v.Vertices, func(x api.Vertex) bool {
		return slices.ContainsFunc(x.Subtasks, func(s api.Subtask) bool { return s.TaskManagerID == id && s.State == "RUNNING" })
	})
}

// KillTaskManager kills the i-th, from 0, of the TaskManagers that run the job, with
// everything on it, and returns once the JobManager has taken it for a failure of the
// job. It waits before until all of the job runs. A goroutine can't be killed as a
// process can: what the others see is the same, connections that break.
//
// The job goes on where there are slots: on the other TaskManagers if the test has
// several, else on one that it adds.
func (j *Job) KillTaskManager(i int) {
	j.t.Helper()
	numbers, before := j.running()
	if i < 0 || i >= len(numbers) {
		j.t.Fatalf("KillTaskManager(%d): %d TaskManagers run the job", i, len(numbers))
	}
	if err := j.cluster.StopTaskManager(numbers[i]); err != nil && !errors.Is(err, context.Canceled) {
		j.t.Fatalf("kill TaskManager %d: %v", numbers[i], err)
	}
	j.await("the loss to be noticed", true, func(v *api.Job) bool {
		return v.Restarts > before.Restarts || v.LastFailure != nil && (before.LastFailure == nil || v.LastFailure.Time.After(before.LastFailure.Time))
	})
}

// AddTaskManager starts one more.
func (j *Job) AddTaskManager() {
	j.t.Helper()
	if err := j.cluster.AddTaskManager(); err != nil {
		j.t.Fatalf("add a TaskManager: %v", err)
	}
	j.tms++
}

// Wait waits until the job has FINISHED; if it ends otherwise, the test fails.
// Captured records are in their slices then.
func (j *Job) Wait() Result {
	j.t.Helper()
	return j.end(api.StateFinished)
}

// WaitFailed waits until the job has FAILED and returns why. Jobs restart for ever
// unless a restart strategy is set.
func (j *Job) WaitFailed() (cause string) {
	j.t.Helper()
	j.end(api.StateFailed)
	ctx, cancel := j.context()
	defer cancel()
	if f := j.view(ctx).LastFailure; f != nil {
		cause = f.Cause
	}
	return cause
}

// Cancel cancels the job and waits until it is CANCELED. Captured are what had been
// committed by then.
func (j *Job) Cancel() Result {
	j.t.Helper()
	ctx, cancel := j.context()
	defer cancel()
	if err := j.cluster.JobManager().Cancel(ctx, j.id); err != nil {
		j.t.Fatalf("cancel the job: %v", err)
	}
	return j.end(api.StateCanceled)
}

// end waits until the job has ended, as want.
func (j *Job) end(want string) Result {
	j.t.Helper()
	v := j.await("its end", true, func(v *api.Job) bool { return api.Terminal(v.State) })
	for _, c := range j.s.captures {
		c.deliver()
	}
	if v.State != want {
		j.t.Fatalf("the job is to end %s: %s", want, describe(v))
	}
	r := Result{Restarts: v.Restarts}
	if v.Result != nil {
		r.ClosingLine, r.Sums, r.Texts = v.Result.ClosingLine, maps.Clone(v.Result.Sums), maps.Clone(v.Result.Texts)
	}
	if v.Checkpoints.RestoredFrom != nil {
		r.RestoredFrom = v.Checkpoints.RestoredFrom.ID
	}
	return r
}
