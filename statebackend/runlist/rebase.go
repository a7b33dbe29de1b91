package runlist

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/statebackend/run"
)

// maxRuns bounds the list's length: eviction runs of different bundles don't
// overlap, but each is an object.
const maxRuns = 256

func runsOf(entries []*entry) run.List {
	list := make(run.List, len(entries))
	for i, e := range entries {
		list[i] = e.run
	}
	return list
}

// plan chooses adjacent runs to be merged: entries[from:to], none if from == to.
func plan(entries []*entry) (from, to int) {
	list := runsOf(entries)
	if from, to = list.PlanRebase(maxOverlap); from == to && len(entries) > maxRuns {
		return len(entries) / 2, len(entries)
	}
	return from, to
}

// WantsFull reports whether the next cut should hold everything, if the store can:
// of little state that is cheaper than merging with the oldest run. Of much it would
// delay the ack, which a merger does not.
func (l *List) WantsFull() bool {
	entries := l.copyEntries()
	if len(entries) < maxOverlap || l.Bytes() > fullBytes || l.rebasing() {
		return false
	}
	// As if the next cut's run overlapped everything.
	from, to := plan(append(entries, entries[len(entries)-1]))
	return from == 0 && to > 0
}

// fullBytes of runs are written in ~50 ms.
const fullBytes = 16 << 20

// At most so many runs overlap at a key, and are in the list, before a cut waits for
// the rebase to catch up.
const (
	hardOverlap = 2 * maxOverlap
	hardRuns    = 2 * maxRuns
)

// turn is held by the rebase that runs: one among all lists of a process, whose
// processors have records to work on.
var turn = make(chan struct{}, 1)

// rebase is one that runs in its own goroutine until no more than maxOverlap runs
// overlap. It never delays an ack by more than the exchange of entries.
type rebase struct {
	done chan struct{}
	err  error // valid when done is closed
}

func (r *rebase) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (l *List) rebasing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.rebase != nil && !l.mu.rebase.over()
}

// startRebase has runs merged in the background, if too many overlap, and returns
// the rebase that runs, or nil. An earlier one that failed is so tried again. The
// caller holds finish.
func (l *List) startRebase() *rebase {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.mu.rebase; r != nil && !r.over() {
		return r
	}
	l.mu.rebase = nil
	if from, to := plan(l.settled()); from == to {
		return nil
	}
	r := &rebase{done: make(chan struct{})}
	l.mu.rebase = r
	l.background.Go(func() {
		defer close(r.done)
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
			r.err = l.rebase(l.life)
		case <-l.life.Done():
			r.err = context.Cause(l.life)
		}
	})
	return r
}

// makeRoom waits for the rebase while the list has come to its bounds. The caller
// holds finish, but not change.
func (l *List) makeRoom(ctx context.Context) error {
	for tried := false; ; tried = true {
		l.mu.Lock()
		list := runsOf(l.settled())
		l.mu.Unlock()
		if len(list) < hardRuns && (len(list) < hardOverlap || list.Overlap() < hardOverlap) {
			return nil
		}
		r := l.startRebase()
		if r == nil {
			return nil
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("wait for runs to be merged: %w", context.Cause(ctx))
		}
		if r.err != nil && tried {
			return fmt.Errorf("merge runs: %w", r.err)
		}
	}
}

// settled are the entries that no later cut replaces by itself: those before an inline
// run, which it outlines or absorbs. The caller holds mu.
// Those that the cold tier still reads in the store, and older ones, stay out of it.
func (l *List) settled() []*entry {
	from := l.reading()
	for i, e := range l.mu.entries[from:] {
		if e.run.Inline != nil && (e.own || from+i == len(l.mu.entries)-1) {
			return slices.Clone(l.mu.entries[from : from+i])
		}
	}
	return slices.Clone(l.mu.entries[from:])
}

// rebase merges adjacent runs until no more than maxOverlap overlap at a key; it
// reads runs, never live state. Tombstones go only with the oldest run.
func (l *List) rebase(ctx context.Context) error {
	for {
		l.mu.Lock()
		entries, below := l.settled(), l.reading()
		l.mu.Unlock()
		from, to := plan(entries)
		if from == to {
			return nil
		}
		old := entries[from:to]
		e, err := l.merge(ctx, old, from == 0 && below == 0, 0)
		if err == nil && e != nil && l.holds(old) {
			err = l.store(ctx, e)
			e.stored = err == nil
		}
		if err := errors.Join(err, l.exchange(old, e, err == nil)); err != nil {
			return err
		}
	}
}

// mergeAll makes one run of the list, without tombstones. The caller holds finish and
// change.
func (l *List) mergeAll(ctx context.Context) (written int64, err error) {
	old := l.copyEntries()
	if len(old) == 0 || len(old) == 1 && old[0].own && old[0].firstAck == 0 {
		return 0, nil // it is new
	}
	if err := l.waitBehind(ctx); err != nil {
		return 0, err
	}
	e, err := l.merge(ctx, old, true, l.o.InlineLimit)
	if err != nil {
		return 0, err
	}
	l.replace(old, e)
	if e != nil {
		written = e.run.Bytes
	}
	return written, l.forget(old)
}

// exchange puts e, which is stored, in the place of old; if good is false, or a cut
// that holds everything has replaced those meanwhile, e goes instead.
func (l *List) exchange(old []*entry, e *entry, good bool) error {
	l.change.Lock()
	defer l.change.Unlock()
	if !good || !l.holds(old) {
		if e == nil {
			return nil
		}
		return l.forget([]*entry{e})
	}
	l.replace(old, e)
	if e != nil {
		l.mu.Lock()
		l.mu.merged += e.run.Bytes
		l.mu.Unlock()
	}
	return l.forget(old)
}

// holds reports whether old are adjacent entries of the list.
func (l *List) holds(old []*entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.mu.entries, old[0])
	return i >= 0 && i+len(old) <= len(l.mu.entries) && slices.Equal(l.mu.entries[i:i+len(old)], old)
}
