package pebble_test

import (
	"context"
	"strings"
	"testing"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// TestCompactionEndsWithTheTier: once a tier is being closed its compactions fail, so that
// nothing waits for what nobody will read.
func TestCompactionEndsWithTheTier(t *testing.T) {
	store := objstore.NewMemory("test")
	old, v := newBackend(t, store, "e1.n1", 0)
	var res statebackend.Result
	for id := range 3 {
		for k := range uint64(20_000) {
			if at(old, k); int(k%4) >= id {
				v.Set(int64(id))
			}
		}
		res = snapshot(t, old, stream.CheckpointID(id+1))
	}
	for _, closing := range []bool{false, true} {
		attempt := map[bool]string{false: "e1.n2", true: "e1.n3"}[closing]
		b, _ := newBackendWith(t, store, attempt, table.Options{Range: stream.AllKeyGroups, Budget: 1 << 17}, 1)
		if err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
			t.Fatal(err)
		}
		if closing {
			pebble.BeginClose(b)
		}
		err := pebble.Compact(b)
		if !closing && err != nil {
			t.Errorf("compaction: %v", err)
		}
		if closing && (err == nil || !strings.Contains(err.Error(), "is being closed")) {
			t.Errorf("compaction of a tier that is being closed: %v", err)
		}
	}
}
