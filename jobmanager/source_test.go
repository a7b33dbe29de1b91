package jobmanager

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
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
