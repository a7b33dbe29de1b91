package runlist

import (
	"context"

	"github.com/weirstream/weir/statebackend/run"
)

// maxRuns bounds the list's length: eviction runs of different bundles don't
// overlap, but each is an object.
const maxRuns = 256

// plan chooses adjacent runs to be merged: entries[from:to], none if from == to.
func plan(entries []*entry) (from, to int) {
	list := make(run.List, len(entries))
	for i, e := range entries {
		list[i] = e.run
	}
	if from, to = list.PlanRebase(maxOverlap); from == to && len(entries) > maxRuns {
		return len(entries) / 2, len(entries)
	}
	return from, to
}

// WantsFull reports whether the next cut should hold everything, if the store can:
// that is cheaper than merging with the oldest run.
func (l *List) WantsFull() bool {
	entries := l.copyEntries()
	if len(entries) < maxOverlap {
		return false
	}
	// As if the next cut's run overlapped everything.
	from, to := plan(append(entries, entries[len(entries)-1]))
	return from == 0 && to > 0
}

// rebase merges adjacent runs until no more than maxOverlap overlap at a key; it
// reads runs, never live state. Tombstones go only with the oldest run.
func (l *List) rebase(ctx context.Context) (written int64, err error) {
	for {
		entries := l.copyEntries()
		from, to := plan(entries)
		if from == to {
			return written, nil
		}
		old := entries[from:to]
		e, err := l.merge(ctx, old, from == 0, 0)
		if err != nil {
			return written, err
		}
		l.replace(old, e)
		if err := l.forget(old); err != nil {
			return written, err
		}
		if e != nil {
			written += e.run.Bytes
		}
	}
}
