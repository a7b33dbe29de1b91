package savepoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/proto/metapb"
)

// found reports how Verify finds the snapshot damaged: an error, or a problem of the file.
func found(t *testing.T, path, file string) error {
	t.Helper()
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	defer s.Close()
	return foundIn(t, s, file)
}

func foundIn(t *testing.T, s *Snapshot, file string) error {
	t.Helper()
	v, err := s.Verify(context.Background())
	if err != nil {
		return err
	}
	for _, p := range v.Problems {
		if p.File != file && p.File != "inline" || p.Operator != "count" || !strings.Contains(p.Error(), p.Run) {
			t.Errorf("problem of %s: %v", file, p)
		}
	}
	return v.Err()
}

// TestDamage: each file of a small snapshot of each type, cut off at each byte and with
// each single bit flipped, is found damaged.
func TestDamage(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	job := filepath.Join(dir, "j")
	s := newSubtask(t, job, "e1.n1", 0, 1, nil, 0)
	s.change(0, 6, 0)
	s.cut()
	s.change(2, 5, 1)
	s.cut()
	from := checkpoint(t, job, 2, s)
	merged, same := filepath.Join(dir, "canonical"), filepath.Join(dir, "native")
	ok(Copy(ctx, from, merged, canonical))
	ok(Copy(ctx, from, same, native))
	packs := filepath.Join(dir, "packs")
	_, together := packed(t, packs, 7)
	if err := os.RemoveAll(filepath.Join(packs, "chk-2")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{from, merged, same, together} {
		if v := ok(Verify(ctx, path)); len(v.Problems) > 0 {
			t.Fatal(v.Err())
		}
		base := path
		switch path {
		case from:
			base = job
		case together:
			base = packs
		}
		for name, content := range files(t, base) {
			file := filepath.Join(base, name)
			write := func(b []byte) {
				if err := os.WriteFile(file, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			look := func() error { return found(t, path, name) }
			if name != metadata.FileName && !strings.Contains(name, "/"+metadata.FileName) {
				s := ok(Open(ctx, path)) // its _metadata stays as it is
				defer s.Close()
				look = func() error { return foundIn(t, s, name) }
			}
			step := 1
			if testing.Short() || invariants.Enabled {
				step = 13
			}
			for i := 0; i < 8*len(content); i += step {
				poke(t, file, int64(i/8), content[i/8]^1<<(i%8))
				if err := look(); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s, bit %d of byte %d flipped: %v", file, i%8, i/8, err)
				}
				poke(t, file, int64(i/8), content[i/8])
			}
			for n := len(content) - 1; n >= 0; n -= step {
				if err := os.Truncate(file, int64(n)); err != nil {
					t.Fatal(err)
				}
				if err := look(); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s, first %d of %d bytes: %v", file, n, len(content), err)
				}
			}
			write(append(bytes.Clone(content), 0))
			if err := found(t, path, name); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s with a byte more: %v", file, err)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := found(t, path, name); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s gone: %v", file, err)
			}
			write(content)
		}
	}
}

// poke writes one byte. A whole file written anew is flushed by some file systems.
func poke(t *testing.T, file string, at int64, b byte) {
	t.Helper()
	f := ok(os.OpenFile(file, os.O_WRONLY, 0))
	_, err := f.WriteAt([]byte{b}, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestSwapped: another job's run of the same size and name is found, and so is a file of
// the same run in another's place.
func TestSwapped(t *testing.T) {
	dir := t.TempDir()
	for _, j := range []string{"a", "b"} {
		small(t, filepath.Join(dir, j))
	}
	for name, content := range files(t, filepath.Join(dir, "a", "shared")) {
		other := strings.Replace(name, strings.Split(name, "-")[0], "", 1)
		for theirs, b := range files(t, filepath.Join(dir, "b", "shared")) {
			if !strings.HasSuffix(theirs, other) || bytes.Equal(b, content) {
				continue
			}
			at := filepath.Join(dir, "a", "shared", name)
			if err := os.WriteFile(at, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := found(t, filepath.Join(dir, "a", "chk-3"), "shared/"+name); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s swapped in: %v", theirs, err)
			}
			if _, err := Copy(context.Background(), filepath.Join(dir, "a", "chk-3"), filepath.Join(dir, "copy"), native); !errors.Is(err, ErrDamaged) {
				t.Errorf("copied with %s swapped in: %v", theirs, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "copy")); err == nil {
				t.Error("a half of a copy is left")
			}
			if err := os.WriteFile(at, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// frame makes the file of a _metadata that Encode refuses.
func frame(m *metapb.CheckpointMetadata) []byte {
	payload := ok(proto.Marshal(m))
	file := binary.BigEndian.AppendUint32([]byte("WEIRMETA"), 1)
	file = append(binary.BigEndian.AppendUint64(file, uint64(len(payload))), payload...)
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}

// TestRefused: paths and _metadata that are no snapshot, each by its own error.
func TestRefused(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	job := filepath.Join(dir, "j")
	_, from := small(t, job)
	good := ok(os.ReadFile(filepath.Join(from, metadata.FileName)))
	put := func(name string, b []byte) string {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(at, 0o755), os.WriteFile(filepath.Join(at, metadata.FileName), b, 0o644)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	spoiled := func(name string, spoil func(m *metapb.CheckpointMetadata)) string {
		m := ok(metadata.Decode(good))
		spoil(m)
		return put(name, frame(m))
	}
	run := func(m *metapb.CheckpointMetadata) *metapb.Run { return m.Operators[0].Subtasks[0].Runs[0] }
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		want error
		says string
	}{
		"nothing":        {filepath.Join(dir, "none"), ErrNotFound, "does not exist"},
		"a file":         {filepath.Join(dir, "file"), ErrNotFound, "is a file"},
		"empty":          {t.TempDir(), ErrNotFound, "empty"},
		"a job's folder": {job, ErrNotFound, "chk-3"},
		"shared":         {filepath.Join(job, "shared"), ErrNotFound, "never completed"},
		"another scheme": {"s3://bucket/x", nil, "s3"},
		"no path":        {"", nil, "empty"},
		"Flink's":        {put("flink", []byte("\x49\x60\x67\x2d\x00\x00\x00\x04")), ErrForeign, "Flink"},
		"other data":     {put("text", bytes.Repeat([]byte("hello "), 20)), ErrDamaged, "WEIRMETA"},
		"nothing in it":  {put("zero", nil), ErrDamaged, "0 bytes"},
		"newer":          {spoiled("newer", func(m *metapb.CheckpointMetadata) { m.FormatVersion = 2 }), ErrNewer, "version 2"},
		"climbs":         {spoiled("climbs", func(m *metapb.CheckpointMetadata) { run(m).Files[0].Name = "shared/../../x.sst" }), ErrForeign, ".."},
		"absolute":       {spoiled("absolute", func(m *metapb.CheckpointMetadata) { run(m).Files[0].Name = "/etc/passwd" }), ErrForeign, "absolute"},
		"base climbs":    {spoiled("base", func(m *metapb.CheckpointMetadata) { run(m).BasePath = "../x" }), ErrForeign, "not absolute"},
		"half a savepoint": {spoiled("self", func(m *metapb.CheckpointMetadata) {
			m.SelfContained = true
			run(m).BasePath = "/elsewhere"
		}), ErrForeign, "self-contained"},
	} {
		_, err := Open(ctx, c.path)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if _, cerr := Copy(ctx, c.path, filepath.Join(dir, "to"), canonical); cerr == nil {
			t.Errorf("%s: copied", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "to")); err == nil {
		t.Error("a target of copies that were refused was made")
	}
	if err := os.Remove(filepath.Join(job, ok(metadata.Decode(good)).Operators[0].Subtasks[1].Runs[0].Files[0].Name)); err != nil {
		t.Fatal(err)
	}
	if v := ok(Verify(ctx, from)); len(v.Problems) != 1 || !errors.Is(v.Err(), ErrDamaged) || v.Problems[0].Subtask != 1 {
		t.Errorf("a checkpoint half copied: %v", v.Err())
	}
}

// TestTarget: folders that a copy must not be written to.
func TestTarget(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	job := filepath.Join(dir, "j")
	first, from := small(t, job)
	sp := filepath.Join(dir, "sp")
	ok(Copy(ctx, first, sp, native))
	taken := filepath.Join(dir, "taken")
	if err := errors.Join(os.MkdirAll(taken, 0o755), os.WriteFile(filepath.Join(taken, "mine.txt"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	for name, to := range map[string]string{
		"another snapshot": sp, "other files": taken, "the source": from, "its job": job, "a file": filepath.Join(taken, "mine.txt"),
		"below a file": filepath.Join(taken, "mine.txt", "x"), "another scheme": "hdfs://x/y",
	} {
		if _, err := Copy(ctx, from, to, canonical); !errors.Is(err, ErrTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := files(t, dir); len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
}

// TestCopyGoesOn: after a crash in the middle a copy is made again from what is there;
// cancelled, it leaves what it has for that.
func TestCopyGoesOn(t *testing.T) {
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j"))
	for _, kind := range []metapb.SnapshotType{canonical, native} {
		whole := filepath.Join(dir, "whole", kind.String())
		d := ok(Copy(context.Background(), from, whole, kind))
		all := files(t, whole)
		for name, content := range all {
			part := filepath.Join(dir, "part", kind.String(), name)
			if err := os.MkdirAll(part, 0o755); err != nil {
				t.Fatal(err)
			}
			if name != metadata.FileName {
				if err := os.WriteFile(filepath.Join(part, name), content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(part, tempFolder+"1"), 0o755); err != nil {
				t.Fatal(err)
			}
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := Copy(gone, from, part, kind); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			again, err := Copy(context.Background(), from, part, kind)
			if err != nil || again.Bytes != d.Bytes {
				t.Fatalf("%v: %+v, %v", kind, again, err)
			}
			got := files(t, part)
			for name, b := range all {
				if !bytes.Equal(got[name], b) {
					t.Errorf("%v: %s differs", kind, name)
				}
			}
			if v := ok(Verify(context.Background(), part)); len(v.Problems) > 0 || len(got) != len(all) {
				t.Errorf("%v: %d files, %v", kind, len(got), v.Err())
			}
		}
	}
}
