package pebble_test

import (
	"context"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// timed is a backend with timers.
func timed(t testing.TB, store objstore.Store, attempt string, eager int64, res statebackend.Result) (*pebble.Backend, *table.Timers) {
	b, _ := newBackendWith(t, store, attempt, table.Options{Range: stream.AllKeyGroups}, eager)
	timers, err := table.NewTimers(b.Store(), statebackend.Descriptor{ID: 2, Name: "timers", Kind: metapb.StateKind_STATE_KIND_TIMER})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	return b, timers
}

// TestTimersAreLoadedBehind: a restore that attaches loads no timer. What is registered
// and deleted before they are loaded counts, over another restore too, and the timers of
// a key fire in order.
func TestTimersAreLoadedBehind(t *testing.T) {
	const keys = 5000
	store := objstore.NewMemory("test")
	old, timers := timed(t, store, "e1.n1", 1, statebackend.Result{})
	for k := range uint64(keys) {
		at(old, k)
		timers.Register(int64(k))
		timers.Register(int64(k) + keys)
	}
	res := snapshot(t, old, 1)
	for round, settled := range []bool{false, true} {
		attempt := []string{"e2.n1", "e2.n2"}[round]
		b, timers := timed(t, store, attempt, 1, res)
		if _, ok := timers.Next(); ok || timers.Len() > 0 || b.Store().TimersLoaded() {
			t.Fatalf("the restore was to load nothing: %d timers", timers.Len())
		}
		want := map[int64]uint64{}
		for k := range uint64(keys) {
			at(b, k)
			switch k % 4 {
			case 0:
				timers.Delete(int64(k)) // it is below
			case 1:
				timers.Register(int64(k)) // it is already
			case 2:
				timers.Register(int64(k) + 2*keys)
				timers.Register(int64(k) + 3*keys)
				timers.Delete(int64(k) + 3*keys)
				want[int64(k)+2*keys] = k
			case 3:
				timers.Register(int64(k))
				timers.Delete(int64(k))
			}
			if k%4 == 1 || k%4 == 2 {
				want[int64(k)] = k
			}
			want[int64(k)+keys] = k
		}
		if d, ok := timers.Due(4 * keys); ok {
			t.Fatalf("timer %d fired before the earlier ones of its key were loaded", d.At)
		}
		if settled {
			settle(b)
		} else {
			res := snapshot(t, b, 2)
			b, timers = timed(t, store, attempt+"0", 1, res)
			settle(b)
		}
		if !b.Store().TimersLoaded() {
			t.Fatal("timers are not loaded")
		}
		last := map[uint64]int64{}
		for {
			d, ok := timers.Due(4 * keys)
			if !ok {
				break
			}
			if k, ok := want[d.At]; !ok || k != d.Word || d.At <= last[k]-1 {
				t.Fatalf("settled %v: timer %d of key %d, want %d; the last was %d", settled, d.At, d.Word, k, last[k])
			}
			last[d.Word] = d.At
			delete(want, d.At)
		}
		if len(want) > 0 {
			t.Errorf("settled %v: %d timers did not fire", settled, len(want))
		}
	}
}

// BenchmarkRestoreTimers is a restore that attaches; it must not grow with the timers.
func BenchmarkRestoreTimers(b *testing.B) {
	for _, keys := range []uint64{1 << 14, 1 << 19} {
		b.Run("timers="+map[uint64]string{1 << 14: "16Ki", 1 << 19: "512Ki"}[keys], func(b *testing.B) {
			store, err := objstore.OpenFS(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			old, timers := timed(b, store, "e1.n1", 1, statebackend.Result{})
			for k := range keys {
				old.Store().SetWord(codec.HashWord(k, 8), k)
				timers.Register(int64(k))
			}
			s, err := old.Freeze(1)
			if err != nil {
				b.Fatal(err)
			}
			for !old.Store().CopyFrozen(4096) {
			}
			res, err := s.Finish(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				timed(b, store, "e2.n1", 1, res)
			}
		})
	}
}
