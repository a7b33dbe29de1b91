package runlist

import (
	"context"
	"errors"
	"fmt"
	"math"
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

// An ack lists at most maxOverlap runs at a key; Finish sees to that. The rebase keeps the
// list below it, so that this is rarely any work: it is due when more than easyOverlap
// overlap beside the newest, and has one more cut's time. Each less costs a little more
// writing: 4,096 equal deltas are rewritten 5.7 times with 8, 7.5 times with 6, 10 times
// with 5.
const (
	maxOverlap  = 8
	easyOverlap = 6
)

// plan chooses adjacent runs to be merged in the background: entries[from:to], none if
// from == to. If it is late, because others' were merged before, it begins with the small
// ones.
func plan(entries []*entry) (from, to int) {
	list := runsOf(entries)
	if list.Overlap() > easyOverlap+1 {
		return list.PlanSmall(easyOverlap+1, math.MaxInt64)
	}
	if from, to = list.PlanRebase(easyOverlap); from == to && len(entries) > maxRuns {
		return len(entries) / 2, len(entries)
	}
	return from, to
}

// WantsFull reports whether the next cut should hold everything, if the store can:
// of little state that is cheaper than merging with the oldest run. Of much it would
// delay the ack, which a merger does not.
func (l *List) WantsFull() bool {
	entries := l.copyEntries()
	if len(entries) <= easyOverlap || l.Bytes() > fullBytes || l.rebasing() {
		return false
	}
	// After the next cut these are all but the newest.
	from, to := runsOf(entries).PlanRebase(easyOverlap)
	return from == 0 && to > 0
}

// fullBytes of runs are written in ~50 ms.
const fullBytes = 16 << 20

// turn is held by the rebase that runs: one among all lists of a process, whose
// processors have records to work on.
var turn = make(chan struct{}, 1)

// rebase is one that runs in its own goroutine until no more than easyOverlap runs
// overlap beside the newest. It never delays an ack by more than the exchange of entries.
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

// merging are adjacent entries of which a rebase makes one.
type merging struct {
	old  []*entry
	done chan struct{} // closed when they have been exchanged, or not
}

func (l *List) rebasing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.rebase != nil && !l.mu.rebase.over()
}

// startRebase has runs merged in the background, if too many overlap. An earlier one that
// failed is so tried again.
func (l *List) startRebase() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.looked = len(l.mu.entries)
	if r := l.mu.rebase; r != nil && !r.over() {
		return
	}
	l.mu.rebase = nil
	if from, to := plan(l.settled()); from == to {
		return
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
}

// settled are the entries that may be merged in the background: those before an inline
// run, which a later cut outlines or absorbs, and before the newest, so that a cut finds
// something small to merge with. Those that the cold tier still reads in the store, and
// older ones, stay out of it. The caller holds mu.
func (l *List) settled() []*entry {
	from, to := l.reading(), max(l.reading(), len(l.mu.entries)-1)
	if l.mu.listing {
		to = max(from, slices.Index(l.mu.entries, l.mu.cut))
	}
	for i, e := range l.mu.entries[from:to] {
		if e.run.Inline != nil && e.own {
			to = from + i
			break
		}
	}
	return slices.Clone(l.mu.entries[from:to])
}

// rebase merges adjacent runs until few enough overlap; it reads runs, never live state.
// Tombstones go only with the oldest run.
func (l *List) rebase(ctx context.Context) error {
	for {
		m, oldest := l.beginMerging()
		if m == nil {
			return nil
		}
		e, err := l.merge(ctx, m.old, oldest, 0)
		if err == nil && e != nil && l.holds(m.old) {
			err = l.store(ctx, e)
			e.stored = err == nil
		}
		if err := errors.Join(err, l.exchange(m, e, err == nil)); err != nil {
			return err
		}
	}
}

// beginMerging says what is merged next, nil if nothing, and whether the oldest run is among
// it. Meanwhile no cut merges those runs.
func (l *List) beginMerging() (m *merging, oldest bool) {
	l.change.Lock()
	defer l.change.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	entries, below := l.settled(), l.reading()
	from, to := plan(entries)
	if from == to {
		return nil, false
	}
	l.mu.merging = &merging{entries[from:to], make(chan struct{})}
	return l.mu.merging, from == 0 && below == 0
}

// squeeze merges the newest runs of the cut that is being listed until no more than
// maxOverlap overlap at a key. It leaves those to the rebase that this merges: only if one
// of the two newest at a key is among them it waits, which is to say never, unless
// the rebase has taken several cuts' time to begin. The mailbox goroutine waits for none
// of it: the cut is durable by now. The caller holds finish and change.
//
// While a cold tier reads restored runs where they lie, they must stay in the list. With o of
// these at a key, at most max(maxOverlap, o+leastYoung) are listed until then.
func (l *List) squeeze(ctx context.Context) (written int64, err error) {
	for {
		entries := l.listed()
		list := runsOf(entries)
		if list.Overlap() <= maxOverlap && len(list) <= hardRuns {
			return written, nil
		}
		first, busy := l.fixed(entries)
		least := 1
		if busy == nil && first > 0 {
			least = leastYoung
		}
		young := list[first:]
		from, to := young.PlanSmall(max(least, maxOverlap-list[:first].Overlap()), l.squeezeMost)
		if from == to && len(list) > hardRuns && len(young) > 1 {
			from, to = len(young)/2, len(young)
		}
		if to-from < 2 {
			if busy == nil {
				return written, nil
			}
			if err := l.waitFor(ctx, busy); err != nil {
				return written, err
			}
			continue
		}
		inline := int64(0)
		if first+to == len(entries) {
			inline = l.o.InlineLimit
		}
		old := entries[first+from : first+to]
		e, err := l.merge(ctx, old, first+from == 0, inline)
		if err != nil {
			return written, err
		}
		l.replace(old, e)
		if e != nil {
			written += e.run.Bytes
		}
		if err := l.forget(old); err != nil {
			return written, err
		}
	}
}

// squeezeBytes is how much squeeze merges at most where less would do for this ack: ~0.2 s of
// work. More is for the rebase: a restored list, to which none has come yet, may be
// gigabytes in runs of equal size.
const squeezeBytes = 32 << 20

// leastYoung is how many runs cuts may add to restored ones that cannot be merged yet.
const leastYoung = 2

// hardRuns is what an ack lists at most, wherever they lie.
const hardRuns = 2 * maxRuns

// fixed is how many of the entries at the front may not be merged now: those that a rebase
// merges, until busy is closed, or that a cold tier reads (busy nil), and older ones.
func (l *List) fixed(entries []*entry) (n int, busy chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = l.reading()
	if m := l.mu.merging; m != nil {
		if i := slices.Index(entries, m.old[len(m.old)-1]); i >= n {
			return i + 1, m.done
		}
	}
	return n, nil
}

// waitFor waits for a merging, which changes the list meanwhile. The caller holds change.
func (l *List) waitFor(ctx context.Context, done chan struct{}) error {
	l.change.Unlock()
	defer l.change.Lock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for runs to be merged: %w", context.Cause(ctx))
	}
}

// mergeAll makes one run of the list, without tombstones. The caller holds finish and
// change.
func (l *List) mergeAll(ctx context.Context) (written int64, err error) {
	old := l.listed()
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

// exchange puts e, which is stored, in the place of what m merges; if good is false, or a cut
// that holds everything has replaced those meanwhile, e goes instead.
func (l *List) exchange(m *merging, e *entry, good bool) error {
	l.change.Lock()
	defer l.change.Unlock()
	defer close(m.done)
	good = good && l.holds(m.old)
	if good {
		l.replace(m.old, e)
	}
	l.mu.Lock()
	l.mu.merging = nil
	if good && e != nil {
		l.mu.merged += e.run.Bytes
	}
	l.mu.Unlock()
	switch {
	case good:
		return l.forget(m.old)
	case e != nil:
		return l.forget([]*entry{e})
	}
	return nil
}

// holds reports whether old are adjacent entries of the list.
func (l *List) holds(old []*entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.mu.entries, old[0])
	return i >= 0 && i+len(old) <= len(l.mu.entries) && slices.Equal(l.mu.entries[i:i+len(old)], old)
}
