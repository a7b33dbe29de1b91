package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager"
)

// TestBeside: a job is started from the newest checkpoint of one that goes on. It stays
// until the new job has one of its own, whatever the first job does; both jobs have the
// results of an undisturbed run, and in the end nothing is left, not even their folders.
func TestBeside(t *testing.T) {
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			s := newSiteOf(t, 2)
			a := s.submit(2, backend, api.Restore{})
			s.progress(a, 3)
			b, path := s.beside(a, backend)
			s.progress(a, 6) // more than are retained
			s.progress(b, 2)
			for s.view(b).StartedFrom != nil && !s.view(b).StartedFrom.Released {
				s.progress(b, 1)
			}
			for { // released, it goes as the first job's others have gone
				if _, err := os.Stat(filepath.Join(path, "_metadata")); errors.Is(err, os.ErrNotExist) {
					break
				}
				s.progress(a, 1)
			}
			s.finished(a)
			s.finished(b)
			for _, id := range []job.ID{a, b} {
				if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(path)), string(id))); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the folder of job %s: %v", id, err)
				}
			}
		})
	}
}

// beside starts a job from the newest checkpoint of another. One that is gone before it is
// pinned is refused by name.
func (s *site) beside(other job.ID, backend string) (id job.ID, path string) {
	s.t.Helper()
	for {
		path = s.view(other).LastCheckpoint.Path
		id, _, err := s.c.JobManager().Submit(s.ctx, jobmanager.Submission{Plan: s.plan, Restore: api.Restore{Path: path}, Settings: map[string]string{
			"parallelism.default": "1", "execution.checkpointing.interval": "100 ms", "state.backend.type": backend,
			"execution.checkpointing.data-inline-threshold": "0",
		}})
		switch e := (*api.Error)(nil); {
		case err == nil:
			return id, path
		case !errors.As(err, &e) || e.Code != "SNAPSHOT_IN_USE" && e.Code != "SNAPSHOT_NOT_FOUND":
			s.t.Fatal(err)
		}
		fmt.Fprintln(s.t.Output(), err)
	}
}
