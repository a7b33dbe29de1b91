package pebble_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

func newBackend(t testing.TB, store objstore.Store, attempt string, budget int64) (*pebble.Backend, *table.Value[int64]) {
	return newBackendWith(t, store, attempt, table.Options{Range: stream.AllKeyGroups, Budget: budget}, 0)
}

func newBackendWith(t testing.TB, store objstore.Store, attempt string, o table.Options, eager int64) (*pebble.Backend, *table.Value[int64]) {
	return newBackendOf(t, store, attempt, o, eager, 0, nil)
}

func settle(b *pebble.Backend) {
	for b.Advance(4096) {
	}
}

// TestMoreThanFits keeps four times the budget, counts each key twice, and restores
// into the cold tier.
func TestMoreThanFits(t *testing.T) {
	keys, budget := 100_000, int64(1<<20)
	if invariants.Enabled { // under the race detector Pebble takes ten times as long
		keys, budget = keys/5, budget/4
	}
	store := objstore.NewMemory("test")
	b, v := newBackend(t, store, "e1.n1", budget)
	for round := range int64(2) {
		for k := range uint64(keys) {
			b.Store().SetWord(codec.HashWord(k, 8), k)
			x, _ := v.Get()
			if x != round {
				t.Fatalf("key %d is %d in round %d", k, x, round)
			}
			v.Set(x + 1)
			if k%512 == 0 {
				settle(b)
			}
		}
		settle(b)
		if m := b.Store().Memory(); m > budget {
			t.Fatalf("%d bytes in memory, the budget is %d", m, budget)
		}
	}
	s, err := b.Freeze(1)
	if err != nil {
		t.Fatal(err)
	}
	settle(b)
	res, err := s.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	settle(b)

	n, w := newBackend(t, store, "e1.n2", budget)
	if err := n.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	if !n.Spilled() {
		t.Fatal("the restored state was to go to the cold tier")
	}
	for k := range uint64(keys) {
		n.Store().SetWord(codec.HashWord(k, 8), k)
		if x, _ := w.Get(); x != 2 {
			t.Fatalf("key %d is %d after the restore", k, x)
		}
		if k%512 == 0 {
			settle(n)
		}
	}
}

// BenchmarkColdUniform is a read-modify-write of 1 M keys, memory for a quarter.
func BenchmarkColdUniform(b *testing.B) {
	const keys = 1 << 20
	be, v := newBackend(b, objstore.NewMemory("bench"), "e1.n1", keys*48/4)
	for k := range uint64(keys) {
		be.Store().SetWord(codec.HashWord(k, 8), k)
		v.Set(1)
		if k%512 == 0 {
			settle(be)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	b.ResetTimer()
	for i := range b.N {
		k := r.Uint64N(keys)
		be.Store().SetWord(codec.HashWord(k, 8), k)
		x, _ := v.Get()
		v.Set(x + 1)
		if i%512 == 0 {
			settle(be)
		}
	}
}

// TestTombstoneOutlivesAbsorbedRun: a cut that absorbs the oldest run may drop
// tombstones from the list, not from what the cold tier is given.
func TestTombstoneOutlivesAbsorbedRun(t *testing.T) {
	b, v := newBackend(t, objstore.NewMemory("test"), "e1.n1", 1)
	snapshot := func(id stream.CheckpointID) statebackend.Result {
		s, err := b.Freeze(id)
		if err != nil {
			t.Fatal(err)
		}
		settle(b)
		res, err := s.Finish(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		settle(b)
		return res
	}
	key := func(k uint64) { b.Store().SetWord(codec.HashWord(k, 8), k) }
	key(1)
	v.Set(1)
	if res := snapshot(1); len(res.Runs) != 1 || res.Runs[0].InlineTable == nil || !b.Spilled() {
		t.Fatalf("want one inline run and an open cold tier, have %v, %v", res.Runs, b.Spilled())
	}
	key(1)
	v.Clear()
	if res := snapshot(2); len(res.Runs) > 1 {
		t.Fatalf("the second cut was to absorb the first: %v", res.Runs)
	}
	key(1)
	if x, ok := v.Get(); ok {
		t.Fatalf("the cleared key is %d", x)
	}
}

// BenchmarkColdAhead is BenchmarkColdUniform by a loop that names the keys of 32 records
// ahead, as the consumer of a keyed edge does.
func BenchmarkColdAhead(b *testing.B) {
	const keys = 1 << 20
	be, v := newBackend(b, objstore.NewMemory("bench"), "e1.n1", keys*48/4)
	for k := range uint64(keys) {
		be.Store().SetWord(codec.HashWord(k, 8), k)
		v.Set(1)
		if k%512 == 0 {
			settle(be)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	var next [32]uint64
	b.ResetTimer()
	for i := range b.N {
		if i%len(next) == 0 {
			for j := range next {
				next[j] = r.Uint64N(keys)
				be.Store().Ahead(codec.HashWord(next[j], 8), next[j], nil)
			}
			be.Store().FetchAhead()
		}
		k := next[i%len(next)]
		be.Store().SetWord(codec.HashWord(k, 8), k)
		x, _ := v.Get()
		v.Set(x + 1)
		if i%512 == 0 {
			settle(be)
		}
	}
}
