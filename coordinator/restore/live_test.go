package restore

import (
	"testing"

	"github.com/weirstream/weir/proto/metapb"
)

// TestLiveStateIDs: a state that the snapshot's program no longer had is a new one when it
// is declared again: under its old id the entries of the old one, which runs may still
// hold, would come back. One without entries yet, and those of operators that the snapshot
// says nothing of, keep theirs.
func TestLiveStateIDs(t *testing.T) {
	value := metapb.StateKind_STATE_KIND_VALUE
	m := &metapb.CheckpointMetadata{
		NextStateId: 5,
		StateIds: []*metapb.StateID{
			{Uid: "count", Name: "kept", Id: 1}, {Uid: "count", Name: "dropped", Id: 2}, {Uid: "gone", Name: "n", Id: 3}, {Uid: "old", Name: "n", Id: 4},
		},
		Operators: []*metapb.OperatorSnapshot{
			{Uid: "count", Subtasks: []*metapb.SubtaskSnapshot{
				{Index: 0}, {Index: 1, Schemas: []*metapb.Schema{{StateId: 1, Kind: value}, {StateId: 2, Ordinal: 1}}},
			}},
			{Uid: "old", Subtasks: []*metapb.SubtaskSnapshot{{Index: 0}}}, // no schemas: it can't be told
		},
	}
	live := LiveStateIDs(m)
	var ids []uint32
	for _, s := range live.IDs {
		ids = append(ids, s.Id)
	}
	if len(ids) != 3 || ids[0] != 1 || ids[1] != 3 || ids[2] != 4 || live.Next != 5 {
		t.Fatalf("live are %v, next %d, want 1, 3 and 4, next 5", ids, live.Next)
	}
	again := AllocateStateIDs(live, &metapb.Plan{Operators: []*metapb.Operator{{Uid: "count", States: []*metapb.State{
		{Name: "kept", Kind: value}, {Name: "dropped", Kind: value},
	}}}})
	for _, s := range again.IDs {
		if s.Uid == "count" && (s.Name == "kept" && s.Id != 1 || s.Name == "dropped" && s.Id != 5) {
			t.Errorf("state %q gets id %d", s.Name, s.Id)
		}
	}
	if again.Next != 6 {
		t.Errorf("next id %d, want 6", again.Next)
	}
}
