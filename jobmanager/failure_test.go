package jobmanager

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/proto/weirpb"
)

// fail has the first subtask of what runs on tm fail.
func (tm *scriptedTM) fail(reason string) {
	tm.set(func() {
		for inc, d := range tm.deployed {
			tm.tell(inc, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Status{Status: &weirpb.SubtaskStatus{
				Subtask: d.Subtasks[0].Subtask, Attempt: d.Attempt, Incarnation: inc, State: weirpb.SubtaskStatus_STATE_FAILED, Failure: reason}}})
		}
	})
}

// TestFailureOnRecord: a failure is on record when it happens, not with the restart.
func TestFailureOnRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit("restart-strategy.type=fixed-delay", "restart-strategy.fixed-delay.delay=10 h")
		w.running()
		tm.fail("boom")
		w.until("it has failed", func() bool { return w.view().State == "RESTARTING" && w.view().LastFailure != nil })
		w.depose()
		for range 2 {
			if f := w.view().LastFailure; f == nil || f.Cause != "boom" || f.Task != "in[0]" || f.Fatal {
				t.Errorf("failure %+v under the next leader", f)
			}
			if err := w.manager.Cancel(t.Context(), testJob); err != nil { // and when it has ended
				t.Fatal(err)
			}
			w.wait()
			w.depose()
		}
	})
}

// TestWaitsForSlots: a job is CREATED until something of it is deployed, and says what it
// waits for; one that another leader has deployed is RESTARTING.
func TestWaitsForSlots(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.mustSubmit()
		w.until("it waits", func() bool { return w.view().Slots != nil })
		if j := w.view(); j.State != api.StateCreated || *j.Slots != (api.SlotsWanted{Wanted: 1}) {
			t.Errorf("%s, %+v", j.State, j.Slots)
		}
		tm := w.join("tm1")
		w.running()
		if j := w.view(); j.Slots != nil {
			t.Errorf("%+v", j.Slots)
		}
		tm.leave()
		w.until("it waits again", func() bool { return w.view().Slots != nil })
		if j := w.view(); j.State != api.StateRestarting {
			t.Errorf("it is %s", j.State)
		}
		w.depose()
		w.until("the next leader waits", func() bool { return w.view().Slots != nil })
		if j := w.view(); j.State != api.StateRestarting {
			t.Errorf("it is %s under the next leader", j.State)
		}
	})
}

// TestFallbackAsks: the job fails rather than go behind what it has published; its
// checkpoints stay, and starting from the one that it names is the consent.
func TestFallbackAsks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tm := w.join("tm1")
		w.mustSubmit("execution.checkpointing.fallback=ask")
		w.checkpoints(3)
		tm.set(func() { tm.silent = true })
		files := w.metadataFiles()
		if err := os.Truncate(files[2], 10); err != nil {
			t.Fatal(err)
		}
		w.depose()
		r := w.wait()
		good := filepath.Dir(files[1])
		if r.State != "FAILED" || !strings.Contains(r.Failure, "without consent") || !strings.Contains(r.Failure, "weir run -s "+good+" ") || !strings.Contains(r.Failure, "has 10 bytes") {
			t.Fatalf("result %v", r)
		}
		tm.set(func() { tm.silent, tm.log = false, nil })
		must(w.submitJob(secondJob, api.Restore{Path: good}))(t)
		w.until("the second job is deployed", func() bool { return tm.saw("deploy") == 1 })
		if _, err := os.Stat(files[2]); errors.Is(err, os.ErrNotExist) {
			t.Error("the damaged checkpoint is gone")
		}
	})
}
