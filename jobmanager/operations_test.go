package jobmanager

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
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
				_, err := os.Stat(filepath.Join(w.dir, "checkpoints", string(testJob)))
				return errors.Is(err, os.ErrNotExist)
			})
			w.depose()
			if again := must(w.operationEnds(testJob, trigger))(t); again.Location != r.Location {
				t.Errorf("under the next leader the savepoint is at %s, was at %s", again.Location, r.Location)
			}
			if _, err := w.manager.API().Savepoint(t.Context(), testJob, api.SavepointRequest{TargetDirectory: "/x"}); code(err) != "JOB_ENDED" {
				t.Errorf("savepoint of a job that has ended: %v", err)
			}
			if again, err := w.manager.API().Stop(t.Context(), testJob, api.StopRequest{TargetDirectory: "/x", TriggerID: trigger}); again != trigger || err != nil {
				t.Errorf("the same stop again: %q, %v", again, err)
			}
			if _, err := w.manager.API().Savepoint(t.Context(), testJob, api.SavepointRequest{TargetDirectory: "/x", TriggerID: trigger}); code(err) != "OPERATION_RUNNING" {
				t.Errorf("a savepoint under the trigger id of a stop: %v", err)
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
	w.manager.copySnapshot = func(ctx context.Context, from, to string, kind metapb.SnapshotType, see func(done, all uint64)) (uint64, error) {
		see(1<<20, 4<<20)
		select {
		case <-ready:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if err != nil {
			return 0, err
		}
		return snapshots.Copy(ctx, from, to, kind, see)
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
				return err == nil && o.Progress == api.OperationProgress{Phase: api.PhaseCopy, Bytes: 4 << 20, CopiedBytes: 1 << 20}
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

// TestOperationsUnknown: transactions whose result is not known, applied or not, and one
// that is fenced.
func TestOperationsUnknown(t *testing.T) {
	for _, applied := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			w.mustSubmit()
			w.running()
			hits := w.fault("/operations/", 5, applied, ha.ErrUnknown)
			w.savepoint(filepath.Join(w.dir, "sp"))
			if n := len(must(os.ReadDir(filepath.Join(w.dir, "sp")))(t)); n != 1 || hits.Load() != 5 {
				t.Errorf("%d savepoints, %d faults", n, hits.Load())
			}
			_, epoch, _ := w.manager.Leader(t.Context())
			w.fault("/operations/", 1, false, ha.ErrFenced)
			if _, err := w.manager.API().Stop(t.Context(), testJob, api.StopRequest{TargetDirectory: "/sp"}); code(err) != "NO_LEADER" {
				t.Errorf("a fenced leader took a stop: %v", err)
			}
			w.nextEpoch(epoch)
			tm.end()
			w.finished()
		})
	}
}
