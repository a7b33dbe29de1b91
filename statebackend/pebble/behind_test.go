package pebble_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// scanty is a store that no file can be linked from. Once allow has been called, whoever
// reads beyond what it allows waits for release: so what is read in the background can't
// be taken for what a restore reads before it returns.
type scanty struct {
	objstore.Store
	left     atomic.Int64
	released chan struct{}
	release  func()
}

func newScanty() *scanty {
	s := &scanty{Store: objstore.NewMemory("test"), released: make(chan struct{})}
	s.left.Store(math.MaxInt64)
	s.release = sync.OnceFunc(func() { close(s.released) })
	return s
}

func (s *scanty) allow(bytes int64) { s.left.Store(bytes) }

func (s *scanty) Open(ctx context.Context, name string) (objstore.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &scantyReader{Reader: r, s: s, restore: ctx.Value(restoring{}) != nil}, nil
}

// restoring marks the context of a restore.
type restoring struct{}

type scantyReader struct {
	objstore.Reader
	s       *scanty
	restore bool
}

func (r *scantyReader) ReadAt(p []byte, off int64) (int, error) {
	if r.s.left.Add(-int64(len(p))) < 0 {
		if r.restore {
			return 0, errors.New("the restore reads more than it may")
		}
		<-r.s.released
	}
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
	store := newScanty()
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
	t.Cleanup(store.release) // before the backend is closed, whatever happens
	store.allow(bytes / 4)   // or else this waits for ever
	if err := b.Restore(context.WithValue(context.Background(), restoring{}, true), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	store.release()
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
