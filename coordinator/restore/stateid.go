package restore

import (
	"cmp"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
)

// StateIDs are the ids of a job's states.
type StateIDs struct {
	IDs  []*metapb.StateID // sorted by id; also those of states that are gone
	Next uint32            // lowest id never given
}

// AllocateStateIDs gives every keyed state and timer of plan its id: the one it has
// in old, or a new one in the order of the plan. Ids of states that plan does not
// have stay taken for ever, because old runs hold their entries.
func AllocateStateIDs(old StateIDs, plan *metapb.Plan) StateIDs {
	type key struct{ uid, name string }
	known := map[key]bool{}
	next := max(1, old.Next)
	ids := slices.Clone(old.IDs)
	for _, s := range ids {
		known[key{s.Uid, s.Name}] = true
		next = max(next, s.Id+1)
	}
	for _, op := range plan.Operators {
		for _, s := range op.States {
			if known[key{op.Uid, s.Name}] || !inRuns(s.Kind) {
				continue
			}
			known[key{op.Uid, s.Name}] = true
			ids = append(ids, &metapb.StateID{Uid: op.Uid, Name: s.Name, Id: next})
			next++
		}
	}
	slices.SortFunc(ids, func(a, b *metapb.StateID) int { return cmp.Compare(a.Id, b.Id) })
	return StateIDs{IDs: ids, Next: next}
}

// inRuns reports whether entries of such a state stand in runs.
func inRuns(k metapb.StateKind) bool {
	switch k {
	case metapb.StateKind_STATE_KIND_VALUE, metapb.StateKind_STATE_KIND_LIST, metapb.StateKind_STATE_KIND_MAP,
		metapb.StateKind_STATE_KIND_REDUCING, metapb.StateKind_STATE_KIND_AGGREGATING, metapb.StateKind_STATE_KIND_TIMER:
		return true
	}
	return false
}

// LiveStateIDs are the ids of m's states that a run of it may hold entries of. A state
// that was dropped at an earlier restore is left out: should a program declare one of
// that name again, it is a new one and gets another id, not the old one's entries.
func LiveStateIDs(m *metapb.CheckpointMetadata) StateIDs {
	live := StateIDs{Next: m.NextStateId}
	for _, id := range m.StateIds {
		if !dropped(m, id) {
			live.IDs = append(live.IDs, id)
		}
	}
	return live
}

// dropped reports whether the operator of a state is in m and says what states it has,
// without this one.
func dropped(m *metapb.CheckpointMetadata, id *metapb.StateID) bool {
	says := false
	for _, op := range m.Operators {
		if op.Uid != id.Uid {
			continue
		}
		for _, s := range op.Subtasks {
			says = says || len(s.Schemas) > 0
			if slices.ContainsFunc(s.Schemas, func(c *metapb.Schema) bool { return c.StateId == id.Id && c.Ordinal == 0 }) {
				return false
			}
		}
	}
	return says
}
