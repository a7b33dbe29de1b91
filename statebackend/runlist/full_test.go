package runlist

import (
	"context"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// fullCut is cut with a full snapshot.
func (j *job) fullCut(ctx context.Context, keys uint64) statebackend.Result {
	j.t.Helper()
	for k := range keys {
		j.s.SetWord(codec.HashWord(k, 8), k)
		j.v.Set(int64(j.id))
	}
	j.id++
	s, err := j.cuts.Freeze(j.id)
	if err != nil {
		j.t.Fatal(err)
	}
	for !j.s.CopyFrozen(1 << 20) {
	}
	s.MakeFull()
	res, err := s.Finish(ctx)
	if err != nil {
		j.t.Fatal(err)
	}
	if err := j.cuts.Resolve(func([]string) error { return nil }); err != nil {
		j.t.Fatal(err)
	}
	return res
}

// TestFull: of a restored list, with and without changes since, one run is left, which
// this attempt has written; the next ordinary cut adds to it.
func TestFull(t *testing.T) {
	for _, changed := range []uint64{0, 20} {
		store := objstore.NewMemory("test")
		a := newJob(t, store, "e1.n1")
		var res statebackend.Result
		var err error
		for range 4 {
			if res, err = a.cut(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
		}
		old := map[string]bool{}
		for _, r := range res.Runs {
			old[r.Id] = true
		}
		b := newJob(t, store, "e1.n2")
		if err := b.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
			t.Fatal(err)
		}
		b.id = a.id
		res = b.fullCut(t.Context(), changed)
		if len(res.Runs) != 1 || old[res.Runs[0].Id] || res.Runs[0].FirstAck != uint64(b.id) || res.NewBytes == 0 {
			t.Fatalf("a full snapshot lists %v, new bytes %d", res.Runs, res.NewBytes)
		}
		full := res.Runs[0].Id
		if res, err = b.cut(t.Context(), 10); err != nil || len(res.Runs) != 2 || res.Runs[0].Id != full {
			t.Fatalf("the next one lists %v, %v", res.Runs, err)
		}
		n := 0
		if err := b.list.Read(t.Context(), func(key, value []byte) error { n++; return nil }); err != nil || n < 50 {
			t.Errorf("%d keys, %v", n, err)
		}
	}
}
