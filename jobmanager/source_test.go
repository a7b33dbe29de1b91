package jobmanager

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/savepoint"
)

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
		if _, err := os.Stat(filepath.Join(w.dir, "checkpoints", string(secondJob))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the checkpoint folder of a refused job: %v", err)
		}
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

// disposals of a leader that dies: before it begins, after it has deleted, and before the
// end is on record; each is answered under its trigger id by the next one.
func TestDisposalSurvivesTheLeader(t *testing.T) {
	for name, applied := range map[string]bool{"promised": true, "deleted": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.join("tm1")
				w.mustSubmit()
				w.checkpoints(1)
				path := w.savepoint(filepath.Join(w.dir, "sp"))
				if applied {
					// On record, and the client is not answered until the leader is gone.
					w.fault("disposals/", 1<<30, true, ha.ErrUnknown)
				}
				request := api.DisposalRequest{Path: path, TriggerID: "d1"}
				answered := make(chan error, 1)
				if applied {
					go func() { _, err := w.manager.API().Dispose(t.Context(), request); answered <- err }()
				} else {
					must(w.manager.API().Dispose(t.Context(), request))(t)
					w.fault("disposals/", 1<<30, false, ha.ErrUnknown)
					w.until("it is deleted", func() bool { _, err := os.Stat(path); return errors.Is(err, os.ErrNotExist) })
				}
				synctest.Wait()
				w.depose()
				w.store.SetFault(nil)
				if applied {
					if err := <-answered; code(err) != "NO_LEADER" {
						t.Errorf("disposal under a leader that is gone: %v", err)
					}
				}
				for range 2 { // the same again, under the same id
					if trigger := must(w.manager.API().Dispose(t.Context(), request))(t); trigger != "d1" {
						t.Errorf("trigger %q", trigger)
					}
					if err := w.disposed("d1"); err != nil {
						t.Errorf("disposal: %v", err)
					}
				}
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the savepoint: %v", err)
				}
				// A failure is the same under every leader.
				request.TriggerID = "d2"
				must(w.manager.API().Dispose(t.Context(), request))(t)
				for range 2 {
					if err := w.disposed("d2"); code(err) != "SNAPSHOT_NOT_FOUND" || !errors.Is(err, api.ErrNotFound) {
						t.Errorf("disposal of what is gone: %v", err)
					}
					w.depose()
				}
			})
		})
	}
}

// TestDisposalHalfDone: an earlier leader has begun to delete it and died.
func TestDisposalHalfDone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		path := w.savepoint(filepath.Join(w.dir, "sp"))
		w.fault("disposals/", 1<<30, true, ha.ErrUnknown) // on record, not begun
		go func() { _, _ = w.manager.API().Dispose(t.Context(), api.DisposalRequest{Path: path, TriggerID: "d1"}) }()
		synctest.Wait()
		if err := os.Rename(filepath.Join(path, "_metadata"), filepath.Join(path, "_deleting")); err != nil {
			t.Fatal(err)
		}
		w.depose()
		w.store.SetFault(nil)
		if err := w.disposed("d1"); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what is left of the savepoint: %v", err)
		}
	})
}

// startedBeside runs a second job from the newest checkpoint of the first, which goes on.
func startedBeside(t *testing.T, w *world) (first, second *scriptedTM, path string) {
	first = w.join("tm1")
	w.mustSubmit("execution.checkpointing.num-retained=1")
	w.checkpoints(2)
	second = w.join("tm2")
	second.set(func() { second.silent = true })
	first.set(func() { first.silent = true }) // its newest checkpoint stays the newest
	path = w.view().LastCheckpoint.Path
	must(w.submitJob(secondJob, api.Restore{Path: path}))(t)
	first.set(func() { first.silent = false })
	w.until("the second job is deployed", func() bool { return second.saw("deploy") == 1 })
	w.checkpoints(w.view().Checkpoints.Completed + 5)
	if _, err := savepoint.Open(t.Context(), path); err != nil {
		t.Fatalf("the checkpoint that the second job was started from: %v", err)
	}
	return first, second, path
}

func (w *world) gone(path string) {
	w.t.Helper()
	w.until("the checkpoint is gone", func() bool {
		_, err := os.Stat(filepath.Join(path, "_metadata"))
		return errors.Is(err, os.ErrNotExist)
	})
}

// TestStartedFromARunningJob: a checkpoint of a job that goes on stays until the job that
// was started from it needs it no more (NO_CLAIM): it has a full checkpoint, or ends.
func TestStartedFromARunningJob(t *testing.T) {
	for name, release := range map[string]func(t *testing.T, w *world, second *scriptedTM){
		"full checkpoint": func(_ *testing.T, _ *world, second *scriptedTM) { second.set(func() { second.silent = false }) },
		"cancelled": func(t *testing.T, w *world, second *scriptedTM) {
			second.set(func() { second.silent = false })
			if err := w.manager.Cancel(t.Context(), secondJob); err != nil {
				t.Fatal(err)
			}
		},
		"under the next leader": func(t *testing.T, w *world, second *scriptedTM) {
			deployed := w.tms[0].saw("deploy") + second.saw("deploy")
			w.depose()
			w.until("both are deployed again", func() bool { return w.tms[0].saw("deploy")+second.saw("deploy") == deployed+2 })
			for _, tm := range w.tms { // the slots may have been dealt out otherwise
				tm.set(func() { tm.silent = tm.job == string(secondJob) })
			}
			w.checkpoints(w.view().Checkpoints.Completed + 5)
			if pins := w.pins(); !slices.Equal(pins, []string{"job:" + string(secondJob)}) {
				t.Errorf("pins %q", pins)
			}
			for _, tm := range w.tms {
				tm.set(func() { tm.silent = false })
			}
		},
		"the first job ends before": func(t *testing.T, w *world, second *scriptedTM) {
			if err := w.manager.Cancel(t.Context(), testJob); err != nil {
				t.Fatal(err)
			}
			w.until("it is CANCELED", func() bool { return w.view().State == "CANCELED" })
			second.set(func() { second.silent = false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				_, second, path := startedBeside(t, w)
				release(t, w, second)
				w.gone(path)
				if pins := w.pins(); len(pins) > 0 {
					t.Errorf("pins are left: %q", pins)
				}
			})
		})
	}
}

// TestPinRefused: what the running job owns can't be claimed, nor left to the user; and a
// pin that is not on record keeps nobody waiting and nothing pinned.
func TestPinRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit("execution.checkpointing.num-retained=1")
		w.checkpoints(2)
		tm.set(func() { tm.silent = true })
		path := w.view().LastCheckpoint.Path
		for _, mode := range []string{api.RestoreClaim, api.RestoreLegacy} {
			if _, err := w.submitJob(secondJob, api.Restore{Path: path, Mode: mode}); code(err) != "SNAPSHOT_IN_USE" || !strings.Contains(err.Error(), string(testJob)) {
				t.Errorf("mode %s: %v", mode, err)
			}
		}
		// The job is refused for another reason: nothing stays pinned.
		if _, err := w.submitJob("not an id", api.Restore{Path: path}); err == nil {
			t.Error("a bad id was accepted")
		}
		w.fault("accepted/", 1, false, ha.ErrConflict)
		if _, err := w.submitJob(secondJob, api.Restore{Path: path}); err == nil {
			t.Error("a job was accepted that is not on record")
		}
		w.until("nothing is pinned", func() bool { return len(w.pins()) == 0 })
		tm.set(func() { tm.silent = false })
		w.gone(path)
	})
}

// TestClaimedByAnother: a snapshot that one job still needs is not another's to delete.
func TestClaimedByAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		path := w.savepoint(filepath.Join(w.dir, "sp"))
		must(w.submitJob(secondJob, api.Restore{Path: path}))(t) // waits for slots
		if _, err := w.submitJob("00000000000000000000000000000003", api.Restore{Path: path, Mode: api.RestoreClaim}); code(err) != "SNAPSHOT_IN_USE" {
			t.Errorf("claim: %v", err)
		}
	})
}
