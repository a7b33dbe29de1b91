package jobmanager

import (
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
)

// reporting joins a TaskManager that tells new leaders what runs.
func (w *world) reporting(id string) *scriptedTM {
	tm := w.join(id)
	tm.set(func() { tm.reports = true })
	return tm
}

// receipt waits for what the present leader says of its take-over.
func (w *world) receipt() *api.Takeover {
	w.t.Helper()
	var l api.Leader
	w.until("the jobs are taken over", func() bool {
		var err error
		l, err = w.manager.API().Leader(w.t.Context())
		return err == nil && l.Takeover != nil && l.Takeover.Open == 0
	})
	return l.Takeover
}

// TestAdopted: the leadership is lost again and again, and no subtask notices. Checkpoints
// go on under new ids, the newest completed one is notified again, what was under way is
// aborted.
func TestAdopted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(2)
		for range 3 {
			last := w.view().LastCheckpoint.ID
			tm.set(func() { tm.silent, tm.log = true, nil }) // one is under way when the leader is lost
			w.until("a checkpoint is under way", func() bool { return w.view().Checkpoints.InProgress == 1 })
			w.depose()
			r := w.receipt()
			if r.Jobs != 1 || r.Adopted != 2 || r.Restarted != 0 || r.Epoch != w.manager.leader().epoch() {
				t.Errorf("receipt %+v", r)
			}
			tm.set(func() { tm.silent = false })
			w.running()
			w.checkpoints(w.view().Checkpoints.Completed + 2)
			if j := w.view(); j.LastCheckpoint.ID <= last || j.Restarts != 0 || j.Incarnation != 1 {
				t.Errorf("last checkpoint %d, %d before; %d restarts, incarnation %d", j.LastCheckpoint.ID, last, j.Restarts, j.Incarnation)
			}
			if tm.saw("adopt incarnation 1: 2 subtasks") != 1 || tm.saw("abort") != 1 || tm.saw("stop")+tm.saw("start")+tm.saw("deploy")+tm.saw("cancel") != 0 {
				t.Errorf("the TaskManager was told %q", tm.log)
			}
		}
		tm.end()
		w.finished()
		if j := w.view(); j.Restarts != 0 || len(j.Failures) != 0 {
			t.Errorf("%d restarts, failures %+v", j.Restarts, j.Failures)
		}
	})
}

// TestSourceEndedWithoutALeader: that the sources have come to their end is said once, and
// nobody leads then.
func TestSourceEndedWithoutALeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit("execution.checkpointing.interval=0")
		w.running()
		tm.set(func() { tm.ends = true })
		w.depose()
		w.finished()
		if r := w.receipt(); r.Adopted != 2 || tm.saw("deploy") != 1 {
			t.Errorf("receipt %+v, the TaskManager was told %q", r, tm.log)
		}
	})
}

// TestNotAdopted: what keeps a region from being adopted, and what becomes of it.
func TestNotAdopted(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(tm *scriptedTM)
		failures int
		why      string
	}{
		"failed": {func(tm *scriptedTM) { tm.fails = "disk full" }, 1, "disk full"},
		"worker ended": {func(tm *scriptedTM) {
			for id := range tm.workers {
				delete(tm.workers, id)
				tm.exited = append(tm.exited, &weirpb.WorkerExited{JobId: tm.job, WorkerId: id, Reason: "signal: killed"})
			}
			clear(tm.deployed)
		}, 1, "signal: killed"},
		"not all deployed": {func(tm *scriptedTM) { tm.deployed[1].Subtasks = tm.deployed[1].Subtasks[:1] }, 0, ""},
		"another attempt":  {func(tm *scriptedTM) { tm.deployed[1].Attempt.N++ }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tm := w.reporting("tm1")
				w.mustSubmit()
				w.checkpoints(2)
				tm.set(func() { c.change(tm) })
				w.depose()
				if r := w.receipt(); r.Adopted != 0 || r.Restarted != 2 {
					t.Errorf("receipt %+v", r)
				}
				tm.set(func() { tm.fails = "" })
				w.running()
				j := w.view()
				if j.Incarnation != 2 || tm.saw("deploy incarnation 2 restored 0") != 0 || len(j.Failures) != c.failures {
					t.Errorf("incarnation %d, failures %+v; the TaskManager was told %q", j.Incarnation, j.Failures, tm.log)
				}
				if c.failures > 0 && !strings.Contains(j.Failures[0].Cause, c.why) {
					t.Errorf("failure %+v, want %q", j.Failures[0], c.why)
				}
				tm.end()
				w.finished()
			})
		})
	}
}

// TestTaskManagerGoneWithTheLeader: nobody comes to say what ran there; after the window the
// job starts elsewhere. One that comes too late is told to end what it runs.
func TestTaskManagerGoneWithTheLeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(2)
		tm.leave()
		w.until("the job waits for slots", func() bool { return w.view().State == "RESTARTING" })
		w.depose()
		other := w.reporting("tm2")
		if r := w.receipt(); r.Restarted != 2 {
			t.Errorf("receipt %+v", r)
		}
		w.running()
		late := w.reporting("tm1")
		late.set(func() { late.workers[1], late.jobs[1] = true, string(testJob) })
		late.reconnect()
		w.until("the late worker is stopped", func() bool { return late.saw("stop") == 1 })
		other.end()
		w.finished()
	})
}

// TestStopUnderWay: a stop is on record and its barrier on its way when the leader is lost.
// The next one takes the barrier back and injects another; nothing restarts.
func TestStopUnderWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		tm.set(func() { tm.silent = true })
		trigger, err := w.manager.API().Stop(t.Context(), testJob, api.StopRequest{TargetDirectory: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		w.depose()
		w.receipt()
		tm.set(func() { tm.silent = false })
		w.finished()
		o, err := w.manager.API().Operation(t.Context(), testJob, trigger)
		if err != nil || o.Result == nil || o.Result.Location == "" {
			t.Errorf("operation %+v, %v", o, err)
		}
		if tm.saw("trigger "+stream.StopBarrier.String()) != 1 || tm.saw("deploy") != 1 {
			t.Errorf("the TaskManager was told %q", tm.log)
		}
	})
}

// TestCancelUnderWay: a cancel is on record, and nobody has been told.
func TestCancelUnderWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		tm.set(func() { tm.silent = true })
		if err := w.manager.Cancel(t.Context(), testJob); err != nil {
			t.Fatal(err)
		}
		w.depose()
		tm.set(func() { tm.silent = false })
		if r := w.wait(); r.State != "CANCELED" {
			t.Errorf("the job is %s", r.State)
		}
		if tm.saw("deploy") != 1 {
			t.Errorf("a cancelled job was deployed: %q", tm.log)
		}
	})
}

// TestSlotsAreKept: while it is open what becomes of a job, its slots are not for others.
func TestSlotsAreKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		if _, err := w.submitJob(secondJob, api.Restore{}); err != nil { // it waits for slots
			t.Fatal(err)
		}
		w.depose()
		if r := w.receipt(); r.Jobs != 1 || r.Adopted != 2 || tm.saw("deploy") != 1 {
			t.Errorf("receipt %+v, the TaskManager was told %q", r, tm.log)
		}
		w.until("the second job waits", func() bool { return w.viewOf(secondJob).Slots != nil })
		tm.end()
		w.finished()
	})
}

// TestFencedWhileAdopting: a leader that is deposed while it waits for TaskManagers leaves
// everything to the next.
func TestFencedWhileAdopting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		hits := w.fault("/checkpoint-id", 1, false, ha.ErrFenced) // the first thing that a new leader writes
		w.depose()
		w.until("a third leader", func() bool {
			_, e, err := w.manager.Leader(t.Context())
			return hits.Load() == 1 && err == nil && e >= 3
		})
		if r := w.receipt(); r.Adopted != 2 || tm.saw("deploy") != 1 {
			t.Errorf("receipt %+v, the TaskManager was told %q", r, tm.log)
		}
		tm.end()
		w.finished()
	})
}

// TestUnreadableJobRunsOn: what runs of a job that the new leader can't read is left to one
// that can.
func TestUnreadableJobRunsOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(1)
		key := "jobs/" + string(testJob) + "/graph"
		good, err := w.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		put := func(value []byte) {
			if err := w.store.Commit(t.Context(), w.manager.leader().lead, ha.Txn{Puts: []ha.Entry{{Key: key, Value: value}}}); err != nil {
				t.Fatal(err)
			}
		}
		put([]byte{0xff})
		w.depose()
		w.until("the TaskManager is back", func() bool { return len(w.manager.leader().taskManagers()) == 1 })
		put(good)
		w.depose()
		if r := w.receipt(); r.Adopted != 2 || tm.saw("stop")+tm.saw("cancel") != 0 {
			t.Errorf("receipt %+v, the TaskManager was told %q", r, tm.log)
		}
		tm.end()
		w.finished()
	})
}

// TestConfirmed: no barrier is injected before every worker has said that its subtasks know
// the leader; one that never says so is not waited for in vain.
func TestConfirmed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.reporting("tm1")
		w.mustSubmit()
		w.checkpoints(2)
		tm.set(func() { tm.deaf, tm.silent = true, true })
		w.depose()
		w.receipt()
		tm.set(func() { tm.silent, tm.log = false, nil })
		tm.set(func() { tm.ends = true })
		<-time.After(3 * time.Second) // of the bubble: less than the window
		tm.end()
		if n := tm.saw("trigger"); n > 0 {
			t.Errorf("%d barriers before the subtasks know the leader", n)
		}
		w.finished()
		if tm.saw("deploy") > 0 {
			t.Errorf("the TaskManager was told %q", tm.log)
		}
	})
}
