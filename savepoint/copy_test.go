package savepoint

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
)

const (
	canonical = metapb.SnapshotType_SNAPSHOT_TYPE_CANONICAL
	native    = metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE
)

// TestCopy: copies of both types hold what the checkpoint holds, without it, after being
// moved, at any parallelism; and so does a copy of a copy.
func TestCopy(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	job := filepath.Join(dir, "jobs", "j1")
	_, from := small(t, job)
	want := read(t, from, 2)
	if len(want) < 40 {
		t.Fatalf("%d keys", len(want))
	}
	for _, kind := range []metapb.SnapshotType{canonical, native} {
		to := filepath.Join(dir, "savepoints", kind.String())
		d, err := Copy(ctx, from, "file://"+to, kind)
		if err != nil {
			t.Fatal(err)
		}
		if d.Location != to || !d.SelfContained || len(d.RefersTo) > 0 || d.CheckpointID != 3 {
			t.Errorf("%+v", d)
		}
		if again, err := Copy(ctx, from, to, kind); err != nil || again.Bytes != d.Bytes {
			t.Errorf("again: %+v, %v", again, err)
		}
		moved := filepath.Join(dir, "moved", kind.String())
		if err := errors.Join(os.MkdirAll(filepath.Dir(moved), 0o755), os.Rename(to, moved)); err != nil {
			t.Fatal(err)
		}
		for _, p := range []int{1, 2, 3} {
			if got := read(t, moved, p); !maps.Equal(got, want) {
				t.Errorf("%v at parallelism %d: %v, want %v", kind, p, got, want)
			}
		}
		if v, err := Verify(ctx, moved); err != nil || len(v.Problems) > 0 || v.Bytes != d.Bytes {
			t.Errorf("%v: %+v, %v", kind, v, err)
		}
		for name := range files(t, moved) {
			if strings.HasPrefix(name, ".") {
				t.Errorf("%v: %s is left", kind, name)
			}
		}
	}
	if err := os.RemoveAll(job); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []metapb.SnapshotType{canonical, native} {
		moved := filepath.Join(dir, "moved", kind.String())
		for _, second := range []metapb.SnapshotType{canonical, native} {
			to := filepath.Join(dir, "again", kind.String()+second.String())
			if _, err := Copy(ctx, filepath.Join(moved, "_metadata"), to, second); err != nil {
				t.Fatal(err)
			}
			if got := read(t, to, 2); !maps.Equal(got, want) {
				t.Errorf("%v of %v: %v, want %v", second, kind, got, want)
			}
		}
	}
}

// TestCopyCanonicalIsMerged: one run for each subtask, each key once, no tombstones.
func TestCopyCanonicalIsMerged(t *testing.T) {
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j1"))
	source := ok(Describe(context.Background(), from))
	d := ok(Copy(context.Background(), from, filepath.Join(dir, "sp"), canonical))
	if o := d.Operators[0]; o.Runs != 2 || o.Overlap > 1 || o.Entries >= source.Operators[0].Entries {
		t.Errorf("%+v, of %+v", o, source.Operators[0])
	}
}

// TestCopyDropsStatesThatAreGone: entries of a state that the program no longer had when
// the snapshot was taken lie in old runs; a canonical copy has them no more.
func TestCopyDropsStatesThatAreGone(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j"))
	whole := ok(Copy(ctx, from, filepath.Join(dir, "whole"), canonical))
	file := filepath.Join(from, metadata.FileName)
	m := ok(metadata.Decode(ok(os.ReadFile(file))))
	m.StateIds = m.StateIds[:3]
	for _, sub := range m.Operators[0].Subtasks {
		sub.Schemas = sub.Schemas[:3]
	}
	if err := os.WriteFile(file, ok(metadata.Encode(m)), 0o644); err != nil {
		t.Fatal(err)
	}
	d := ok(Copy(ctx, from, filepath.Join(dir, "sp"), canonical))
	if o := d.Operators[0]; len(o.States) != 3 || o.Entries >= whole.Operators[0].Entries {
		t.Errorf("%d entries, with all states %d", o.Entries, whole.Operators[0].Entries)
	}
	if got, want := contents(t, d.Location), contents(t, whole.Location); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
