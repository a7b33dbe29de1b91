package weirtest

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/client/api"
)

// Savepoint is a savepoint or a retained checkpoint of a job under test. Another job is
// started from it with From. It lives as long as the test that took it.
type Savepoint struct {
	// Path is its folder; package savepoint reads, copies and transforms it.
	Path     string
	captures map[string]capture
	foreign  bool
}

// At is s at another place: a copy of it, or what package savepoint has made of it.
func (s *Savepoint) At(path string) *Savepoint { return &Savepoint{path, s.captures, s.foreign} }

// SavepointAt is a savepoint, or a retained checkpoint, that no job of this test has
// taken. What its captured sinks had yet to commit is gone with whoever took it.
func SavepointAt(path string) *Savepoint { return &Savepoint{path, nil, true} }

func (j *Job) savepointAt(path string) *Savepoint {
	return &Savepoint{path, maps.Clone(j.s.captures), false}
}

// Savepoint takes a savepoint in canonical form and waits for it. The job goes on.
func (j *Job) Savepoint() *Savepoint {
	j.t.Helper()
	return j.savepoint(api.FormatCanonical)
}

// NativeSavepoint is Savepoint in native form: the state's files as they are.
func (j *Job) NativeSavepoint() *Savepoint {
	j.t.Helper()
	return j.savepoint(api.FormatNative)
}

func (j *Job) savepoint(format string) *Savepoint {
	j.t.Helper()
	r := j.operation("take a savepoint", func(ctx context.Context) (string, error) {
		return j.cluster.JobManager().API().Savepoint(ctx, j.id, api.SavepointRequest{TargetDirectory: j.target(), FormatType: format})
	})
	return j.savepointAt(r.Location)
}

// Stop stops the job with a savepoint, after which it is FINISHED. Captured records are in
// their slices then.
func (j *Job) Stop() (*Savepoint, Result) {
	j.t.Helper()
	r := j.operation("stop the job", func(ctx context.Context) (string, error) {
		return j.cluster.JobManager().API().Stop(ctx, j.id, api.StopRequest{TargetDirectory: j.target()})
	})
	return j.savepointAt(r.Location), j.end(api.StateFinished)
}

// Rescale gives the job, while it runs, another parallelism.
func (j *Job) Rescale(parallelism int) {
	j.t.Helper()
	j.rescale(fmt.Sprintf("rescale the job to %d", parallelism), api.RescaleRequest{Parallelism: parallelism})
}

// RescaleOperator gives one operator, and those that are chained to it, another
// parallelism than the job's.
func (j *Job) RescaleOperator(uid string, parallelism int) {
	j.t.Helper()
	j.rescale(fmt.Sprintf("rescale operator %q to %d", uid, parallelism), api.RescaleRequest{Operators: map[string]int{uid: parallelism}})
}

func (j *Job) rescale(what string, r api.RescaleRequest) {
	j.t.Helper()
	j.operation(what, func(ctx context.Context) (string, error) {
		return j.cluster.JobManager().API().Rescale(ctx, j.id, r)
	})
}

// Retained cancels the job and returns its last checkpoint, which stays behind. It waits
// before until there is one. Captured are what had been committed by then; what the
// checkpoint covers beyond that is delivered by a job that is started from it.
func (j *Job) Retained() *Savepoint {
	j.t.Helper()
	j.await("a checkpoint", false, func(v *api.Job) bool { return v.LastCheckpoint != nil })
	j.Cancel()
	return j.LastCheckpoint()
}

// LastCheckpoint is the newest completed checkpoint of a job that has ended otherwise than
// FINISHED; it stays behind.
func (j *Job) LastCheckpoint() *Savepoint {
	j.t.Helper()
	ctx, cancel := j.context()
	defer cancel()
	v := j.view(ctx)
	if v.LastCheckpoint == nil || v.LastCheckpoint.Path == "" {
		j.t.Fatalf("the job has left no checkpoint behind: %s", describe(v))
	}
	return j.savepointAt(v.LastCheckpoint.Path)
}

// target is where savepoints go.
func (j *Job) target() string { return filepath.Join(j.dir, "savepoints") }

// operation starts one and waits for its result.
func (j *Job) operation(what string, start func(ctx context.Context) (trigger string, err error)) *api.OperationResult {
	j.t.Helper()
	ctx, cancel := j.context()
	defer cancel()
	trigger, err := start(ctx)
	if err != nil {
		j.t.Fatalf("%s: %v", what, err)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		op, err := j.cluster.JobManager().API().Operation(ctx, j.id, trigger)
		if err != nil {
			j.t.Fatalf("%s: %v", what, err)
		}
		r, ended, err := op.Ended()
		switch {
		case err != nil:
			j.t.Fatalf("%s: %v", what, err)
		case ended:
			return r
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			j.t.Fatalf("%s: not within %v: %s", what, patience, describe(j.view(context.WithoutCancel(ctx))))
		}
	}
}
