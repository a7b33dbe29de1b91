package pebble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Options configures a Backend.
type Options struct {
	// Table: Cold is set here. Budget 0 means that nothing is ever evicted.
	Table  table.Options
	Runs   runlist.Options
	Shared *Shared
	// Dir is a folder of this subtask attempt alone, on the file system of Runs.Dir,
	// for the database.
	Dir string
	// Eager is how many bytes of runs Restore loads into memory before it returns; 0:
	// 8 MiB.
	Eager int64
}

// Backend is the keyed state of one subtask, in memory and below.
type Backend struct {
	store *table.Store
	list  *runlist.List
	cuts  *runlist.Cuts
	cold  *cold
	opt   Options

	hand int // next bundle to evict
	// idle is how many bundles in a row gave nothing: two rounds of them (the first
	// only forgets which entries were touched) say that all is being written.
	idle int
	// low is the memory that the last eviction left; 0: none has been since loading
	// began.
	low int64
}

// New returns an empty backend.
func New(o Options) (*Backend, error) {
	o.Runs.Range, o.Runs.Cold = o.Table.Range, true
	list, err := runlist.New(o.Runs)
	if err != nil {
		return nil, fmt.Errorf("pebble state backend: %w", err)
	}
	c := &cold{dir: o.Dir, shared: o.Shared}
	o.Table.Cold = c
	store := table.New(o.Table)
	return &Backend{store: store, list: list, cuts: runlist.NewCuts(store, list), cold: c, opt: o}, nil
}

// Store holds the state; handles are declared in it before Restore.
func (b *Backend) Store() *table.Store { return b.store }

// eager bytes of runs are ~0.1 to 0.5 million entries and load in at most ~0.3 s (345
// to 540 ns an entry); attaching more takes milliseconds, whatever they are.
const eager = 8 << 20

// bytesInMemory is what an entry takes in the table for each byte it takes in a
// run: 16 B there (compressed prefixes) are about 48 here.
const bytesInMemory = 3

// Restore takes over what the old subtasks' runs hold of this one's key groups: into
// memory if that is little, else by attaching the runs' files to the cold tier. Then
// Advance loads them bundle by bundle: all timers first, then the rest as far as memory
// allows.
func (b *Backend) Restore(ctx context.Context, from []statebackend.Restored) error {
	if err := b.cuts.Evolve(from); err != nil {
		return err
	}
	if err := b.list.Restore(from); err != nil {
		return err
	}
	if b.fits(b.list.Bytes()) {
		if err := b.list.Read(ctx, b.store.Load); err != nil {
			return fmt.Errorf("load keyed state: %w", err)
		}
		b.list.VerifyBehind()
		return nil
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	b.store.MarkSpilled()
	b.list.VerifyBehind()
	return nil
}

// fits reports whether that many bytes of runs are loaded at once.
func (b *Backend) fits(bytes int64) bool {
	budget := b.store.Budget()
	return bytes <= cmp.Or(b.opt.Eager, eager) && (budget == 0 || bytes*bytesInMemory <= budget)
}

// open opens the cold tier with all runs of the list in it.
func (b *Backend) open(ctx context.Context) error {
	if err := b.cold.open(); err != nil {
		return err
	}
	runs, err := b.list.Link(ctx, b.cold.dir)
	if err != nil {
		return fmt.Errorf("bring the run list into the cold tier: %w", err)
	}
	return b.cold.attach(ctx, runs)
}

// Freeze begins a snapshot of the state as it is now.
func (b *Backend) Freeze(id stream.CheckpointID) (statebackend.Snapshot, error) {
	return b.cuts.Freeze(id)
}

// Advance copies up to budget entries of the frozen ones, notes what became of
// cuts, evicts some bundles if memory is over its budget, or else loads some entries
// that are not in memory, and reports whether there is more of that to do at once.
func (b *Backend) Advance(budget int) (busy bool) {
	done := b.store.CopyFrozen(budget)
	err := b.cuts.Resolve(func(files []string) error {
		if b.cold.db == nil {
			return remove(files) // Link will find the run, or what it was merged into
		}
		return b.cold.ingest(context.Background(), files)
	})
	if err == nil {
		err = b.list.Damaged()
	}
	loading := false
	if err == nil && done && b.cold.db != nil {
		loading, err = b.store.LoadTimers(loadSlice) // however full memory is
	}
	switch {
	case err != nil || !done || b.cold.db == nil && !b.over():
	case b.over():
		err = b.evict()
	case !loading:
		loading, err = b.load()
	}
	if err != nil {
		b.store.Fail(err)
		return false
	}
	return !done || loading || b.over() && b.idle < 2*b.store.Bundles()
}

func remove(files []string) (err error) {
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

func (b *Backend) over() bool {
	budget := b.store.Budget()
	return budget > 0 && b.store.Memory()+b.cutsBeyond(budget) > budget
}

// cutsBeyond is the bytes of the copies of cuts beyond those that have room beside
// the budget; see Full.
func (b *Backend) cutsBeyond(budget int64) int64 { return max(0, b.store.Copies()-budget) }

// Full reports whether records must wait: while cuts are being written nothing dirty
// can leave memory, and what they and the table take together has outgrown twice the
// budget, by a quarter of it. It ends when the run of the oldest cut is on local disk.
func (b *Backend) Full() bool {
	budget := b.store.Budget()
	return budget > 0 && b.store.Busy() && !b.store.Copying() && b.store.Memory()+b.store.Copies() > budget*2+budget/4
}

// loadSlice entries of 100 bytes are ~90 µs of work: ~250 ns to read one from the cold
// tier and ~300 ns to put it into the table.
const loadSlice = 160

// roomy reports whether memory is far enough below the budget to load what nobody has
// asked for: eviction, which begins at the budget, must have nothing to undo. Where
// entries had to be evicted, the state has to shrink first, by half: an eviction frees
// up to a bundle, and it would be loaded again to be evicted again.
func (b *Backend) roomy() bool {
	memory, budget := b.store.Memory(), b.store.Budget()
	if memory < b.low/2 {
		b.low = 0
	}
	return b.low == 0 && (budget == 0 || memory < budget/5*4)
}

// load brings a slice of the entries back that only the cold tier has. Compactions
// wait until that has come to its end, one way or the other: they would take the
// processor to put into order what is about to be in memory.
func (b *Backend) load() (more bool, err error) {
	if b.roomy() {
		if more, err = b.store.LoadSpilled(loadSlice); more || err != nil {
			return more, err
		}
	}
	b.cold.admit()
	return false, b.cold.rest()
}

// evict frees memory of the next bundles.
func (b *Backend) evict() error {
	ctx := context.Background()
	if b.cold.db == nil {
		if err := b.open(ctx); err != nil {
			return err
		}
	}
	b.cold.admit()
	first, n := b.hand, 1
	if !b.cuts.Busy() {
		var err error
		if n, err = b.spill(ctx, first); err != nil {
			return err
		}
	}
	b.hand = (first + n) % b.store.Bundles()
	for i := range n {
		if b.store.DropClean((first+i)%b.store.Bundles()) > 0 {
			b.idle = 0
		} else {
			b.idle++
		}
	}
	b.low = max(1, b.store.Memory())
	return nil
}

// evictEntries is how many dirty entries an eviction run has (but at least a
// bundle): ~5 ms of work, and not a file for each of many small bundles.
const evictEntries = 16 << 10

// spill writes the dirty entries of bundle first and some after it as an eviction
// run, and returns how many bundles those were.
func (b *Backend) spill(ctx context.Context, first int) (bundles int, err error) {
	c, bundles := b.store.CutBundles(first, evictEntries)
	files, err := b.list.Add(ctx, c)
	if err == nil && files != nil {
		err = b.cold.ingest(ctx, files)
	}
	if err != nil {
		b.store.Failed(c)
		return 0, fmt.Errorf("evict bundles from %d: %w", first, err)
	}
	b.store.Durable(c)
	return bundles, nil
}

// Failed gives a snapshot up: unless its run is durable already, the keys of its cut
// are dirty again.
func (b *Backend) Failed(s statebackend.Snapshot) {
	s.(*runlist.Snapshot).Fail()
	b.Advance(0)
}

// Confirm says that the checkpoint completed. Nothing here depends on it (A3).
func (b *Backend) Confirm(stream.CheckpointID) {}

// Spilled reports whether the cold tier is open.
func (b *Backend) Spilled() bool { return b.cold.db != nil }

// Close closes the cold tier and removes the local files. No Finish may be running.
func (b *Backend) Close() error {
	b.list.Halt() // it writes into the tier's folder
	return errors.Join(b.cold.close(), b.list.Close())
}
