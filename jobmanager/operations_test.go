package jobmanager

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/stream"
)

const secondJob = job.ID("fedcba9876543210fedcba9876543210")

// ended waits for the end of an operation and returns its result, or its failure.
func (w *world) operationEnds(id job.ID, trigger string) (r *api.OperationResult, err error) {
	w.t.Helper()
	w.until("the operation ends", func() bool {
		o, lookErr := w.manager.API().Operation(w.t.Context(), id, trigger)
		if errors.Is(lookErr, api.ErrUnavailable) {
			return false
		}
		if lookErr != nil {
			w.t.Fatal(lookErr)
		}
		var over bool
		r, over, err = o.Ended()
		return over
	})
	return r, err
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func code(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// savepoint takes one and returns its folder.
func (w *world) savepoint(dir string) string {
	w.t.Helper()
	trigger := must(w.manager.API().Savepoint(w.t.Context(), testJob, api.SavepointRequest{TargetDirectory: dir}))(w.t)
	return must(w.operationEnds(testJob, trigger))(w.t).Location
}

func TestSavepoint(t *testing.T) {
	for _, format := range []string{"", api.FormatNative} {
		inWorld(t, func(t *testing.T, w *world) {
			w.join("tm1")
			w.mustSubmit()
			w.checkpoints(1)
			dir := filepath.Join(w.dir, "sp")
			request := api.SavepointRequest{TriggerID: "t1", TargetDirectory: "file://" + dir, FormatType: format}
			for range 2 { // the same again, under the same id: nothing new
				if trigger, err := w.manager.API().Savepoint(t.Context(), testJob, request); err != nil || trigger != "t1" {
					t.Fatalf("savepoint: %q, %v", trigger, err)
				}
			}
			r := must(w.operationEnds(testJob, "t1"))(t)
			if !strings.HasPrefix(r.Location, dir+"/savepoint-012345-") || r.CheckpointID == 0 {
				t.Errorf("result %+v", r)
			}
			s := must(savepoint.Open(t.Context(), r.Location))(t)
			if m := s.Metadata(); !m.SelfContained || m.CheckpointId != r.CheckpointID {
				t.Errorf("savepoint of checkpoint %d, self-contained %v; want checkpoint %d", m.CheckpointId, m.SelfContained, r.CheckpointID)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if n := len(must(os.ReadDir(dir))(t)); n != 1 {
				t.Errorf("%d savepoints, want one", n)
			}
			// Its checkpoint goes like any other.
			w.checkpoints(8)
			w.until("it is subsumed", func() bool {
				_, err := os.Stat(filepath.Join(w.dir, "checkpoints", string(testJob), stream.CheckpointID(r.CheckpointID).String()))
				return errors.Is(err, os.ErrNotExist)
			})
			if again := must(w.operationEnds(testJob, "t1"))(t); *again != *r {
				t.Errorf("result %+v, was %+v", again, r)
			}
		})
	}
}

// TestStop in both ways: the job is FINISHED, its checkpoints are gone, its savepoint is
// there, and both stand on record.
func TestStop(t *testing.T) {
	for _, drain := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			w.mustSubmit("execution.checkpointing.savepoint-dir=" + filepath.Join(w.dir, "sp"))
			w.running()
			trigger := must(w.manager.API().Stop(t.Context(), testJob, api.StopRequest{Drain: drain}))(t)
			w.finished()
			r := must(w.operationEnds(testJob, trigger))(t)
			if _, err := savepoint.Verify(t.Context(), r.Location); err != nil {
				t.Error(err)
			}
			if tm.saw("drain") > 0 != drain || tm.saw("trigger stop") > 0 == drain || tm.saw("trigger terminal") > 0 != drain {
				t.Errorf("the TaskManager was told %q", tm.log)
			}
			w.until("it is cleaned up", func() bool {
				left, err := os.ReadDir(filepath.Join(w.dir, "checkpoints", string(testJob)))
				return errors.Is(err, os.ErrNotExist) || err == nil && len(left) == 0
			})
			w.depose()
			if again := must(w.operationEnds(testJob, trigger))(t); again.Location != r.Location {
				t.Errorf("under the next leader the savepoint is at %s, was at %s", again.Location, r.Location)
			}
			if _, err := w.manager.API().Savepoint(t.Context(), testJob, api.SavepointRequest{TargetDirectory: "/x"}); code(err) != "JOB_ENDED" {
				t.Errorf("savepoint of a job that has ended: %v", err)
			}
		})
	}
}

// TestStopFails: a subtask refuses; the job goes on as if nothing had been asked.
func TestStopFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.running()
		tm.set(func() { tm.refuses = stream.StopBarrier })
		trigger := must(w.manager.API().Stop(t.Context(), testJob, api.StopRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(t)
		if _, err := w.operationEnds(testJob, trigger); code(err) != "CHECKPOINT_FAILED" || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("stop: %v", err)
		}
		n := w.view().Checkpoints.Completed
		w.checkpoints(n + 2)
		if tm.saw("deploy") != 1 {
			t.Errorf("the job was restarted: %q", tm.log)
		}
		tm.end()
		w.finished()
	})
}

// slowCopy has copies wait until release is called; err is what they end with then.
func (w *world) slowCopy(err error) (release func()) {
	ready := make(chan struct{})
	w.manager.copySnapshot = func(ctx context.Context, from, to string, kind metapb.SnapshotType) (uint64, error) {
		select {
		case <-ready:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if err != nil {
			return 0, err
		}
		return copySavepoint(ctx, from, to, kind)
	}
	return func() { close(ready) }
}

// TestOperationsSurviveTheLeader: it dies while the copy is made, before the checkpoint,
// and before the end of the operation is on record.
func TestOperationsSurviveTheLeader(t *testing.T) {
	for name, begin := range map[string]func(w *world, tm *scriptedTM) (trigger string, after func()){
		"savepoint, while it is copied": func(w *world, tm *scriptedTM) (string, func()) {
			release := w.slowCopy(nil)
			trigger := must(w.manager.API().Savepoint(w.t.Context(), testJob, api.SavepointRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(w.t)
			w.until("it is copied", func() bool {
				o, err := w.manager.API().Operation(w.t.Context(), testJob, trigger)
				return err == nil && o.Progress.Phase == api.PhaseCopy
			})
			return trigger, release
		},
		"stop, before its checkpoint": func(w *world, tm *scriptedTM) (string, func()) {
			tm.set(func() { tm.silent = true })
			trigger := must(w.manager.API().Stop(w.t.Context(), testJob, api.StopRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(w.t)
			w.until("it is triggered", func() bool { return w.view().Checkpoints.InProgress > 0 })
			return trigger, func() { tm.set(func() { tm.silent = false }) }
		},
		"stop, its job has ended": func(w *world, tm *scriptedTM) (string, func()) {
			release := w.slowCopy(nil)
			trigger := must(w.manager.API().Stop(w.t.Context(), testJob, api.StopRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(w.t)
			w.until("the job has ended", func() bool { return w.view().State == "FINISHED" })
			return trigger, release
		},
		"stop, before its commits": func(w *world, tm *scriptedTM) (string, func()) {
			w.fault("/result", 1<<30, false, ha.ErrUnknown)
			trigger := must(w.manager.API().Stop(w.t.Context(), testJob, api.StopRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(w.t)
			w.until("the stop is complete", func() bool { return w.view().LastCheckpoint != nil && w.view().LastCheckpoint.Kind == "stop" })
			return trigger, func() { w.store.SetFault(nil) }
		},
		"savepoint, its end is not on record": func(w *world, tm *scriptedTM) (string, func()) {
			trigger := must(w.manager.API().Savepoint(w.t.Context(), testJob, api.SavepointRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(w.t)
			hits := w.fault("/operations/", 1<<30, false, ha.ErrUnknown)
			w.until("it is copied", func() bool { return hits.Load() > 0 })
			return trigger, func() { w.store.SetFault(nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tm := w.join("tm1")
				w.mustSubmit()
				w.running()
				trigger, after := begin(w, tm)
				w.store.SetFault(nil)
				w.depose()
				after()
				r := must(w.operationEnds(testJob, trigger))(t)
				if _, err := savepoint.Verify(t.Context(), r.Location); err != nil {
					t.Error(err)
				}
				if n := len(must(os.ReadDir(filepath.Join(w.dir, "sp")))(t)); n != 1 {
					t.Errorf("%d savepoints, want one", n)
				}
				if strings.HasPrefix(name, "stop") {
					w.finished()
				}
				if name == "stop, before its commits" && tm.saw("deploy stopped") != 1 {
					t.Errorf("sources were not told to be silent: %q", tm.log)
				}
				tm.end()
				w.finished()
			})
		})
	}
}

// TestCopyFails: a savepoint that can't be written leaves the job as it was; of a job
// that has stopped the state stays where it is, and the failure says where.
func TestCopyFails(t *testing.T) {
	for _, stop := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			w.mustSubmit()
			w.running()
			w.slowCopy(errors.New("no space left on device"))()
			var trigger string
			if stop {
				trigger = must(w.manager.API().Stop(t.Context(), testJob, api.StopRequest{TargetDirectory: "/sp"}))(t)
			} else {
				trigger = must(w.manager.API().Savepoint(t.Context(), testJob, api.SavepointRequest{TargetDirectory: "/sp", CancelJob: true}))(t)
			}
			_, err := w.operationEnds(testJob, trigger)
			if code(err) != "SAVEPOINT_FAILED" || !strings.Contains(err.Error(), "no space left") {
				t.Fatalf("operation: %v", err)
			}
			if !stop {
				n := w.view().Checkpoints.Completed
				w.checkpoints(n + 5)
				if pins := w.pins(); len(pins) > 0 {
					t.Errorf("pins are left: %v", pins)
				}
				tm.end()
				w.finished()
				return
			}
			w.finished()
			w.depose()
			w.until("it has settled", func() bool { return w.view().State == "FINISHED" })
			folder := err.Error()[strings.LastIndex(err.Error(), " ")+1:]
			if _, err := savepoint.Verify(t.Context(), folder); err != nil {
				t.Errorf("what is left of the job: %v", err)
			}
		})
	}
}

// pins of the job's pointers, as recorded.
func (w *world) pins() (pins []string) {
	w.t.Helper()
	s, err := ha.NewJobs(w.store, nil).Get(w.t.Context(), testJob)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range s.Pointers {
		pins = append(pins, p.Pins...)
	}
	return pins
}

func TestCancelWithSavepoint(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.running()
		trigger := must(w.manager.API().Savepoint(t.Context(), testJob, api.SavepointRequest{TargetDirectory: filepath.Join(w.dir, "sp"), CancelJob: true}))(t)
		if _, err := w.manager.API().Stop(t.Context(), testJob, api.StopRequest{TargetDirectory: "/sp"}); code(err) != "OPERATION_RUNNING" {
			t.Errorf("stop beside it: %v", err)
		}
		r := must(w.operationEnds(testJob, trigger))(t)
		if _, err := savepoint.Verify(t.Context(), r.Location); err != nil {
			t.Error(err)
		}
		if r := w.wait(); r.State != "CANCELED" {
			t.Errorf("result %v", r)
		}
	})
}

// TestCancelDuringSavepoint: the job ends, the savepoint fails, or is complete.
func TestCancelDuringSavepoint(t *testing.T) {
	for _, copying := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			w.mustSubmit("execution.checkpointing.externalized-checkpoint-retention=DELETE_ON_CANCELLATION")
			w.running()
			release := w.slowCopy(nil)
			tm.set(func() { tm.silent = !copying })
			trigger := must(w.manager.API().Savepoint(t.Context(), testJob, api.SavepointRequest{TargetDirectory: filepath.Join(w.dir, "sp")}))(t)
			w.until("it is under way", func() bool {
				o := must(w.manager.API().Operation(t.Context(), testJob, trigger))(t)
				return o.Progress.Phase == api.PhaseCopy || !copying && o.Progress.Subtasks == 2
			})
			if err := w.manager.Cancel(t.Context(), testJob); err != nil {
				t.Fatal(err)
			}
			w.until("it is CANCELED", func() bool { return w.view().State == "CANCELED" })
			release()
			r, err := w.operationEnds(testJob, trigger)
			switch {
			case !copying && code(err) != "CHECKPOINT_FAILED":
				t.Errorf("savepoint: %v", err)
			case copying && err != nil:
				t.Errorf("savepoint: %v", err)
			case copying:
				if _, err := savepoint.Verify(t.Context(), r.Location); err != nil {
					t.Error(err)
				}
			}
			w.wait()
		})
	}
}

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

func TestRescale(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		trigger := must(w.manager.API().Rescale(t.Context(), testJob, api.RescaleRequest{Parallelism: 2}))(t)
		if _, err := w.operationEnds(testJob, trigger); code(err) != "NO_SLOTS" {
			t.Errorf("rescale without slots: %v", err)
		}
		if first.saw("deploy") != 1 {
			t.Errorf("the job was touched: %q", first.log)
		}
		second := w.join("tm2")
		trigger = must(w.manager.API().Rescale(t.Context(), testJob, api.RescaleRequest{Parallelism: 2}))(t)
		must(w.operationEnds(testJob, trigger))(t)
		j := w.view()
		if j.Parallelism != 2 || j.Restarts != 0 || second.saw("deploy incarnation 2") != 1 || second.saw("deploy incarnation 2 restored 0") != 0 {
			t.Errorf("parallelism %d, %d restarts; %q", j.Parallelism, j.Restarts, second.log)
		}
		n := j.Checkpoints.Completed
		w.checkpoints(n + 1)
		w.depose() // it is on record
		w.running()
		if j := w.view(); j.Parallelism != 2 {
			t.Errorf("parallelism %d under the next leader", j.Parallelism)
		}
		trigger = must(w.manager.API().Rescale(t.Context(), testJob, api.RescaleRequest{Operators: map[string]int{"in": 1, "out": 1}}))(t)
		must(w.operationEnds(testJob, trigger))(t)
		w.until("a worker is stopped", func() bool { return first.saw("stop")+second.saw("stop") > 2 })
		o := must(w.manager.API().Overview(t.Context()))(t)
		if o.SlotsAvailable != 1 {
			t.Errorf("%d slots are free, want 1", o.SlotsAvailable)
		}
	})
}

// TestRescaleSurvivesTheLeader: it dies before the end is on record; the next one starts
// the job as it was asked, and says so.
func TestRescaleSurvivesTheLeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		second := w.join("tm2")
		w.mustSubmit()
		w.checkpoints(1)
		w.fault("/graph", 1<<30, false, ha.ErrUnknown)
		trigger := must(w.manager.API().Rescale(t.Context(), testJob, api.RescaleRequest{Parallelism: 2}))(t)
		w.until("it is deployed", func() bool { return second.saw("deploy incarnation 2") == 1 })
		w.store.SetFault(nil)
		w.depose()
		must(w.operationEnds(testJob, trigger))(t)
		if j := w.view(); j.Parallelism != 2 || second.saw("deploy incarnation 3") != 1 {
			t.Errorf("parallelism %d, %q", j.Parallelism, second.log)
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

// TestSourceDamaged: there is nothing to fall back to; the job fails, and says what was
// found.
func TestSourceDamaged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		path := w.savepoint(filepath.Join(w.dir, "sp"))
		if err := w.manager.Cancel(t.Context(), testJob); err != nil {
			t.Fatal(err)
		}
		w.wait()
		tm.set(func() { tm.log, tm.silent = nil, true })
		must(w.submitJob(secondJob, api.Restore{Path: path}))(t)
		w.until("it is deployed", func() bool { return tm.saw("deploy") == 1 })
		tm.set(func() {
			tm.silent = false
			for inc, d := range tm.deployed {
				tm.tell(inc, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Status{Status: &weirpb.SubtaskStatus{
					Subtask: d.Subtasks[0].Subtask, Attempt: d.Attempt, Incarnation: inc, State: weirpb.SubtaskStatus_STATE_FAILED,
					Failure: "restore: run-1.sst: digest differs", DamagedCheckpoint: d.RestoredCheckpoint}}})
			}
		})
		w.until("it has failed", func() bool { return w.viewOf(secondJob).State == "FAILED" })
		if j := w.viewOf(secondJob); !strings.Contains(j.LastFailure.Cause, "run-1.sst: digest differs") || j.StartedFrom.Path != path || j.StartedFrom.Mode != api.RestoreNoClaim {
			t.Errorf("failure %+v, started from %+v", j.LastFailure, j.StartedFrom)
		}
	})
}

// TestGrows: a job that runs with fewer slots than it asked for gets more when they come.
func TestGrows(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit("parallelism.default=2")
		w.running()
		if p := w.view().Parallelism; p != 1 {
			t.Fatalf("parallelism %d, want 1", p)
		}
		w.join("tm2")
		w.until("it has grown", func() bool { return w.view().Parallelism == 2 })
		w.running()
		if r := w.view().Restarts; r != 0 {
			t.Errorf("%d restarts", r)
		}
	})
}

// TestRestoreModes: a job is started from a savepoint, and from a retained checkpoint,
// in each mode.
func TestRestoreModes(t *testing.T) {
	for _, mode := range []string{"", api.RestoreClaim, api.RestoreLegacy} {
		for _, retained := range []bool{false, true} {
			inWorld(t, func(t *testing.T, w *world) {
				tm := w.join("tm1")
				w.mustSubmit()
				w.checkpoints(2)
				path := w.savepoint(filepath.Join(w.dir, "sp"))
				if err := w.manager.Cancel(t.Context(), testJob); err != nil {
					t.Fatal(err)
				}
				w.wait()
				last := w.view().LastCheckpoint
				if retained {
					path = last.Path
				}
				id := must(savepoint.Describe(t.Context(), path))(t).CheckpointID
				tm.set(func() { tm.log = nil; tm.silent = true })
				warnings := must(w.submitJob(secondJob, api.Restore{Path: path + "/_metadata", Mode: mode}, "execution.checkpointing.num-retained=1"))(t)
				if (mode == "") != (len(warnings) == 0) {
					t.Errorf("mode %q: warnings %q", mode, warnings)
				}
				w.until("it is deployed", func() bool { return tm.saw("deploy") == 1 })
				if want := "deploy incarnation 2 restored "; !slices.ContainsFunc(tm.log, func(l string) bool { return strings.HasPrefix(l, want) }) {
					t.Errorf("incarnations do not go on: %q", tm.log)
				}
				w.depose() // before it has a checkpoint of its own: from the snapshot once more
				w.until("it is deployed again", func() bool { return tm.saw("deploy") == 2 })
				if from := w.viewOf(secondJob).Checkpoints.RestoredFrom; from == nil || from.Path != path || from.ID != id {
					t.Errorf("restored from %+v, want %d at %s", from, id, path)
				}
				if mode == "" {
					trigger := must(w.manager.API().Dispose(t.Context(), api.DisposalRequest{Path: path}))(t)
					if err := w.disposed(trigger); code(err) != "SNAPSHOT_IN_USE" {
						t.Errorf("disposal of a snapshot in use: %v", err)
					}
				}
				tm.set(func() { tm.silent = false })
				w.until("it has checkpoints of its own", func() bool { c := w.viewOf(secondJob).LastCheckpoint; return c != nil && c.ID > id+1 })
				if full := tm.saw("trigger full"); full > 0 != (mode == "") {
					t.Errorf("mode %q: %d full checkpoints", mode, full)
				}
				_, err := savepoint.Open(t.Context(), path)
				if gone := errors.Is(err, savepoint.ErrNotFound); gone != (mode == api.RestoreClaim) {
					t.Errorf("mode %q: the snapshot is gone: %v (%v)", mode, gone, err)
				}
				if from := w.viewOf(secondJob).StartedFrom; from.Path != path || !from.Released {
					t.Errorf("started from %+v", from)
				}
				if mode != api.RestoreClaim {
					trigger := must(w.manager.API().Dispose(t.Context(), api.DisposalRequest{Path: path}))(t)
					if err := w.disposed(trigger); err != nil {
						t.Errorf("disposal: %v", err)
					}
					if _, err := os.Stat(filepath.Join(path, "_metadata")); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("after its disposal: %v", err)
					}
				}
			})
		}
	}
}

func (w *world) disposed(trigger string) (err error) {
	w.t.Helper()
	w.until("it is disposed of", func() bool {
		o := must(w.manager.API().Disposal(w.t.Context(), trigger))(w.t)
		var over bool
		_, over, err = o.Ended()
		return over
	})
	return err
}

// TestRestoreRefused: before the job is accepted.
func TestRestoreRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		path := w.savepoint(filepath.Join(w.dir, "sp"))
		broken := filepath.Join(w.dir, "broken")
		if err := os.CopyFS(broken, os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
		b := must(os.ReadFile(filepath.Join(broken, "_metadata")))(t)
		b[len(b)/2] ^= 1
		if err := os.WriteFile(filepath.Join(broken, "_metadata"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		for want, from := range map[string]api.Restore{
			"SNAPSHOT_NOT_FOUND":    {Path: filepath.Join(w.dir, "nothing")},
			"SNAPSHOT_DAMAGED":      {Path: broken},
			"BAD_RESTORE_MODE":      {Path: path, Mode: "OWN"},
			"NO_SNAPSHOT":           {AllowNonRestored: true},
			"SNAPSHOT_INCOMPATIBLE": {Path: path, MapUIDs: map[string]string{"nobody": "in"}},
			"SNAPSHOT_IN_USE":       {Path: w.view().LastCheckpoint.Path, Mode: api.RestoreClaim},
		} {
			if _, err := w.submitJob(secondJob, from); code(err) != want {
				t.Errorf("%s: %v (%s)", want, err, code(err))
			}
		}
		if _, err := w.manager.API().Job(t.Context(), secondJob); code(err) != "JOB_NOT_FOUND" {
			t.Errorf("a refused job: %v", err)
		}
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
