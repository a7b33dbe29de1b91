package savepoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
)

// beside is a checkpoint of a job that has records in flight, of two channels in one file and
// of one inline, and two task-owned files, of which one is gone.
func beside(t *testing.T, job string) (path string) {
	ctx := context.Background()
	s := newSubtask(t, job, "e1.n1", 0, 1, nil, 0)
	s.change(0, 3, 0)
	s.cut()
	path = checkpoint(t, job, 2, s)
	store := ok(objstore.OpenFS(job))
	defer store.Close()
	put := func(name string, b []byte) {
		if err := objstore.Put(ctx, store, name, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	digest := func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }
	one, two, small, owned := []byte("records of the first channel"), []byte("and of the second"), []byte("few"), []byte("results")
	const flight = "chk-2/inflight-e1.n1-v1-0"
	put(flight, slices.Concat(one, two))
	put("taskowned/a", owned)
	m := ok(metadata.Decode(ok(os.ReadFile(filepath.Join(path, metadata.FileName)))))
	count := m.Operators[0].Subtasks[0]
	count.ChannelStates = []*metapb.ChannelState{
		{FromUid: "source", Records: 3, File: flight, Size: uint64(len(one)), Digest: digest(one)},
		{FromUid: "source", Records: 2, File: flight, Offset: uint64(len(one)), Size: uint64(len(two)), Digest: digest(two)},
		{FromUid: "source", Records: 1, Pieces: small, Size: uint64(len(small)), Digest: digest(small)},
	}
	count.Owned = []*metapb.OwnedFile{
		{Name: "taskowned/a", Size: uint64(len(owned)), Digest: digest(owned)},
		{Name: "taskowned/b", Size: 5, Digest: digest(two)}, // its operator has no use for it any more
	}
	if err := os.WriteFile(filepath.Join(path, metadata.FileName), ok(metadata.Encode(m)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDamageBeside: of what lies beside the runs, too, each bit, each length and each missing
// file is found, by the name of the file and the operator; what an operator has deleted of a
// checkpoint is no damage, what is missing of a savepoint is.
func TestDamageBeside(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	job := filepath.Join(dir, "j")
	from := beside(t, job)
	merged, same := filepath.Join(dir, "canonical"), filepath.Join(dir, "native")
	ok(Copy(ctx, from, merged, canonical))
	ok(Copy(ctx, from, same, native))
	ok(Copy(ctx, same, filepath.Join(dir, "again"), canonical)) // of a savepoint
	for _, path := range []string{from, merged, same, filepath.Join(dir, "again")} {
		if v := ok(Verify(ctx, path)); v.Err() != nil {
			t.Fatal(v.Err())
		}
		base, alone := path, true
		if path == from {
			base, alone = job, false
		}
		looked := 0
		for name, content := range files(t, base) {
			owned := strings.HasPrefix(name, "taskowned/") || strings.HasSuffix(name, ownedSuffix)
			if !owned && !strings.Contains(name, "inflight") {
				continue // TestDamage has those
			}
			looked++
			file := filepath.Join(base, name)
			s := ok(Open(ctx, path))
			defer s.Close()
			step := 1
			if testing.Short() || invariants.Enabled {
				step = 5
			}
			for i := 0; i < 8*len(content); i += step {
				poke(t, file, int64(i/8), content[i/8]^1<<(i%8))
				if err := foundIn(t, s, name); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s, bit %d of byte %d flipped: %v", file, i%8, i/8, err)
				}
				poke(t, file, int64(i/8), content[i/8])
			}
			for n := len(content) - 1; n >= 0; n -= step {
				if err := os.Truncate(file, int64(n)); err != nil {
					t.Fatal(err)
				}
				if err := foundIn(t, s, name); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s, first %d of %d bytes: %v", file, n, len(content), err)
				}
				if _, err := Copy(ctx, path, filepath.Join(dir, "to"), native); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
					t.Fatalf("%s, first %d of %d bytes, copied: %v", file, n, len(content), err)
				}
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := foundIn(t, s, name); errors.Is(err, ErrDamaged) == (owned && !alone) {
				t.Errorf("%s gone: %v", file, err)
			}
			to := filepath.Join(dir, "without")
			_, err := Copy(ctx, path, to, native)
			if errors.Is(err, ErrDamaged) == (owned && !alone) {
				t.Errorf("%s gone, copied: %v", file, err)
			}
			if err == nil {
				ok(Delete(ctx, to))
			}
			if err := os.WriteFile(file, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if looked != 2 {
			t.Errorf("%s has %d files beside runs", path, looked)
		}
	}
	if left := files(t, dir); left["to/"+metadata.FileName] != nil {
		t.Error("a damaged copy is left")
	}
}

// TestBesideIsDeleted: what lies beside the runs goes with the last snapshot that lists it.
func TestBesideIsDeleted(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	from := beside(t, filepath.Join(dir, "j"))
	to := filepath.Join(dir, "sp")
	ok(Copy(ctx, from, to, native))
	ok(Delete(ctx, from))
	for name := range files(t, dir) {
		if !strings.HasPrefix(name, "sp/") {
			t.Errorf("%s is left of the checkpoint", name)
		}
	}
	if err := ok(Verify(ctx, to)).Err(); err != nil {
		t.Error(err)
	}
	ok(Delete(ctx, to))
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
}
