package savepoint

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
)

// Difference is what differs between two snapshots, as far as their _metadata tell.
type Difference struct {
	From      string         `json:"from"`
	To        string         `json:"to"`
	Operators []OperatorDiff `json:"operators"` // those that differ, sorted by uid
	// Files and bytes of runs that only one of the two lists, or both. A canonical copy
	// shares none with its source.
	OnlyFrom Share `json:"only-from"`
	OnlyTo   Share `json:"only-to"`
	Both     Share `json:"both"`
}

// Share is a set of run files.
type Share struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// OperatorDiff is what differs of one operator.
type OperatorDiff struct {
	UID    string      `json:"uid"`
	Change string      `json:"change"` // added, removed or changed
	From   *Operator   `json:"from,omitempty"`
	To     *Operator   `json:"to,omitempty"`
	States []StateDiff `json:"states"` // those that differ, sorted by name
}

// StateDiff is what differs of one state: its kind or type, or that it is there.
type StateDiff struct {
	Name   string `json:"name"`
	Change string `json:"change"` // added, removed or changed
	From   *State `json:"from,omitempty"`
	To     *State `json:"to,omitempty"`
}

// Values of Change.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Diff compares the snapshots at from and to.
func Diff(ctx context.Context, from, to string) (Difference, error) {
	a, err := Open(ctx, from)
	if err != nil {
		return Difference{}, err
	}
	b, err := Open(ctx, to)
	if err != nil {
		return Difference{}, errors.Join(err, a.Close())
	}
	d := diff(a, b)
	return d, errors.Join(a.Close(), b.Close())
}

func diff(a, b *Snapshot) Difference {
	x, y := a.Describe(), b.Describe()
	d := Difference{From: x.Location, To: y.Location, Operators: []OperatorDiff{}}
	eachPair(x.Operators, y.Operators, func(o Operator) string { return o.UID }, func(from, to *Operator) {
		od := OperatorDiff{Change: change(from, to), From: from, To: to, States: []StateDiff{}}
		od.UID = cmp.Or(from, to).UID
		var was, is []State
		if from != nil {
			was = from.States
		}
		if to != nil {
			is = to.States
		}
		eachPair(was, is, func(s State) string { return s.Name }, func(from, to *State) {
			same := from != nil && to != nil && from.Kind == to.Kind && from.Type == to.Type && from.NamespaceType == to.NamespaceType && from.Entries == to.Entries
			if !same {
				od.States = append(od.States, StateDiff{Name: cmp.Or(from, to).Name, Change: change(from, to), From: from, To: to})
			}
		})
		same := from != nil && to != nil && len(od.States) == 0 && from.Parallelism == to.Parallelism && from.KeyType == to.KeyType &&
			from.Runs == to.Runs && from.Entries == to.Entries && from.Bytes == to.Bytes && from.InFlight == to.InFlight && from.Ended == to.Ended
		if !same {
			d.Operators = append(d.Operators, od)
		}
	})
	d.share(digests(a.meta), digests(b.meta))
	return d
}

// share counts the files by their digests: a native copy's are its source's.
func (d *Difference) share(from, to map[string]int64) {
	count := func(s *Share, bytes int64) {
		s.Files++
		s.Bytes += bytes
	}
	for digest, bytes := range from {
		if _, ok := to[digest]; ok {
			count(&d.Both, bytes)
		} else {
			count(&d.OnlyFrom, bytes)
		}
	}
	for digest, bytes := range to {
		if _, ok := from[digest]; !ok {
			count(&d.OnlyTo, bytes)
		}
	}
}

func digests(m *metapb.CheckpointMetadata) map[string]int64 {
	all := map[string]int64{}
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				for _, f := range r.Files {
					all[string(f.Digest)] = int64(f.Size)
				}
			}
		}
	}
	return all
}

func change[T any](from, to *T) string {
	switch {
	case from == nil:
		return Added
	case to == nil:
		return Removed
	}
	return Changed
}

// eachPair calls f for each name of either list, sorted, nil for one that has it not.
func eachPair[T any](from, to []T, name func(T) string, f func(from, to *T)) {
	was, is := map[string]*T{}, map[string]*T{}
	var names []string
	for i := range from {
		was[name(from[i])] = &from[i]
		names = append(names, name(from[i]))
	}
	for i := range to {
		is[name(to[i])] = &to[i]
		names = append(names, name(to[i]))
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		f(was[n], is[n])
	}
}
