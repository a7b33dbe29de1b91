package local

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/savepoint"
)

// TestOwnership: a job is started from a savepoint, and from a retained checkpoint of which
// others share files, in each mode. As long as it needs the snapshot all of it is there. Then,
// CLAIM: the snapshot is gone, and of the others nothing; else not a byte has changed. The job
// does without, over a loss, and what it leaves behind is nobody else's.
func TestOwnership(t *testing.T) {
	for _, mode := range []string{api.RestoreNoClaim, api.RestoreClaim, api.RestoreLegacy} {
		for _, retained := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/retained=%t", mode, retained), func(t *testing.T) {
				s := newSite(t)
				a := s.submit(2, "heap", api.Restore{})
				s.progress(a, 4)
				path := s.ends(a)(s.api.Savepoint(s.ctx, a, api.SavepointRequest{FormatType: api.FormatNative})).Location
				s.cancelled(a)
				home := path
				if retained {
					path = s.view(a).LastCheckpoint.Path
					home = filepath.Dir(path)
				}
				before := sizes(t, home)
				b := s.submit(2, "heap", api.Restore{Path: path, Mode: mode})
				s.progress(b, 1)
				for !s.view(b).StartedFrom.Released {
					if mode != api.RestoreClaim { // files of a claimed one may go while they are looked at
						if now := sizes(t, home); !s.view(b).StartedFrom.Released && !maps.Equal(now, before) {
							t.Fatalf("the snapshot has %d files while it is needed, had %d", len(now), len(before))
						}
					}
					s.progress(b, 1)
				}
				_, err := savepoint.Open(s.ctx, path)
				switch gone := errors.Is(err, savepoint.ErrNotFound); {
				case gone != (mode == api.RestoreClaim):
					t.Errorf("the snapshot: %v", err)
				case gone && !retained:
					if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("its folder: %v", err)
					}
				case gone:
					others, err := filepath.Glob(filepath.Join(home, "chk-*"))
					if err != nil || len(others) != 2 { // of the three that are retained
						t.Errorf("the others: %q, %v", others, err)
					}
					for _, o := range others {
						if v, err := savepoint.Verify(s.ctx, o); err != nil || v.Err() != nil {
							t.Errorf("another checkpoint of the job: %v, %v", err, v.Err())
						}
					}
				case !maps.Equal(sizes(t, home), before):
					t.Errorf("the snapshot has changed")
				}
				s.loses(b)
				s.finished(b)
				if mode != api.RestoreClaim && !maps.Equal(sizes(t, home), before) {
					t.Error("the snapshot has changed since")
				}
				left, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(s.view(a).LastCheckpoint.Path)), string(b)))
				if err != nil || len(left) > 0 {
					t.Errorf("left of the job: %q, %v", left, err)
				}
			})
		}
	}
}

func (s *site) cancelled(id job.ID) {
	s.t.Helper()
	if err := s.api.Cancel(s.ctx, id); err != nil {
		s.t.Fatal(err)
	}
	if r, err := s.c.Wait(s.ctx, id); err != nil || r.State != api.StateCanceled {
		s.t.Fatalf("cancelled job: %v, %v", r, err)
	}
}

// loses takes the TaskManager away that a job's first subtask is on.
func (s *site) loses(id job.ID) {
	s.t.Helper()
	victim := s.view(id).Vertices[0].Subtasks[0].TaskManagerID
	for i := range 3 {
		if s.c.TaskManagerID(i) == victim {
			if err := s.c.StopTaskManager(i); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// sizes are the files below a folder, with what they hold in bytes.
func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && !strings.HasPrefix(d.Name(), ".") {
			all[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
