package runlist

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
)

// TestIntoMemory: with the JobManager's memory as storage nothing is ever stored, every
// ack has one inline run with everything, and it restores.
func TestIntoMemory(t *testing.T) {
	j := newJob(t, failing{objstore.NewMemory("test"), func() bool { return true }}, "e1.n1")
	j.list.o.MemoryLimit = 1 << 20
	var res statebackend.Result
	for n := range uint64(30) {
		var err error
		if res, err = j.cut(context.Background(), 3000-50*n); err != nil {
			t.Fatalf("cut %d: %v", n, err)
		}
		if len(res.Runs) != 1 || len(res.Runs[0].InlineTable) == 0 || len(res.Runs[0].Files) > 0 {
			t.Fatalf("cut %d: %v", n, res.Runs)
		}
	}
	old := newJob(t, j.list.o.Store, "e2.n1")
	if err := old.list.Restore([]statebackend.Restored{{Range: j.list.o.Range, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	if err := old.list.Read(context.Background(), old.s.Load); err != nil || old.s.Entries() != 3000 {
		t.Fatalf("%d entries, %v", old.s.Entries(), err)
	}
}

// TestTooLargeForMemory: state over the limit fails the checkpoint by its name, nothing
// else; once it has shrunk, or the limit is higher, the next one has everything.
func TestTooLargeForMemory(t *testing.T) {
	j := newJob(t, objstore.NewMemory("test"), "e1.n1")
	j.list.o.MemoryLimit = 20_000
	if _, err := j.cut(context.Background(), 500); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := j.cut(context.Background(), 5000)
		if !errors.Is(err, statebackend.ErrTooLarge) || !strings.Contains(err.Error(), `state "n"`) || !strings.Contains(err.Error(), "20000 bytes") {
			t.Fatal(err)
		}
	}
	j.list.o.MemoryLimit = 1 << 20
	res, err := j.cut(context.Background(), 10)
	if err != nil || len(res.Runs) != 1 || res.Runs[0].Entries != 5000 {
		t.Fatalf("%v, %v", res.Runs, err)
	}
}
