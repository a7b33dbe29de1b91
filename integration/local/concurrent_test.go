package local

import (
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/jobmanager"
)

// TestConcurrentCheckpoints: several are under way at a time, a TaskManager is lost, and
// the results are those of an undisturbed run.
func TestConcurrentCheckpoints(t *testing.T) {
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			s := newSite(t)
			for !s.c.JobManager().Leads() {
				if s.ctx.Err() != nil {
					t.Fatal("nobody leads")
				}
			}
			id, _, err := s.c.JobManager().Submit(s.ctx, jobmanager.Submission{Plan: s.plan, Settings: map[string]string{
				"parallelism.default": "2", "state.backend.type": backend, "execution.checkpointing.interval": "2 ms",
				"execution.checkpointing.max-concurrent-checkpoints": "4", "execution.checkpointing.data-inline-threshold": "0",
			}})
			if err != nil {
				t.Fatal(err)
			}
			together := 0
			for start := s.view(id).Checkpoints.Completed; s.view(id).Checkpoints.Completed < start+20; {
				j := s.view(id)
				if together = max(together, j.Checkpoints.InProgress); api.Terminal(j.State) {
					t.Fatalf("the job is %s: %+v", j.State, j.Failures)
				}
			}
			if together < 2 {
				t.Errorf("never more than %d under way", together)
			}
			victim := s.view(id).Vertices[0].Subtasks[0].TaskManagerID
			for i := range 3 {
				if s.c.TaskManagerID(i) == victim {
					if err := s.c.StopTaskManager(i); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.progress(id, 5)
			s.finished(id)
		})
	}
}
