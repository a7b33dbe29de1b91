package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
)

func (w *world) finished() {
	w.t.Helper()
	r := w.wait()
	if r.State != "FINISHED" || len(r.Results) != 1 || r.Results[0].GetSum() != 42 {
		w.t.Errorf("result %v, want FINISHED with 42 records", r)
	}
}

func TestLife(t *testing.T) {
	for _, chunks := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			tm.set(func() { tm.chunks = chunks })
			w.mustSubmit()
			w.running()
			w.checkpoints(3)
			tm.end()
			w.finished()
			w.until("the worker is stopped", func() bool { return tm.saw("stop") == 1 })
			if j := w.view(); j.State != "FINISHED" || j.Restarts != 0 {
				t.Errorf("view: %s, %d restarts", j.State, j.Restarts)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "checkpoints", string(testJob), "chk-1")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("checkpoints of a finished job stay: %v", err)
			}
			if err := w.submit(); err != nil || tm.saw("start") != 1 {
				t.Errorf("the same submission again: %v, %d workers", err, tm.saw("start"))
			}
			if err := w.manager.Cancel(t.Context(), testJob); !errors.Is(err, ErrEnded) {
				t.Errorf("cancel of a finished job: %v", err)
			}
		})
	}
}

// TestEndedJobIsDescribed: the next leader knows a job that ended under the former one
// by its records: its vertices, its last checkpoint and that it is deleted.
func TestEndedJobIsDescribed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(2)
		tm.end()
		w.finished()
		w.until("its checkpoints are deleted", func() bool { c := w.view().LastCheckpoint; return c != nil && c.Discarded && c.Path == "" })
		before := w.view()
		for _, v := range before.Vertices {
			for _, s := range v.Subtasks {
				if s.TaskManagerID != "tm1" || s.WorkerPID != 1 {
					t.Errorf("subtask %d of %s was on %q, worker %d", s.Index, v.UID, s.TaskManagerID, s.WorkerPID)
				}
			}
		}
		w.depose()
		after := w.view()
		if len(after.Vertices) == 0 || len(after.Vertices) != len(before.Vertices) {
			t.Fatalf("%d vertices, were %d", len(after.Vertices), len(before.Vertices))
		}
		for i, v := range after.Vertices {
			o := before.Vertices[i]
			if v.UID != o.UID || v.Name != o.Name || v.Parallelism != o.Parallelism || v.State != "FINISHED" || len(v.Subtasks) != len(o.Subtasks) {
				t.Errorf("vertex %+v, was %+v", v, o)
			}
		}
		if c := after.LastCheckpoint; c == nil || c.ID != before.LastCheckpoint.ID || !c.Discarded || c.Path != "" {
			t.Errorf("last checkpoint %+v, was %+v", c, before.LastCheckpoint)
		}
		for _, c := range after.Checkpoints.History {
			if !c.Discarded || c.Path != "" {
				t.Errorf("checkpoint %d is told to lie in %q", c.ID, c.Path)
			}
		}
	})
}

// TestLeaderLost: the leadership is lost in the middle, and nobody says what runs; the next
// leader restarts the job from its last checkpoint, and stops what ran under the former.
func TestLeaderLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(2)
		w.depose()
		w.running()
		if tm.saw("stop 0: the leader that started it is lost") != 1 || tm.saw("deploy incarnation 2 restored") != 1 || tm.saw("deploy incarnation 2 restored 0") != 0 {
			t.Errorf("the TaskManager was told %q", tm.log)
		}
		tm.end()
		w.finished()
	})
}

// TestFenced: a transaction says that somebody else leads although the lease seems to
// hold: leading ends, with all JobMasters, and another campaign begins.
func TestFenced(t *testing.T) {
	for _, key := range []string{"/incarnation", "/checkpoints/", "/checkpoint-id", "/result", "/intent"} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			w.mustSubmit("execution.checkpointing.interval=100 ms")
			w.running()
			_, epoch, _ := w.manager.Leader(t.Context())
			hits := w.fault(key, 1, false, ha.ErrFenced)
			switch key {
			case "/incarnation":
				tm.set(func() {
					for id := range tm.workers {
						tm.exit(id, "signal: killed")
					}
				})
			case "/result":
				tm.end()
			case "/intent":
				if err := w.manager.Cancel(t.Context(), testJob); err == nil {
					t.Error("a fenced leader accepted a cancel")
				}
			}
			w.nextEpoch(epoch)
			tm.end()
			w.finished()
			if hits.Load() != 1 {
				t.Errorf("%s: %d transactions were fenced", key, hits.Load())
			}
		})
	}
}

// TestUnknownResults: transactions whose result is not known, applied or not. Nothing
// is lost, nothing happens twice, and it is no failure of the job.
func TestUnknownResults(t *testing.T) {
	for _, key := range []string{"accepted/", "/incarnation", "/checkpoint-id", "/checkpoints/", "/result"} {
		for _, applied := range []bool{false, true} {
			inWorld(t, func(t *testing.T, w *world) {
				tm := w.join("tm1")
				hits := w.fault(key, 3, applied, ha.ErrUnknown)
				w.mustSubmit("restart-strategy.type=none")
				w.running()
				w.checkpoints(2)
				tm.end()
				w.finished()
				if hits.Load() == 0 || tm.saw("deploy") != 1 {
					t.Errorf("%s applied %v: %d faults, told %q", key, applied, hits.Load(), tm.log)
				}
			})
		}
	}
}

// TestCancel in every moment: the job ends CANCELED, or had ended.
func TestCancel(t *testing.T) {
	for name, prepare := range map[string]func(w *world, tm *scriptedTM){
		"before anything":     func(*world, *scriptedTM) {},
		"running":             func(w *world, _ *scriptedTM) { w.running() },
		"unknown, applied":    func(w *world, _ *scriptedTM) { w.running(); w.fault("/intent", 2, true, ha.ErrUnknown) },
		"unknown, not":        func(w *world, _ *scriptedTM) { w.running(); w.fault("/intent", 2, false, ha.ErrUnknown) },
		"cancels are ignored": func(w *world, tm *scriptedTM) { w.running(); tm.set(func() { tm.silent = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tm := w.join("tm1")
				w.mustSubmit()
				prepare(w, tm)
				if err := w.manager.Cancel(t.Context(), testJob); err != nil {
					t.Fatal(err)
				}
				if r := w.wait(); r.State != "CANCELED" {
					t.Errorf("result %v", r)
				}
				if err := w.manager.Cancel(t.Context(), testJob); err != nil {
					t.Errorf("cancelled again: %v", err)
				}
			})
		})
	}
}

// TestFailuresOutliveALeader: the next leader tells of what went wrong before it, and of
// when the checkpoint was taken that the job was restored from.
func TestFailuresOutliveALeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		tm.set(func() {
			for id := range tm.workers {
				tm.exit(id, "signal: killed")
			}
		})
		w.until("it has restarted", func() bool { return w.view().Restarts == 1 })
		w.running()
		before := w.view()
		if f := before.LastFailure; f == nil || f.Task != "all subtasks on tm1" || f.Cause != "signal: killed" {
			t.Fatalf("last failure %+v", f)
		}
		w.depose()
		w.until("the next leader knows the job", func() bool { return w.view() != nil })
		f, since := w.view().LastFailure, before.LastFailure.Time.Truncate(time.Millisecond)
		if f == nil || f.Task != before.LastFailure.Task || f.Cause != before.LastFailure.Cause || !f.Time.Equal(since) {
			t.Errorf("the next leader tells of %+v", f)
		}
		if r := w.view().Checkpoints.RestoredFrom; r == nil || r.TriggeredAt.IsZero() || r.Path == "" || r.Kind == "" {
			t.Errorf("restored from %+v", r)
		}
	})
}

// TestCancelIgnored: user code does not return and its worker is killed: that is told,
// and the job is CANCELED all the same.
func TestCancelIgnored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.running()
		tm.set(func() { tm.silent = true })
		if err := w.manager.Cancel(t.Context(), testJob); err != nil {
			t.Fatal(err)
		}
		const reason = "worker killed: count[1] ignored the cancel for 2s"
		tm.set(func() {
			for id := range tm.workers {
				delete(tm.workers, id)
				tm.say(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_WorkerExited{WorkerExited: &weirpb.WorkerExited{
					JobId: tm.job, WorkerId: id, Reason: reason, Stuck: []*weirpb.SubtaskRef{{Vertex: 1, Subtask: 1}}}}})
			}
		})
		if r := w.wait(); r.State != "CANCELED" || r.Failure != reason {
			t.Errorf("result %v", r)
		}
		for _, when := range []string{"this leader", "the next"} {
			j, err := w.manager.API().Job(t.Context(), testJob)
			if err != nil || len(j.Failures) != 1 || j.Failures[0].Cause != reason || j.Failures[0].Fatal {
				t.Errorf("%s tells of %+v, %v", when, j, err)
			}
			w.depose()
			w.until("there is another leader", w.manager.Leads)
		}
	})
}

// TestCancelBeforeLoad: the checkpoints can't be read yet and the job is cancelled:
// it must not wait for them.
func TestCancelBeforeLoad(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		w.away.Store(true)
		w.depose()
		w.until("the job waits", func() bool { return len(w.view().Failures) > 0 })
		if f := w.view().Failures[0]; !strings.Contains(f.Cause, "cannot be taken over yet") {
			t.Errorf("failure %+v", f)
		}
		if err := w.manager.Cancel(t.Context(), testJob); err != nil {
			t.Fatal(err)
		}
		if r := w.wait(); r.State != "CANCELED" {
			t.Errorf("result %v", r)
		}
	})
}

// TestStoreAway: that the newest checkpoint can't be read for a while is no damage:
// the next leader waits, it does not go back to an older one (I5).
func TestStoreAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(3)
		tm.set(func() { tm.silent = true })
		newest := w.view().LastCheckpoint.ID
		w.away.Store(true)
		w.depose()
		w.until("the job waits", func() bool { return len(w.view().Failures) > 0 })
		<-time.After(time.Minute) // of the bubble
		if tm.saw("deploy") != 1 {
			t.Fatalf("deployed without its checkpoint: %q", tm.log)
		}
		w.away.Store(false)
		w.until("it is deployed", func() bool { return tm.saw("deploy incarnation 2") == 1 })
		if from := w.view().Checkpoints.RestoredFrom; from == nil || from.ID != newest {
			t.Errorf("restored from %+v, want %d", from, newest)
		}
	})
}

// TestDamagedCheckpoint: bytes that are not those that were written, though valid in
// themselves, are damage: the one before is used, loudly.
func TestDamagedCheckpoint(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(3)
		tm.set(func() { tm.silent = true })
		newest := w.view().LastCheckpoint.ID
		files := w.metadataFiles()
		other, err := os.ReadFile(files[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[2], other, 0o600); err != nil {
			t.Fatal(err)
		}
		w.depose()
		w.until("it is deployed", func() bool { return tm.saw("deploy incarnation 2") == 1 })
		if from := w.view().Checkpoints.RestoredFrom; from == nil || from.ID != newest-1 {
			t.Errorf("restored from %+v, want %d", from, newest-1)
		}
	})
}

// TestTerminalTakeOver: the leader dies between the terminal checkpoint and the
// result. The next one only finishes the commits: it deploys from the terminal
// checkpoint, has it committed again, and takes no other one.
func TestTerminalTakeOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		w.fault("/result", 1<<30, false, ha.ErrUnknown)
		tm.end()
		w.until("the terminal checkpoint is complete", func() bool { return tm.saw("completed") > 0 && w.view().LastCheckpoint.Kind == "terminal" })
		terminal := w.view().LastCheckpoint.ID
		w.store.SetFault(nil)
		w.depose()
		w.finished()
		j := w.view()
		if j.Checkpoints.RestoredFrom == nil || j.Checkpoints.RestoredFrom.ID != terminal || tm.saw("deploy") != 2 {
			t.Errorf("restored from %+v, want %d: %q", j.Checkpoints.RestoredFrom, terminal, tm.log)
		}
		for _, line := range tm.log {
			if strings.HasPrefix(line, "completed") && strings.HasSuffix(line, "true") && !strings.HasPrefix(line, "completed "+j.Checkpoints.RestoredFrom.Path[strings.LastIndex(j.Checkpoints.RestoredFrom.Path, "-")+1:]+" ") {
				t.Errorf("another terminal checkpoint: %q", tm.log)
			}
		}
	})
}

// TestFailsWhileFinishing: the worker dies while FINISHED is being written, and there
// are no restarts: the job is FINISHED (I6: the first result counts).
func TestFailsWhileFinishing(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			tm := w.join("tm1")
			w.mustSubmit("restart-strategy.type=none")
			w.running()
			hits := w.fault("/result", 50, false, ha.ErrUnknown)
			tm.end()
			w.until("the result is being written", func() bool { return hits.Load() > 0 })
			if cancel {
				if err := w.manager.Cancel(t.Context(), testJob); !errors.Is(err, ErrEnded) {
					t.Errorf("cancel while FINISHED is written: %v", err)
				}
			}
			tm.set(func() {
				for id := range tm.workers {
					tm.exit(id, "signal: killed")
				}
			})
			w.finished()
		})
	}
}

// TestRepliesAtTheEnd: nobody who has asked waits for ever when the leadership ends.
func TestRepliesAtTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("tm1")
		w.mustSubmit()
		w.running()
		w.fault("/", 1<<30, false, ha.ErrUnknown)
		replies := make(chan error, 4)
		ctx := context.Background()
		for range 2 {
			go func() { replies <- w.manager.Cancel(ctx, testJob) }()
		}
		go func() { _, err := w.manager.Wait(ctx, testJob); replies <- err }()
		go func() {
			_, _, err := w.manager.Submit(ctx, Submission{Plan: testPlan()})
			replies <- err
		}()
		synctest.Wait()
		w.stopManager()
		for range 4 {
			if err := <-replies; !errors.Is(err, ErrNotLeader) {
				t.Errorf("reply %v, want %v", err, ErrNotLeader)
			}
		}
		w.store.SetFault(nil)
		w.startManager()
	})
}

// TestTaskManagerComesBack under its own id: what ran there is gone, and its slots are
// there once.
func TestTaskManagerComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		second := w.join("tm1") // the first one's stream is ended by it
		w.until("restarted", func() bool { return second.saw("deploy incarnation")+tm.saw("deploy incarnation") >= 2 })
		tm.leave()
		w.running()
		o, err := w.manager.API().Overview(t.Context())
		if err != nil || o.TaskManagers != 1 || o.SlotsTotal != 1 || o.SlotsAvailable != 0 {
			t.Errorf("overview %+v, %v", o, err)
		}
	})
}

// TestWhereItRan: a subtask whose worker is gone still says where it ran.
func TestWhereItRan(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		tm.leave()
		w.until("the job is being restarted", func() bool { return w.view().State == "RESTARTING" })
		for _, v := range w.view().Vertices {
			for _, s := range v.Subtasks {
				if s.TaskManagerID != "tm1" || s.WorkerPID != 1 {
					t.Errorf("subtask %d of %s was on %q, worker %d", s.Index, v.UID, s.TaskManagerID, s.WorkerPID)
				}
			}
		}
	})
}

// TestUnreadableRecords: a job that this version does not understand is left alone,
// is named, and keeps no other job from running.
func TestUnreadableRecords(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.stopManager()
		lead, err := w.store.Campaign(t.Context(), &metapb.LeaderRecord{})
		if err != nil {
			t.Fatal(err)
		}
		const broken, newer = "b0000000000000000000000000000000", "c0000000000000000000000000000000"
		if err := w.store.Commit(t.Context(), lead, ha.Txn{Puts: []ha.Entry{
			{Key: "jobs/" + broken + "/graph", Value: []byte{0xff}},
			{Key: "jobs/" + newer + "/graph", Value: nil},
			{Key: "jobs/settings", Value: []byte("of a newer version")},
		}}); err != nil {
			t.Fatal(err)
		}
		if err := lead.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.startManager()
		tm := w.join("tm1")
		w.mustSubmit()
		tm.end()
		w.finished()
		if err := w.manager.Cancel(t.Context(), broken); !errors.Is(err, ErrUnreadable) {
			t.Errorf("cancel of an unreadable job: %v", err)
		}
		if _, _, err := w.manager.Submit(t.Context(), Submission{ID: newer, Plan: testPlan()}); !errors.Is(err, ErrUnreadable) {
			t.Errorf("submission under its id: %v", err)
		}
		if _, err := w.store.Get(t.Context(), "jobs/"+broken+"/graph"); err != nil {
			t.Errorf("its record: %v", err)
		}
	})
}

// TestCleanUpGoesOn: the leader dies between the result and the end of the clean-up.
func TestCleanUpGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit()
		w.checkpoints(2)
		folder := filepath.Dir(filepath.Dir(w.metadataFiles()[0]))
		w.store.SetFault(func(txn ha.Txn) (bool, error) { // nothing but the result is written
			if slices.ContainsFunc(txn.Puts, func(e ha.Entry) bool { return strings.HasSuffix(e.Key, "/result") }) && len(txn.Absent) > 0 {
				return false, nil
			}
			if len(txn.Deletes) > 0 {
				return false, ha.ErrUnknown
			}
			return false, nil
		})
		tm.end()
		w.until("the worker is stopped", func() bool { return tm.saw("stop") == 1 })
		w.store.SetFault(nil)
		w.depose()
		w.finished()
		if left, err := os.ReadDir(folder); err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
			t.Errorf("%d entries are left of a finished job (%v)", len(left), err)
		}
		if tm.saw("deploy") != 1 {
			t.Errorf("a finished job was deployed: %q", tm.log)
		}
	})
}

// TestDeposedSaysWhoLeads: a leader whose lease has ended says so, and who leads now.
func TestDeposedSaysWhoLeads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		second := make(chan ha.Leadership, 1)
		go func() {
			l, err := w.store.Campaign(context.Background(), &metapb.LeaderRecord{Process: "second", RestAddress: "10.0.0.2:8081"})
			if err != nil {
				t.Error(err)
			}
			second <- l
		}()
		for synctest.Wait(); len(second) == 0; synctest.Wait() {
			w.store.Depose() // who leads then is anybody's luck
		}
		lead := <-second
		w.until("it says so", func() bool {
			return w.logged("the leadership is lost") > 0 && w.logged("another JobManager leads", "10.0.0.2:8081") == 1
		})
		if err := lead.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAllDamaged: the failure names what was found of each checkpoint; each is reported
// once, however often it is looked at.
func TestAllDamaged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit("execution.checkpointing.num-retained=2")
		w.checkpoints(2)
		ids := []uint64{w.view().LastCheckpoint.ID, w.view().LastCheckpoint.ID - 1}
		for i, id := range ids { // subtasks can't start from it
			tm.set(func() {
				tm.silent = true
				for inc, d := range tm.deployed {
					tm.tell(inc, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Status{Status: &weirpb.SubtaskStatus{
						Subtask: d.Subtasks[0].Subtask, Attempt: d.Attempt, Incarnation: inc, State: weirpb.SubtaskStatus_STATE_FAILED,
						Failure: fmt.Sprintf("restore: shared/run-%d.sst: digest differs", id), DamagedCheckpoint: id}}})
				}
				tm.silent = false
			})
			w.until("it has failed", func() bool {
				return tm.saw("deploy") == i+2 || w.view().State == "FAILED"
			})
		}
		r := w.wait()
		for _, id := range ids {
			if !strings.Contains(r.Failure, fmt.Sprintf("shared/run-%d.sst", id)) {
				t.Errorf("the failure does not name the file of checkpoint %d: %s", id, r.Failure)
			}
			if n := w.logged("level=ERROR", "passed over", fmt.Sprintf("checkpoint=%d ", id)); n != 1 {
				t.Errorf("checkpoint %d was reported %d times", id, n)
			}
		}
	})
}
