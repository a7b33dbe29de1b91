package pebble_test

import (
	"context"
	"testing"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// TestFilters: runs that a cold tier reads have filters, so that a read looks into blocks
// of the one run that has its key, after a restore too; those of a subtask that never had
// one do without.
func TestFilters(t *testing.T) {
	const keys = 4000
	for _, spilled := range []bool{true, false} {
		store := objstore.NewMemory("test")
		seed, v := newBackend(t, store, "e1.n9", 0)
		at(seed, keys)
		v.Set(0)
		res := snapshot(t, seed, 1)
		for n := range 2 {
			attempt, eager := []string{"e1.n1", "e1.n2"}[n], int64(1<<30)
			if spilled || n == 1 {
				eager = 1
			}
			b, v := newBackendWith(t, store, attempt, table.Options{Range: stream.AllKeyGroups}, eager)
			if err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				for k := range uint64(keys) {
					at(b, k)
					if x, _ := v.Get(); x != int64(k%5) {
						t.Fatalf("key %d is %d", k, x)
					}
				}
				// Of a key with k%5 == i the run of cut i is the newest: 4-i have not got it.
				if got, least := pebble.FilterHits(b), int64(keys*(4+3+2+1)/5*9/10); spilled != (got > 0) || spilled && got < least {
					t.Errorf("spilled: %v: %d looks were saved, want %d or more", spilled, got, least)
				}
				break
			}
			for id := range 5 {
				for k := range uint64(keys) {
					if at(b, k); int(k%5) >= id {
						v.Set(int64(id))
					}
				}
				res = snapshot(t, b, stream.CheckpointID(id+2))
			}
			if b.Spilled() != spilled || len(res.Runs) != 5 {
				t.Fatalf("spilled: %v, %d runs", b.Spilled(), len(res.Runs))
			}
		}
	}
}
