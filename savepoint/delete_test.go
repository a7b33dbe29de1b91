package savepoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
)

// TestDeletionIsCutOff: a deletion that stops after any number of files, of a savepoint and
// of a checkpoint beside another one, leaves nothing that is taken for a snapshot; deleted
// again, all that belonged to it goes and nothing else.
func TestDeletionIsCutOff(t *testing.T) {
	ctx := context.Background()
	for _, kind := range []string{"savepoint", "checkpoint", "checkpoint with packs"} {
		for stop := 0; ; stop++ {
			dir := t.TempDir()
			job := filepath.Join(dir, "j")
			var first, path string
			if kind == "checkpoint with packs" {
				first, path = packed(t, job, 60)
			} else {
				first, path = small(t, job)
			}
			want := listing(t, dir) // when it is gone
			if kind == "savepoint" {
				path = filepath.Join(dir, "sp")
				ok(Copy(ctx, first, path, native))
			} else {
				own := runFiles(path)
				for _, f := range runFiles(first) {
					own = slices.DeleteFunc(own, func(o *metapb.RunFile) bool { return o.Name == f.Name })
				}
				for _, f := range own {
					want = slices.DeleteFunc(want, func(name string) bool { return name == "j/"+f.Name })
				}
				want = slices.DeleteFunc(want, func(name string) bool { return name == "j/chk-3/"+metadata.FileName })
			}
			over := cutOff(t, path, stop)
			if _, err := Open(ctx, path); !errors.Is(err, ErrNotFound) || !over && !strings.Contains(err.Error(), "delete it again") {
				t.Fatalf("%s, after %d files: %v", kind, stop, err)
			}
			if _, err := Delete(ctx, "file://"+path); err != nil && !(over && errors.Is(err, ErrNotFound)) {
				t.Fatalf("%s, again after %d files: %v", kind, stop, err)
			}
			if got := listing(t, dir); !slices.Equal(got, want) {
				t.Fatalf("%s, again after %d files: left are %q, want %q", kind, stop, got, want)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s, after %d files: its folder: %v", kind, stop, err)
			}
			if err := ok(Verify(ctx, first)).Err(); err != nil {
				t.Errorf("%s, after %d files, the other one: %v", kind, stop, err)
			}
			if _, err := Delete(ctx, path); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: what is gone is deleted: %v", kind, err)
			}
			if over {
				break
			}
		}
	}
}

// cutOff deletes the snapshot at path but for all of its files after the first stop ones;
// over: that was all.
func cutOff(t *testing.T, path string, stop int) (over bool) {
	t.Helper()
	ctx := context.Background()
	s := ok(Open(ctx, path))
	defer s.Close()
	names, _ := s.ownFiles(ok(s.neededByOthers(ctx)))
	if stop > len(names) {
		ok(s.delete(ctx))
		return true
	}
	if err := begin(s.folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(names))[:stop] {
		if err := os.Remove(filepath.Join(s.Base(), name)); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

// listing are the names of all files below dir, sorted.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(files(t, dir)))
}

// TestLastCheckpointDeleted: the folder of its job goes with it, if it is the job's and
// nothing else lies there.
func TestLastCheckpointDeleted(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		folder, besides string
		stays           bool
	}{{"j", "", false}, {"j", "notes.txt", true}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			job := filepath.Join(t.TempDir(), c.folder)
			first, second := small(t, job)
			if c.besides != "" {
				if err := os.WriteFile(filepath.Join(job, c.besides), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ok(Delete(ctx, second))
			if _, err := os.Stat(job); err != nil {
				t.Fatal(err)
			}
			ok(Delete(ctx, first))
			if _, err := os.Stat(job); errors.Is(err, os.ErrNotExist) == c.stays {
				t.Errorf("the folder of the job: %v", err)
			}
		})
	}
	// A folder that is not called after the job is not the job's to remove.
	job := filepath.Join(t.TempDir(), "j")
	first, second := small(t, job)
	ok(Delete(ctx, first))
	other := filepath.Join(filepath.Dir(job), "renamed")
	if err := os.Rename(job, other); err != nil {
		t.Fatal(err)
	}
	ok(Delete(ctx, filepath.Join(other, filepath.Base(second))))
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
