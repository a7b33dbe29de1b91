package runlist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// TestLinkBringsRestoredRuns: from a folder of the same file system by hard link, from
// elsewhere by copying behind; a file that is not what the list says is refused.
func TestLinkBringsRestoredRuns(t *testing.T) {
	folder := t.TempDir()
	fs, err := objstore.OpenFS(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	for _, store := range []objstore.Store{fs, objstore.NewMemory("test")} {
		res, err := newJob(t, store, "e1.n1").cut(context.Background(), 5000)
		if err != nil {
			t.Fatal(err)
		}
		link := func() ([]Linked, error) {
			n := newJob(t, store, "e2.n1")
			if err := n.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
				t.Fatal(err)
			}
			runs, err := n.list.Link(context.Background(), t.TempDir())
			return runs, errors.Join(err, n.list.waitBehind(context.Background()))
		}
		runs, err := link()
		if err != nil || len(runs) != 1 || len(runs[0].Files) != 1 || (runs[0].Clip != nil) != (runs[0].Behind != nil) {
			t.Fatalf("%+v, %v", runs, err)
		}
		got, err := os.Stat(runs[0].Files[0])
		if err != nil {
			t.Fatal(err)
		}
		if store == objstore.Store(fs) {
			object, err := os.Stat(filepath.Join(folder, res.Runs[0].Files[0].Name))
			if err != nil || !os.SameFile(got, object) {
				t.Fatalf("not a link to the object: %v", err)
			}
			if err := os.Truncate(runs[0].Files[0], got.Size()-1); err != nil {
				t.Fatal(err)
			}
		} else {
			res.Runs[0].Files[0].Digest[0]++
		}
		if _, err := link(); !errors.Is(err, statebackend.ErrCorrupt) {
			t.Fatalf("a damaged file was taken: %v", err)
		}
	}
}

// TestLinkClips: of a run that two old subtasks list, each with its own part, only that
// part counts.
func TestLinkClips(t *testing.T) {
	store := objstore.NewMemory("test")
	res, err := newJob(t, store, "e1.n1").cut(context.Background(), 5000)
	if err != nil {
		t.Fatal(err)
	}
	n := newJob(t, store, "e2.n1")
	var from []statebackend.Restored
	for i := range 2 {
		from = append(from, statebackend.Restored{Range: stream.RangeOf(i, 2), Runs: res.Runs, Schemas: res.Schemas})
	}
	if err := n.list.Restore(from); err != nil {
		t.Fatal(err)
	}
	runs, err := n.list.Link(context.Background(), t.TempDir())
	if err != nil || len(runs) != 2 {
		t.Fatalf("%+v, %v", runs, err)
	}
	for i, r := range runs {
		if len(r.Clip) != len(r.Files) {
			t.Fatalf("part %d is not clipped: %+v", i, r)
		}
	}
	if a, b := runs[0].Clip[0].To, runs[1].Clip[0].From; string(a) != string(b) {
		t.Fatalf("the first part ends at %x, the second begins at %x", a, b)
	}
}

// TestForeignRuns: a job that is started from another's snapshot has attempts of the same
// numbers. Its runs have other names, the other's are read where they lie, without a
// folder opened for each read, and a folder that isn't there is not made.
func TestForeignRuns(t *testing.T) {
	for _, inline := range []int64{0, 1 << 20} {
		dir := t.TempDir()
		first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
		a := newJobIn(t, first, "e1.n1", inline)
		for range 2 {
			if _, err := a.cut(context.Background(), 500); err != nil {
				t.Fatal(err)
			}
		}
		res, err := a.cut(context.Background(), 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Runs {
			if len(r.Files) > 0 {
				r.BasePath = first
			}
		}
		b := newJobIn(t, second, "e1.n1", inline)
		from := []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}
		if err := b.list.Restore(from); err != nil {
			t.Fatal(err)
		}
		if err := b.list.Read(context.Background(), b.s.Load); err != nil {
			t.Fatal(err)
		}
		if _, err := b.list.Link(context.Background(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if n := len(b.list.foreign.stores); n > 1 {
			t.Errorf("%d folders are open", n)
		}
		seen := map[string]bool{}
		for range 3 {
			after, err := b.cut(context.Background(), 50)
			if err != nil {
				t.Fatal(err)
			}
			clear(seen)
			for _, r := range after.Runs {
				if seen[r.Id] {
					t.Errorf("inline %d: run %s is listed twice", inline, r.Id)
				}
				seen[r.Id] = true
			}
		}
		for _, r := range from[0].Runs {
			r.BasePath = filepath.Join(dir, "gone")
		}
		c := newJobIn(t, filepath.Join(dir, "third"), "e1.n1", inline)
		if err := c.list.Restore(from); err != nil {
			t.Fatal(err)
		}
		err = c.list.Read(context.Background(), c.s.Load)
		if _, serr := os.Stat(filepath.Join(dir, "gone")); inline == 0 && err == nil || serr == nil {
			t.Errorf("runs that are gone: %v; their folder: %v", err, serr)
		}
	}
}

func newJobIn(t *testing.T, dir, attempt string, inline int64) *job {
	store, err := objstore.OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	j := newJob(t, store, attempt)
	j.list.o.InlineLimit = inline
	return j
}
