package restore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

func plan(states ...*metapb.State) *metapb.Plan {
	return &metapb.Plan{Operators: []*metapb.Operator{
		{Uid: "source", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE},
		{Uid: "op", Kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, States: states, Inputs: []*metapb.Input{{Distribution: metapb.Distribution_DISTRIBUTION_HASH}}},
	}}
}

func graph(t interface{ Fatal(...any) }, p *metapb.Plan, parallelism int) *job.Graph {
	g, err := job.NewGraph(p, parallelism)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

const (
	split     = metapb.StateKind_STATE_KIND_SPLIT_LIST
	union     = metapb.StateKind_STATE_KIND_UNION_LIST
	broadcast = metapb.StateKind_STATE_KIND_BROADCAST
)

// snapshot of operator op at a parallelism: subtask i has one run of its groups and
// the entries given for it.
func snapshot(parallelism int, kind metapb.StateKind, entries ...[]string) *metapb.CheckpointMetadata {
	op := &metapb.OperatorSnapshot{Uid: "op", Parallelism: uint32(parallelism)}
	for i := range parallelism {
		r := stream.RangeOf(i, parallelism)
		s := &metapb.SubtaskSnapshot{
			Index: uint32(i), FirstGroup: uint32(r.First), LastGroup: uint32(r.Last), Watermark: int64(100 + i),
			Runs: []*metapb.Run{{
				Id: fmt.Sprintf("r%d", i), Files: []*metapb.RunFile{{Name: fmt.Sprintf("shared/r%d", i)}},
				FirstGroup: uint32(r.First), LastGroup: uint32(r.Last), Attempt: "e1.n1",
			}},
			Results: []*metapb.Result{{Name: "sum", Value: &metapb.Result_Sum{Sum: uint64(i + 1)}}},
		}
		if i < len(entries) {
			state := &metapb.OperatorState{Name: "s", Kind: kind}
			for _, e := range entries[i] {
				state.Entries = append(state.Entries, []byte(e))
			}
			s.OperatorStates = append(s.OperatorStates, state)
		}
		op.Subtasks = append(op.Subtasks, s)
	}
	return &metapb.CheckpointMetadata{CheckpointId: 7, Operators: []*metapb.OperatorSnapshot{op}}
}

func operators(t *testing.T, m *metapb.CheckpointMetadata, p *metapb.Plan, parallelism int, o Options) []Operator {
	t.Helper()
	all, err := Plan(m, graph(t, p, parallelism), o)
	if err != nil {
		t.Fatal(err)
	}
	var ops []Operator
	for _, s := range all {
		for _, op := range s.Operators {
			if op.UID == "op" {
				ops = append(ops, op)
			}
		}
	}
	return ops
}

// entriesText is "a b|c": the entries of state s, by subtask.
func entriesText(ops []Operator) string {
	var subtasks []string
	for _, op := range ops {
		var all []string
		for _, s := range op.States {
			for _, e := range s.Entries {
				all = append(all, string(e))
			}
		}
		subtasks = append(subtasks, strings.Join(all, " "))
	}
	return strings.Join(subtasks, "|")
}

func TestOperatorState(t *testing.T) {
	for _, c := range []struct {
		kind    metapb.StateKind
		entries [][]string
		to      int
		want    string
	}{
		{split, [][]string{{"a", "b", "c"}, {"d"}}, 2, "a b c|d"},
		{split, [][]string{{"a", "b", "c"}, {"d"}}, 3, "a d|b|c"},
		{split, [][]string{{"a", "b", "c"}, {"d"}}, 1, "a b c d"},
		{union, [][]string{{"a"}, {"b"}}, 2, "a b|a b"},
		{union, [][]string{{"a"}, {}, {"b"}}, 1, "a b"},
		{broadcast, [][]string{{}, {"x", "y"}}, 3, "x y|x y|x y"},
	} {
		m := snapshot(len(c.entries), c.kind, c.entries...)
		ops := operators(t, m, plan(&metapb.State{Name: "s", Kind: c.kind}), c.to, Options{})
		if got := entriesText(ops); got != c.want {
			t.Errorf("%v %v to %d subtasks: %q, want %q", c.kind, c.entries, c.to, got, c.want)
		}
	}
}

func TestResultsEndedWatermark(t *testing.T) {
	m := snapshot(4, split)
	ops := operators(t, m, plan(), 2, Options{})
	if got := ops[0].Results[0].GetSum(); got != 10 || len(ops[1].Results) != 0 {
		t.Errorf("results %v and %v, want the sum 10 at subtask 0", ops[0].Results, ops[1].Results)
	}
	for i, op := range operators(t, m, plan(), 4, Options{}) {
		if len(op.Results) != 1 || op.Results[0].GetSum() != uint64(i+1) {
			t.Errorf("subtask %d of as many begins with %v", i, op.Results)
		}
	}
	if ops[0].Watermark != 100 || ops[1].Watermark != 102 {
		t.Errorf("watermarks %d and %d, want the least of those taken over", ops[0].Watermark, ops[1].Watermark)
	}
	for _, c := range []struct {
		ended string
		to    int
		want  []Ended
	}{
		{"....", 2, []Ended{EndedNone, EndedNone}},
		{"xxxx", 2, []Ended{EndedAll, EndedAll}},
		{"x...", 2, []Ended{EndedMixed, EndedMixed}},
		{"x.x.", 4, []Ended{EndedAll, EndedNone, EndedAll, EndedNone}},
	} {
		for i, e := range c.ended {
			m.Operators[0].Subtasks[i].Ended = e == 'x'
		}
		for i, op := range operators(t, m, plan(), c.to, Options{}) {
			if op.Ended != c.want[i] {
				t.Errorf("%s to %d: subtask %d has %v, want %v", c.ended, c.to, i, op.Ended, c.want[i])
			}
		}
	}
}

// TestKeyedStateIsDivided: whatever the two parallelisms, each key group is taken
// over from the old subtask that had it, by exactly one new one (I16).
func TestKeyedStateIsDivided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.IntRange(1, 40).Draw(t, "from"), rapid.IntRange(1, 40).Draw(t, "to")
		all, err := Plan(snapshot(from, split), graph(t, plan(), to), Options{Folder: "/job"})
		if err != nil {
			t.Fatal(err)
		}
		groups := 0
		for _, s := range all {
			for _, op := range s.Operators {
				for _, k := range op.Keyed {
					mine := stream.RangeOf(s.ID.Index, to)
					groups += k.Range.Size()
					if !mine.Contains(k.Range.First) || !mine.Contains(k.Range.Last) || len(k.Runs) != 1 || k.Folder != "/job" {
						t.Fatalf("%v takes %v of %d runs, its own groups are %v", s.ID, k.Range, len(k.Runs), mine)
					}
					old := stream.SubtaskOf(k.Range.First, from)
					if k.Runs[0].Id != fmt.Sprintf("r%d", old) || stream.SubtaskOf(k.Range.Last, from) != old {
						t.Fatalf("%v takes %v from %s, subtask %d had it", s.ID, k.Range, k.Runs[0].Id, old)
					}
				}
			}
		}
		if groups != stream.KeyGroups {
			t.Fatalf("%d key groups are taken over", groups)
		}
	})
}

// TestForeignRuns: runs of somebody else carry his path from now on, and the path of
// a third one stays (I14).
func TestForeignRuns(t *testing.T) {
	m := snapshot(1, split)
	m.Operators[0].Subtasks[0].Runs = append(m.Operators[0].Subtasks[0].Runs,
		&metapb.Run{Id: "third", Files: []*metapb.RunFile{{Name: "x"}}, LastGroup: 65535, BasePath: "/third"},
		&metapb.Run{Id: "inline", InlineTable: []byte{1}, LastGroup: 65535})
	before := proto.Clone(m)
	runs := operators(t, m, plan(), 1, Options{Folder: "/savepoint/", Foreign: true})[0].Keyed[0].Runs
	if runs[0].BasePath != "/savepoint" || runs[1].BasePath != "/third" || runs[2].BasePath != "" {
		t.Errorf("base paths %q, %q, %q", runs[0].BasePath, runs[1].BasePath, runs[2].BasePath)
	}
	if !proto.Equal(m, before) {
		t.Error("the snapshot was changed")
	}
	if got := operators(t, m, plan(), 1, Options{Folder: "/job"})[0].Keyed[0].Runs[0].BasePath; got != "" {
		t.Errorf("an own run has base path %q", got)
	}
}

func TestRefused(t *testing.T) {
	declared := &metapb.State{Name: "s", Kind: split}
	keyed := snapshot(1, split)
	keyed.StateIds = []*metapb.StateID{{Uid: "op", Name: "count", Id: 3}}
	keyed.Operators[0].Subtasks[0].Schemas = []*metapb.Schema{{StateId: 3}}
	other := snapshot(1, split)
	other.Operators[0].Uid = "gone"
	unaligned := snapshot(1, split)
	unaligned.Operators[0].Subtasks[0].ChannelStates = []*metapb.ChannelState{{FromUid: "other"}}
	mixed := snapshot(2, split, []string{"a"}, []string{"b"})
	mixed.Operators[0].Subtasks[1].OperatorStates[0].Kind = union
	for _, c := range []struct {
		name    string
		m       *metapb.CheckpointMetadata
		p       *metapb.Plan
		names   []string // in the message
		allowed bool     // with AllowNonRestored
	}{
		{"operator is gone", other, plan(), []string{`"gone"`}, true},
		{"keyed state is gone", keyed, plan(), []string{`"count"`, `"op"`}, true},
		{"operator state is gone", snapshot(1, split, []string{"a"}), plan(), []string{`"s"`, `"op"`}, true},
		{"kind changed", snapshot(1, union, []string{"a"}), plan(declared), []string{`"s"`, `"op"`, "UNION", "SPLIT"}, false},
		{"kinds differ", mixed, plan(declared), []string{`"s"`, `"op"`}, false},
		{"in flight from elsewhere", unaligned, plan(), []string{`"op"`, `"other"`}, true},
	} {
		_, err := Plan(c.m, graph(t, c.p, 2), Options{})
		if !errors.Is(err, ErrIncompatible) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %q does not name %s", c.name, err, name)
			}
		}
		if _, err := Plan(c.m, graph(t, c.p, 2), Options{AllowNonRestored: true}); (err == nil) != c.allowed {
			t.Errorf("%s, allowed: %v", c.name, err)
		}
	}
	if all, err := Plan(nil, graph(t, plan(), 3), Options{}); err != nil || len(all) != 6 {
		t.Errorf("fresh start: %d subtasks, %v", len(all), err)
	}
}

func TestStateIDs(t *testing.T) {
	value := func(name string) *metapb.State {
		return &metapb.State{Name: name, Kind: metapb.StateKind_STATE_KIND_VALUE}
	}
	first := AllocateStateIDs(StateIDs{}, plan(value("b"), value("c"), &metapb.State{Name: "list", Kind: split}))
	if len(first.IDs) != 2 || first.IDs[0].Id != 1 || first.IDs[1].Name != "c" || first.Next != 3 {
		t.Fatalf("first: %v", first)
	}
	// b is gone and a is new: c keeps its id, b's is not given again.
	second := AllocateStateIDs(first, plan(value("a"), value("c")))
	if len(second.IDs) != 3 || second.IDs[2].Name != "a" || second.IDs[2].Id != 3 || second.IDs[1].Id != 2 || second.Next != 4 {
		t.Errorf("second: %v", second)
	}
	if third := AllocateStateIDs(second, plan(value("b"))); len(third.IDs) != 3 || third.IDs[0].Id != 1 || third.Next != 4 {
		t.Errorf("third: %v", third)
	}
	if len(first.IDs) != 2 {
		t.Error("the old table was changed")
	}
}

// TestSchemasWithoutRuns: a subtask that takes over no run numbers schemas as its
// neighbours do.
func TestSchemasWithoutRuns(t *testing.T) {
	m := snapshot(2, split)
	m.Operators[0].Subtasks[0].Runs = nil
	m.Operators[0].Subtasks[0].Schemas = []*metapb.Schema{{StateId: 3}, {StateId: 3, Ordinal: 1}}
	for i, op := range operators(t, m, plan(), 4, Options{AllowNonRestored: true})[:2] {
		if len(op.Keyed) != 1 || len(op.Keyed[0].Runs) != 0 || len(op.Keyed[0].Schemas) != 2 {
			t.Errorf("subtask %d starts from %v", i, op.Keyed)
		}
	}
}

// TestMapUIDs: what belongs to a source goes along with it.
func TestMapUIDs(t *testing.T) {
	m := &metapb.CheckpointMetadata{
		Operators: []*metapb.OperatorSnapshot{{Uid: "count"}, {Uid: "lines"}, {Uid: "lines#splits"}},
		StateIds:  []*metapb.StateID{{Uid: "count", Name: "n", Id: 1}, {Uid: "lines", Name: "x", Id: 2}},
	}
	err := MapUIDs(m, []*metapb.UIDMapping{{From: "lines", To: "rows"}, {From: "count", To: "total"}})
	var uids []string
	for _, op := range m.Operators {
		uids = append(uids, op.Uid)
	}
	if got := strings.Join(uids, " "); err != nil || got != "rows rows#splits total" || m.StateIds[0].Uid != "total" || m.StateIds[1].Uid != "rows" {
		t.Errorf("%s, %v, %v", got, m.StateIds, err)
	}
	for _, bad := range []*metapb.UIDMapping{{From: "gone", To: "x"}, {From: "rows", To: "total"}} {
		if err := MapUIDs(m, []*metapb.UIDMapping{bad}); !errors.Is(err, ErrIncompatible) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
