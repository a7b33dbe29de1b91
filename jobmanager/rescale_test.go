package jobmanager

import (
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
)

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
		again := must(w.manager.API().Rescale(t.Context(), testJob, api.RescaleRequest{Parallelism: 2}))(t)
		must(w.operationEnds(testJob, again))(t)
		if second.saw("deploy") != 1 {
			t.Errorf("restarted for the parallelism that it has: %q", second.log)
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
