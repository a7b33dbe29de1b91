package statetest_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/statetest"
	"github.com/weirstream/weir/statebackend/table"
)

var (
	seeds = flag.Uint64("seeds", 200, "seeds of the metamorphic test, shared by the backends")
	first = flag.Uint64("seed", 0, "first seed")
)

func newHeap(o table.Options, r runlist.Options, _ string) (statetest.Backend, error) {
	return heap.New(heap.Options{Table: o, Runs: r})
}

const (
	configurations = 6
	// enoughSeeds of each take every path, whichever they are: the rarest, a restore by
	// another version of the program with few keys, is taken by two in five.
	enoughSeeds = 25
)

// TestMetamorphic runs seeds in turn over heap, pebble with room for everything and
// pebble with room for little.
func TestMetamorphic(t *testing.T) {
	shared := pebble.NewShared(1 << 20)
	defer shared.Close()
	newPebble := func(o table.Options, r runlist.Options, dir string) (statetest.Backend, error) {
		return pebble.New(pebble.Options{Table: o, Runs: r, Shared: shared, Dir: filepath.Join(dir, "cold")})
	}
	newLazy := func(o table.Options, r runlist.Options, dir string) (statetest.Backend, error) {
		return pebble.New(pebble.Options{Table: o, Runs: r, Shared: shared, Dir: filepath.Join(dir, "cold"), Eager: 1})
	}
	spilled := func(b statetest.Backend) bool { return b.(*pebble.Backend).Spilled() }
	var sum [configurations]statetest.Stats
	for seed := *first; seed < *first+*seeds; seed++ {
		var c statetest.Config
		switch seed % configurations {
		case 0:
			c = statetest.Config{Make: newHeap, Keys: 40, Steps: 130}
		case 1:
			c = statetest.Config{Make: newHeap, Keys: 15, Steps: 130, InlineLimit: 4 << 10}
		case 2:
			c = statetest.Config{Make: newPebble, Spilled: spilled, Keys: 60, Steps: 130, Budget: 40 << 10}
		case 3:
			c = statetest.Config{Make: newPebble, Spilled: spilled, Keys: 200, Steps: 100, Budget: 60 << 10, InlineLimit: 2 << 10}
		case 4: // every restore is lazy, and all is loaded in time
			c = statetest.Config{Make: newLazy, Spilled: spilled, Keys: 60, Steps: 130}
		case 5: // loading and eviction in turn
			c = statetest.Config{Make: newLazy, Spilled: spilled, Keys: 60, Steps: 130, Budget: 40 << 10, InlineLimit: 2 << 10}
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			add(&sum[seed%configurations], statetest.Run(t, c, seed))
		})
	}
	if *seeds < configurations*enoughSeeds {
		return
	}
	pieces := 0
	for i, s := range sum {
		pieces += s.Pieces
		if s.Completed == 0 || s.Aborted == 0 || s.Failed == 0 || s.Crashes == 0 || s.Rescales == 0 || s.DuringCut == 0 || s.Evolved == 0 || i != 1 && s.Operands == 0 || i > 1 && s.Spilled == 0 || i != 1 && s.Packed == 0 {
			t.Errorf("configuration %d did not take every path: %+v", i, s)
		}
		t.Logf("configuration %d: %+v", i, s)
	}
	if pieces == 0 {
		t.Error("no list of several schemas in any run")
	}
}

func add(a *statetest.Stats, b statetest.Stats) {
	a.Completed += b.Completed
	a.Aborted += b.Aborted
	a.Failed += b.Failed
	a.Crashes += b.Crashes
	a.Rescales += b.Rescales
	a.Spilled += b.Spilled
	a.DuringCut += b.DuringCut
	a.Evolved += b.Evolved
	a.Operands += b.Operands
	a.Pieces += b.Pieces
	a.Packed += b.Packed
}
