package heap

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Options configures a Backend.
type Options struct {
	// Table: Cold stays nil. Range is used for the run list too.
	Table table.Options
	Runs  runlist.Options
}

// Backend is the keyed state of one subtask in memory.
type Backend struct {
	store *table.Store
	list  *runlist.List
	cuts  *runlist.Cuts
}

// New returns an empty backend.
func New(o Options) (*Backend, error) {
	o.Table.Cold = nil
	o.Runs.Range = o.Table.Range
	list, err := runlist.New(o.Runs)
	if err != nil {
		return nil, fmt.Errorf("heap state backend: %w", err)
	}
	store := table.New(o.Table)
	return &Backend{store: store, list: list, cuts: runlist.NewCuts(store, list)}, nil
}

// Store holds the state; handles are declared in it before Restore.
func (b *Backend) Store() *table.Store { return b.store }

// Restore loads what the old subtasks' runs hold of this one's key groups. The
// runs stay in the list, by reference.
func (b *Backend) Restore(ctx context.Context, from []statebackend.Restored) error {
	if err := b.cuts.Evolve(from); err != nil {
		return err
	}
	if err := b.list.Restore(from); err != nil {
		return err
	}
	if err := b.list.Read(ctx, b.store.Load); err != nil {
		return fmt.Errorf("load keyed state: %w", err)
	}
	b.list.VerifyBehind()
	return nil
}

// Freeze begins a snapshot of the state as it is now.
func (b *Backend) Freeze(id stream.CheckpointID) (statebackend.Snapshot, error) {
	return b.cuts.Freeze(id)
}

// Full implements task.Backend: records never wait, over the budget the job fails.
func (b *Backend) Full() bool { return false }

// Advance copies up to budget entries of the frozen ones, notes what became of
// cuts, and reports whether there is more to copy.
func (b *Backend) Advance(budget int) (busy bool) {
	done := b.store.CopyFrozen(budget)
	// Without a cold tier nothing can fail here.
	_ = b.cuts.Resolve(func([]string) error { return nil })
	if err := b.list.Damaged(); err != nil {
		b.store.Fail(err)
	}
	return !done
}

// Failed gives a snapshot up: unless its run is durable already, the keys of its cut
// are dirty again.
func (b *Backend) Failed(s statebackend.Snapshot) {
	s.(*runlist.Snapshot).Fail()
	b.Advance(0)
}

// Confirm says that the checkpoint completed. Nothing here depends on it (A3).
func (b *Backend) Confirm(stream.CheckpointID) {}

// Close removes the local files. No Finish may be running.
func (b *Backend) Close() error { return b.list.Close() }
