package savepoint

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/runlist"
)

// packed is a job of two subtasks with two checkpoints of which all runs lie in packs, two
// in each, of keys 0 to n-1.
func packed(t *testing.T, job string, n int) (first, second string) {
	synctest.Test(t, func(t *testing.T) {
		store := ok(objstore.OpenFS(job))
		t.Cleanup(func() { store.Close() })
		p := runlist.NewPacker(store, "e1.n1", 7)
		var all []*subtask
		for i := range 2 {
			all = append(all, newPacking(t, job, "e1.n1", i, 2, nil, 0, p))
		}
		for round := range 3 {
			var wg sync.WaitGroup
			for _, s := range all {
				s.change(round, n-round, round)
				s.id++
				snap := ok(s.b.Freeze(s.id))
				for s.b.Advance(1 << 20) {
				}
				wg.Go(func() { s.res = ok(snap.Finish(context.Background())) })
			}
			wg.Wait()
			for _, s := range all {
				s.b.Advance(0)
			}
			if round == 1 {
				first = checkpoint(t, job, 2, all...)
			}
		}
		second = checkpoint(t, job, 3, all...)
	})
	return first, second
}

// runFiles are the files that the snapshot at path lists.
func runFiles(path string) (all []*metapb.RunFile) {
	s := ok(Open(context.Background(), path))
	defer s.Close()
	for _, op := range s.Metadata().Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				all = append(all, r.Files...)
			}
		}
	}
	return all
}

// TestPacks: a snapshot of which the runs lie in packs is described, compared, verified and
// copied by its parts; copies have no packs, and nothing of the others' parts.
func TestPacks(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	job := filepath.Join(dir, "j")
	first, from := packed(t, job, 60)
	listed := runFiles(from)
	names := map[string]bool{}
	for _, f := range listed {
		if f.PackSize == 0 || !strings.HasSuffix(f.Name, ".pack") {
			t.Fatalf("%v is not in a pack", f)
		}
		names[f.Name] = true
	}
	if len(listed) != 6 || len(names) != 3 {
		t.Fatalf("%d files in the packs %v", len(listed), names)
	}
	if d := ok(Describe(ctx, from)); d.Files != 6 || d.Bytes == 0 {
		t.Errorf("%+v", d)
	}
	if d := ok(Diff(ctx, first, from)); d.Both.Files != 4 || d.OnlyTo.Files != 2 || d.OnlyFrom.Files != 0 {
		t.Errorf("%+v", d)
	}
	if v := ok(Verify(ctx, from)); v.Files != 6 || v.Err() != nil {
		t.Errorf("%+v", v)
	}
	want := read(t, from, 1)
	for _, kind := range []metapb.SnapshotType{native, canonical} {
		to := filepath.Join(dir, kind.String())
		d := ok(Copy(ctx, from, to, kind))
		bytes := int64(0)
		for name, content := range files(t, to) {
			if name != metadata.FileName {
				bytes += int64(len(content))
			}
			if strings.HasSuffix(name, ".pack") {
				t.Errorf("the copy has %s", name)
			}
		}
		if bytes != d.Bytes && bytes != 0 || kind == native && (d.Files != 6 || bytes == 0) {
			t.Errorf("%v: %d bytes in the folder, %d of %d files listed", kind, bytes, d.Bytes, d.Files)
		}
		if again := ok(Copy(ctx, from, to, kind)); again.Bytes != d.Bytes {
			t.Errorf("copied again: %+v", again)
		}
		for _, f := range runFiles(to) {
			if f.PackSize != 0 || f.Offset != 0 {
				t.Errorf("the copy lists %v", f)
			}
		}
		moved := filepath.Join(dir, "moved "+kind.String())
		if err := os.Rename(to, moved); err != nil {
			t.Fatal(err)
		}
		for parallelism := 1; parallelism < 4; parallelism++ {
			if got := read(t, moved, parallelism); !maps.Equal(got, want) {
				t.Errorf("%v, parallelism %d: %v, want %v", kind, parallelism, got, want)
			}
		}
		if err := ok(Verify(ctx, moved)).Err(); err != nil {
			t.Error(err)
		}
	}
	if d := ok(Diff(ctx, from, filepath.Join(dir, "moved "+native.String()))); d.Both.Files != 6 || d.OnlyTo.Files+d.OnlyFrom.Files > 0 {
		t.Errorf("a native copy has the same files: %+v", d)
	}
}

// TestDeletePacks: a pack goes with the last checkpoint that lists a part of it.
func TestDeletePacks(t *testing.T) {
	ctx := context.Background()
	job := filepath.Join(t.TempDir(), "j")
	first, second := packed(t, job, 60)
	if d := ok(Delete(ctx, second)); d.Files != 1 || d.Kept != 4 {
		t.Errorf("%+v", d)
	}
	if v := ok(Verify(ctx, first)); v.Files != 4 || v.Err() != nil {
		t.Errorf("%+v", v)
	}
	size := int64(0)
	for _, content := range files(t, filepath.Join(job, "shared")) {
		size += int64(len(content))
	}
	if d := ok(Delete(ctx, first)); d.Files != 2 || d.Kept != 0 || d.Bytes != size {
		t.Errorf("%+v, the packs had %d bytes", d, size)
	}
	if _, err := os.Stat(job); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the job's folder: %v", err)
	}
}

// TestSwappedParts: a part of another subtask in the place of a run is found, though the
// pack is as it was.
func TestSwappedParts(t *testing.T) {
	ctx := context.Background()
	job := filepath.Join(t.TempDir(), "j")
	_, path := packed(t, job, 60)
	good := ok(os.ReadFile(filepath.Join(path, metadata.FileName)))
	m := ok(metadata.Decode(good))
	a, b := m.Operators[0].Subtasks[0].Runs[0].Files[0], m.Operators[0].Subtasks[1].Runs[0].Files[0]
	if a.Name != b.Name || a.Offset == b.Offset {
		t.Fatalf("%v and %v", a, b)
	}
	for what, spoil := range map[string]func(){
		"offset": func() { a.Offset = b.Offset },
		"content": func() {
			a.Offset, a.Size, a.TailSize, a.Digest, a.TailDigest = b.Offset, b.Size, b.TailSize, b.Digest, b.TailDigest
		},
	} {
		m = ok(metadata.Decode(good))
		a, b = m.Operators[0].Subtasks[0].Runs[0].Files[0], m.Operators[0].Subtasks[1].Runs[0].Files[0]
		spoil()
		m.Operators[0].Subtasks[0].Runs[0].Bytes = a.Size
		if err := os.WriteFile(filepath.Join(path, metadata.FileName), frame(m), 0o644); err != nil {
			t.Fatal(err)
		}
		v, err := Verify(ctx, path) // _metadata is refused if the part would end behind the pack
		if err == nil && (len(v.Problems) != 1 || !errors.Is(v.Err(), ErrDamaged) || v.Problems[0].File != a.Name) {
			t.Errorf("%s swapped: %v", what, v.Err())
		}
	}
	if err := os.WriteFile(filepath.Join(path, metadata.FileName), bytes.Clone(good), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ok(Verify(ctx, path)).Err(); err != nil {
		t.Error(err)
	}
}
