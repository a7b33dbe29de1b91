package runlist

import (
	"context"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// maxRuns bounds the list's length: eviction runs of different bundles don't
// overlap, but each is an object.
const maxRuns = 256

// clip narrows run to the groups that both ranges own; nil if there are none.
func clip(run *metapb.Run, ranges ...stream.KeyGroupRange) *metapb.Run {
	r := groups(run)
	for _, o := range ranges {
		var ok bool
		if r, ok = r.Intersect(o); !ok {
			return nil
		}
	}
	if r == groups(run) {
		return run
	}
	clipped := &metapb.Run{
		Id: run.Id, Files: run.Files, InlineTable: run.InlineTable, Entries: run.Entries, Bytes: run.Bytes,
		FirstAck: run.FirstAck, Attempt: run.Attempt, InlineDigest: run.InlineDigest, BasePath: run.BasePath,
		FirstGroup: uint32(r.First), LastGroup: uint32(r.Last),
	}
	return clipped
}

func groups(run *metapb.Run) stream.KeyGroupRange {
	return stream.KeyGroupRange{First: stream.KeyGroup(run.FirstGroup), Last: stream.KeyGroup(run.LastGroup)}
}

// overlap is the largest number of entries that share a key group.
func overlap(entries []*entry) (most int) {
	type edge struct {
		group, step int
	}
	edges := make([]edge, 0, 2*len(entries))
	for _, e := range entries {
		r := groups(e.run)
		edges = append(edges, edge{int(r.First), 1}, edge{int(r.Last) + 1, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.group != b.group {
			return a.group - b.group
		}
		return a.step - b.step
	})
	now := 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}

// window is the suffix of entries to be merged: it reaches back to the oldest run
// that is not much larger than all after it, so that a run is rewritten a number
// of times logarithmic in the state.
func window(entries []*entry) int {
	var after uint64
	from := len(entries) - 2
	for i := len(entries) - 1; i >= 0; i-- {
		if size := entries[i].run.Bytes; size <= 2*after {
			from = i
		}
		after += entries[i].run.Bytes
	}
	return from
}

// WantsFull reports whether the next cut should hold everything, if the store can:
// that is cheaper than merging the whole list.
func (l *List) WantsFull() bool {
	entries := l.copyEntries()
	return overlap(entries) >= maxOverlap && window(entries) == 0
}

// rebase merges adjacent runs when too many overlap; it reads runs, never live
// state. Tombstones go only with the oldest run.
func (l *List) rebase(ctx context.Context) (written int64, err error) {
	entries := l.copyEntries()
	if overlap(entries) <= maxOverlap && len(entries) <= maxRuns {
		return 0, nil
	}
	from := window(entries)
	old := entries[from:]
	e, err := l.merge(ctx, old, from == 0)
	if err != nil {
		return 0, err
	}
	l.replace(old, e)
	if err := l.forget(old); err != nil {
		return 0, err
	}
	if e == nil {
		return 0, nil
	}
	return int64(e.run.Bytes), nil
}
