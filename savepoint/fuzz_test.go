package savepoint

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
)

// FuzzSnapshot: a _metadata that has the right digest, and says anything: nothing that is done
// with it panics, or writes where it was not told to. Small runs stand in it, so they are
// fuzzed, too.
func FuzzSnapshot(f *testing.F) {
	ctx := context.Background()
	seeds, err := filepath.Glob("testdata/v*/*/" + metadata.FileName)
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, at := range seeds {
		m := ok(metadata.Decode(ok(os.ReadFile(at))))
		for _, op := range m.Operators { // one subtask will do
			op.Subtasks, op.Parallelism = op.Subtasks[:1], 1
		}
		f.Add(ok(proto.Marshal(m)))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m := new(metapb.CheckpointMetadata)
		if proto.Unmarshal(payload, m) != nil {
			return
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "job", "chk-1")
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, metadata.FileName), frame(m), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open(ctx, path)
		if err != nil {
			return
		}
		defer s.Close()
		s.Describe()
		_, _ = s.Verify(ctx)
		_, _ = Diff(ctx, path, path)
		for _, op := range s.Metadata().Operators {
			r, err := s.Operator(op.Uid)
			if err != nil {
				continue
			}
			_ = r.Show(ctx, "", "", func(Shown) error { return nil })
		}
		for _, kind := range []metapb.SnapshotType{canonical, native} {
			_, _ = s.Copy(ctx, filepath.Join(dir, kind.String()), kind)
		}
		_, _ = Delete(ctx, path)
		for name := range files(t, dir) {
			if first, _, _ := strings.Cut(name, "/"); first != "job" && first != canonical.String() && first != native.String() {
				t.Errorf("there is a file %s", name)
			}
		}
	})
}
