package pebble_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// metered is a store that no file can be linked from, and counts what is read.
type metered struct {
	objstore.Store
	read atomic.Int64
}

func (m *metered) Open(ctx context.Context, name string) (objstore.Reader, error) {
	r, err := m.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &meteredReader{r, &m.read}, nil
}

type meteredReader struct {
	objstore.Reader
	read *atomic.Int64
}

func (r *meteredReader) ReadAt(p []byte, off int64) (int, error) {
	r.read.Add(int64(len(p)))
	return r.Reader.ReadAt(p, off)
}

// TestRestoreReadsNoState: a restore from a store that can't be linked from reads the
// tails of the files, whatever else is in them; what it serves is right at once, while it
// is brought, and afterwards, over changes and cuts.
func TestRestoreReadsNoState(t *testing.T) {
	keys, budget := 100_000, int64(1<<19)
	if invariants.Enabled { // under the race detector Pebble takes ten times as long
		keys, budget = keys/10, budget/8
	}
	store := &metered{Store: objstore.NewMemory("test")}
	old, v := newBackend(t, store, "e1.n1", 0)
	var res statebackend.Result
	for id := range 4 {
		for k := range uint64(keys) {
			if at(old, k); k%4 >= uint64(id) {
				v.Set(int64(k) + int64(id))
			}
		}
		res = snapshot(t, old, stream.CheckpointID(id+1))
	}
	var bytes int64
	for _, r := range res.Runs {
		bytes += int64(r.Bytes)
	}
	b, w := newBackendWith(t, store, "e1.n2", table.Options{Range: stream.AllKeyGroups, Budget: budget}, 1)
	store.read.Store(0)
	if err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	if n := store.read.Load(); n > bytes/4 {
		t.Errorf("the restore read %d of %d bytes", n, bytes)
	}
	for round := range int64(3) {
		for k := range uint64(keys) {
			if k%7 > 0 {
				continue
			}
			at(b, k)
			if x, ok := w.Get(); !ok || x != int64(k)+int64(k%4)+round {
				t.Fatalf("round %d: key %d is %d, %v", round, k, x, ok)
			}
			if w.Set(int64(k) + int64(k%4) + round + 1); k%1024 == 0 {
				b.Advance(4096)
			}
		}
		snapshot(t, b, stream.CheckpointID(10+round))
	}
}
