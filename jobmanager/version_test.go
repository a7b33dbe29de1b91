package jobmanager

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

// TestJobOfAnotherVersion: a job program embeds the runtime. One of another minor
// version is refused before anything is on record; one that does not say is taken.
func TestJobOfAnotherVersion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.manager.cfg.Version = "0.4.1-dev"
		for i, c := range []struct {
			version string
			refused bool
		}{{"0.5.0", true}, {"0.3.9", true}, {"1.4.1", true}, {"0.4.0", false}, {"0.4.2-dev", false}, {"", false}} {
			plan := testPlan()
			plan.WeirVersion = c.version
			id := job.ID("0123456789abcdef0123456789abcde" + string(rune('0'+i)))
			_, _, err := w.manager.Submit(t.Context(), Submission{ID: id, Plan: plan, Settings: map[string]string{"parallelism.default": "1"}})
			var e *api.Error
			if refused := errors.As(err, &e) && e.Code == "VERSION_MISMATCH" && errors.Is(err, api.ErrIncompatible); refused != c.refused || err != nil && !refused {
				t.Errorf("version %q: %v", c.version, err)
			}
			if _, err := w.manager.API().Job(t.Context(), id); (err != nil) != c.refused {
				t.Errorf("version %q: on record: %v", c.version, err)
			}
		}
	})
}
