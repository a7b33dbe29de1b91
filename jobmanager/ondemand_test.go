package jobmanager

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/stream"
)

func TestCheckpointOnDemand(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit("execution.checkpointing.interval=0")
		w.running()
		for _, kind := range []string{"", api.CheckpointFull} {
			trigger := must(w.manager.API().Checkpoint(t.Context(), testJob, api.CheckpointRequest{CheckpointType: kind}))(t)
			if r := must(w.operationEnds(testJob, trigger))(t); r.CheckpointID == 0 {
				t.Errorf("result %+v", r)
			}
		}
		if tm.saw("trigger checkpoint") != 1 || tm.saw("trigger full") != 1 {
			t.Errorf("the TaskManager was told %q", tm.log)
		}
		j := w.view()
		if c := j.Checkpoints.History; len(c) != 2 || c[0].Kind != "full" || c[0].Acked != 2 {
			t.Errorf("history %+v", c)
		}
		d := must(w.manager.API().CheckpointDetails(t.Context(), testJob, j.Checkpoints.History[0].ID))(t)
		if len(d.Vertices) != 2 || d.Vertices[1].UID != "out" || d.Vertices[1].Subtasks[0].AckedAt == nil {
			t.Errorf("details %+v", d)
		}
		// Statistics are the job's, not the leader's.
		w.depose()
		w.running()
		if c := w.view().Checkpoints; c.Completed != 2 || c.Restored != 1 || len(c.History) != 2 || c.History[0].Acked != 2 {
			t.Errorf("checkpoints under the next leader %+v", c)
		}
	})
}

// TestOperationsRefused: mistakes are told before anything is recorded.
func TestOperationsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.running()
		a, ctx := w.manager.API(), t.Context()
		for want, do := range map[string]func() (string, error){
			"NO_SAVEPOINT_DIR":  func() (string, error) { return a.Savepoint(ctx, testJob, api.SavepointRequest{}) },
			"BAD_SAVEPOINT_DIR": func() (string, error) { return a.Savepoint(ctx, testJob, api.SavepointRequest{TargetDirectory: "sp"}) },
			"BAD_FORMAT": func() (string, error) {
				return a.Stop(ctx, testJob, api.StopRequest{TargetDirectory: "/sp", FormatType: "zip"})
			},
			"BAD_TRIGGER_ID": func() (string, error) {
				return a.Stop(ctx, testJob, api.StopRequest{TargetDirectory: "/sp", TriggerID: "../x"})
			},
			"JOB_NOT_FOUND":       func() (string, error) { return a.Stop(ctx, secondJob, api.StopRequest{TargetDirectory: "/sp"}) },
			"BAD_CHECKPOINT_TYPE": func() (string, error) { return a.Checkpoint(ctx, testJob, api.CheckpointRequest{CheckpointType: "X"}) },
			"BAD_PARALLELISM":     func() (string, error) { return a.Rescale(ctx, testJob, api.RescaleRequest{}) },
			"JOB_REFUSED": func() (string, error) {
				return a.Rescale(ctx, testJob, api.RescaleRequest{Operators: map[string]int{"nobody": 2}})
			},
			"NO_SNAPSHOT": func() (string, error) { return a.Dispose(ctx, api.DisposalRequest{}) },
		} {
			if _, err := do(); code(err) != want {
				t.Errorf("%s: %v (%s)", want, err, code(err))
			}
		}
		if _, err := a.Operation(ctx, testJob, "nothing"); code(err) != "OPERATION_NOT_FOUND" {
			t.Errorf("operation: %v", err)
		}
	})
}

// TestOperationBeforeLoad: asked for while the checkpoints can't be read, beside one that
// an earlier leader has promised.
func TestOperationBeforeLoad(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		tm.set(func() { tm.silent = true })
		request := api.SavepointRequest{TargetDirectory: filepath.Join(w.dir, "sp")}
		first := must(w.manager.API().Savepoint(t.Context(), testJob, request))(t)
		w.away.Store(true)
		w.depose()
		tm.set(func() { tm.silent = false })
		second := must(w.manager.API().Savepoint(t.Context(), testJob, request))(t)
		w.away.Store(false)
		a, b := must(w.operationEnds(testJob, first))(t), must(w.operationEnds(testJob, second))(t)
		if a.Location == b.Location {
			t.Errorf("both are %s", a.Location)
		}
		tm.end()
		w.finished()
	})
}

// TestProgress: a checkpoint under way says how far it is and how long it takes.
func TestProgress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		tm.set(func() { tm.silent = true })
		w.until("one is under way", func() bool { return w.view().Checkpoints.InProgress == 1 })
		<-time.After(3 * time.Second) // of the bubble
		if c := w.view().Checkpoints.History[0]; c.DurationMS < 3000 || c.Subtasks != 2 {
			t.Errorf("checkpoint %+v", c)
		}
	})
}
