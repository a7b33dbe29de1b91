package pebble_test

import (
	"context"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend/objstore"
)

// TestFullUntilTheCutIsOnDisk: while a cut is being written, what is dirty can't leave
// memory. Records wait once copies and table have outgrown what is reserved for
// them, and go on when the cut's run is on disk.
func TestFullUntilTheCutIsOnDisk(t *testing.T) {
	const budget = 1 << 20
	b, v := newBackend(t, objstore.NewMemory("test"), "e1.n1", budget)
	key := uint64(0)
	add := func() {
		b.Store().SetWord(codec.HashWord(key, 8), key)
		v.Set(int64(key))
		key++
	}
	for b.Store().Memory() < budget*9/10 {
		add()
	}
	s, err := b.Freeze(1)
	if err != nil {
		t.Fatal(err)
	}
	for !b.Store().CopyFrozen(1 << 10) {
	}
	copies := b.Store().Copies()
	if m := b.Store().Memory(); copies < m/4 || copies > m {
		t.Errorf("a copy of all %d bytes takes %d", m, copies)
	}
	if b.Full() {
		t.Errorf("full with %d bytes in the table and %d in copies; there is room for %d of each", b.Store().Memory(), copies, budget)
	}
	for n := 0; !b.Full(); n++ {
		if n == 1<<20 {
			t.Fatalf("never full: %d bytes in the table, %d in copies", b.Store().Memory(), b.Store().Copies())
		}
		add()
		if n%512 == 0 {
			settle(b)
		}
	}
	if total := b.Store().Memory() + b.Store().Copies(); total > 3*budget {
		t.Errorf("%d bytes when full, the budget is %d", total, budget)
	}
	if _, err := s.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	settle(b)
	if b.Full() || b.Store().Copies() != 0 {
		t.Errorf("still full after the cut: %d bytes in copies", b.Store().Copies())
	}
	if m := b.Store().Memory(); m > budget {
		t.Errorf("%d bytes in memory, the budget is %d", m, budget)
	}
}
