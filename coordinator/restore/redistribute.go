package restore

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// redistribute divides the operator states of all old subtasks over parallelism
// new ones; each gets them sorted by name.
func redistribute(op *metapb.Operator, snapshot *metapb.OperatorSnapshot, parallelism int, o Options) ([][]*metapb.OperatorState, error) {
	kinds := map[string]metapb.StateKind{}
	for _, s := range snapshot.Subtasks {
		for _, state := range s.OperatorStates {
			if k, known := kinds[state.Name]; known && k != state.Kind {
				return nil, fmt.Errorf("%w: state %q of operator %q is a %v in subtask %d and a %v in another",
					ErrIncompatible, state.Name, op.Uid, state.Kind, s.Index, k)
			}
			kinds[state.Name] = state.Kind
		}
	}
	divided := make([][]*metapb.OperatorState, parallelism)
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		kind := kinds[name]
		declared := stateOf(op, name)
		entries := entriesOf(snapshot, name)
		switch {
		case declared == nil && len(entries) == 0:
			continue
		case declared == nil && o.AllowNonRestored:
			continue
		case declared == nil:
			return nil, fmt.Errorf("%w: the snapshot has state %q of operator %q, which the program no longer declares; declare it, or allow non-restored state",
				ErrIncompatible, name, op.Uid)
		case declared.Kind != kind:
			return nil, fmt.Errorf("%w: state %q of operator %q was a %v, the program declares a %v",
				ErrIncompatible, name, op.Uid, kind, declared.Kind)
		}
		shares, err := share(kind, snapshot, name, parallelism)
		if err != nil {
			return nil, fmt.Errorf("state %q of operator %q: %w", name, op.Uid, err)
		}
		for i, entries := range shares {
			divided[i] = append(divided[i], &metapb.OperatorState{Name: name, Kind: kind, Entries: entries, Schema: schemaOf(snapshot, name)})
		}
	}
	return divided, nil
}

// share divides the entries of one state. Unchanged parallelism leaves a split list
// where it was: a reader goes on with what it had open.
func share(kind metapb.StateKind, snapshot *metapb.OperatorSnapshot, name string, parallelism int) ([][][]byte, error) {
	shares := make([][][]byte, parallelism)
	switch kind {
	case metapb.StateKind_STATE_KIND_SPLIT_LIST:
		if parallelism == len(snapshot.Subtasks) {
			for i, s := range snapshot.Subtasks {
				shares[i] = entriesIn(s, name)
			}
			return shares, nil
		}
		for i, e := range entriesOf(snapshot, name) {
			shares[i%parallelism] = append(shares[i%parallelism], e)
		}
	case metapb.StateKind_STATE_KIND_UNION_LIST:
		all := entriesOf(snapshot, name)
		for i := range shares {
			shares[i] = all
		}
	case metapb.StateKind_STATE_KIND_BROADCAST:
		// Written by one subtask; the first that has it speaks for all.
		var one [][]byte
		for _, s := range snapshot.Subtasks {
			if one = entriesIn(s, name); len(one) > 0 {
				break
			}
		}
		for i := range shares {
			shares[i] = one
		}
	default:
		return nil, fmt.Errorf("%w: a %v can't be redistributed", ErrIncompatible, kind)
	}
	return shares, nil
}

// schemaOf is what the entries were written with: the worker compares it with the
// program's. All subtasks of one attempt write the same.
func schemaOf(snapshot *metapb.OperatorSnapshot, name string) []byte {
	for _, s := range snapshot.Subtasks {
		for _, state := range s.OperatorStates {
			if state.Name == name && len(state.Schema) > 0 {
				return state.Schema
			}
		}
	}
	return nil
}

// entriesOf are the entries of all subtasks, in order.
func entriesOf(snapshot *metapb.OperatorSnapshot, name string) [][]byte {
	var all [][]byte
	for _, s := range snapshot.Subtasks {
		all = append(all, entriesIn(s, name)...)
	}
	return all
}

func entriesIn(s *metapb.SubtaskSnapshot, name string) [][]byte {
	for _, state := range s.OperatorStates {
		if state.Name == name {
			return state.Entries
		}
	}
	return nil
}

// mergedResults is the base that subtask 0 goes on from.
func mergedResults(uid string, snapshot *metapb.OperatorSnapshot) ([]*metapb.Result, error) {
	var all []*metapb.Result
	for _, s := range snapshot.Subtasks {
		all = append(all, s.Results...)
	}
	merged, err := job.MergeResults(all)
	if err != nil {
		return nil, fmt.Errorf("%w: operator %q: %w", ErrIncompatible, uid, err)
	}
	return merged, nil
}
