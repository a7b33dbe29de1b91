package restore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

const (
	hash      = metapb.Distribution_DISTRIBUTION_HASH
	rebalance = metapb.Distribution_DISTRIBUTION_REBALANCE
	forward   = metapb.Distribution_DISTRIBUTION_FORWARD
	toAll     = metapb.Distribution_DISTRIBUTION_BROADCAST
	direct    = metapb.Distribution_DISTRIBUTION_DIRECT
)

// joined is a plan whose operator "op" has inputs from the sources named, over edges of
// a distribution.
func joined(d metapb.Distribution, from ...string) *metapb.Plan {
	p := &metapb.Plan{}
	at := map[string]uint32{}
	op := &metapb.Operator{Uid: "op", Kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM}
	for _, uid := range from {
		if _, known := at[uid]; !known {
			at[uid] = uint32(len(p.Operators))
			p.Operators = append(p.Operators, &metapb.Operator{Uid: uid, Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE})
		}
		op.Inputs = append(op.Inputs, &metapb.Input{From: at[uid], Distribution: d})
	}
	p.Operators = append(p.Operators, op)
	return p
}

// inFlight gives each subtask of a snapshot two parts of one input.
func inFlight(parallelism int, from string, input uint32, d metapb.Distribution) *metapb.CheckpointMetadata {
	m := snapshot(parallelism, split)
	for i, s := range m.Operators[0].Subtasks {
		s.Runs, s.Results = nil, nil
		for producer := range uint32(2) {
			s.ChannelStates = append(s.ChannelStates, &metapb.ChannelState{
				FromUid: from, Input: input, Distribution: d, Records: 5, File: fmt.Sprintf("%d.%d", i, producer),
			})
		}
	}
	return m
}

// taken is "a b|c": the files of each subtask's channels, and of the inputs.
func taken(t *testing.T, m *metapb.CheckpointMetadata, p *metapb.Plan, parallelism int, o Options) (files, inputs string) {
	t.Helper()
	var all, ins []string
	for _, op := range operators(t, m, p, parallelism, o) {
		var mine []string
		for _, c := range op.Channels {
			mine = append(mine, c.State.File)
			ins = append(ins, fmt.Sprint(c.Input))
		}
		all = append(all, strings.Join(mine, " "))
	}
	return strings.Join(all, "|"), strings.Join(ins, "")
}

func TestChannels(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to metapb.Distribution
		subtasks [2]int
		want     string
	}{
		{"same", hash, hash, [2]int{2, 2}, "0.0 0.1|1.0 1.1"},
		{"down", hash, hash, [2]int{2, 1}, "0.0 0.1 1.0 1.1"},
		{"up", hash, hash, [2]int{1, 2}, "0.0 0.1|0.0 0.1"}, // each takes its own groups
		{"2 to 3", hash, hash, [2]int{2, 3}, "0.0 0.1|0.0 0.1 1.0 1.1|1.0 1.1"},
		{"keyed now", rebalance, hash, [2]int{2, 2}, "0.0 0.1 1.0 1.1|0.0 0.1 1.0 1.1"},
		{"no longer keyed", hash, rebalance, [2]int{2, 2}, "0.0 0.1|1.0 1.1"},
		{"round robin", rebalance, rebalance, [2]int{2, 3}, "0.0 1.1|0.1|1.0"},
		{"round robin, same", rebalance, rebalance, [2]int{2, 2}, "0.0 0.1|1.0 1.1"},
		{"to all now", rebalance, toAll, [2]int{1, 2}, "0.0 0.1|0.0 0.1"},
	} {
		m := inFlight(c.subtasks[0], "a", 0, c.from)
		if got, _ := taken(t, m, joined(c.to, "a"), c.subtasks[1], Options{}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestChannelInputs: an edge is known by producer and input.
func TestChannelInputs(t *testing.T) {
	for _, c := range []struct {
		from  []string // of the new plan
		input uint32   // in the snapshot, from "a"
		want  string
	}{
		{[]string{"a"}, 0, "00"},
		{[]string{"b", "a"}, 0, "11"},      // the inputs were reordered
		{[]string{"a", "a", "b"}, 1, "11"}, // a self-union keeps its numbers
		{[]string{"b", "a", "a"}, 0, "!"},  // one that was reordered can't be told apart
		{[]string{"b"}, 0, "!"},            // nobody
		{[]string{"a", "b", "a"}, 2, "22"},
	} {
		m := inFlight(1, "a", c.input, hash)
		if c.want == "!" {
			_, err := Plan(m, graph(t, joined(hash, c.from...), 1), Options{})
			if !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("%v: %v", c.from, err)
			}
			if files, _ := taken(t, m, joined(hash, c.from...), 1, Options{AllowNonRestored: true}); files != "" {
				t.Errorf("%v: %q is taken", c.from, files)
			}
			continue
		}
		if _, got := taken(t, m, joined(hash, c.from...), 1, Options{}); got != c.want {
			t.Errorf("%v: inputs %s, want %s", c.from, got, c.want)
		}
	}
	for _, d := range []metapb.Distribution{forward, direct} { // chained, or named: nowhere to go
		if _, err := Plan(inFlight(1, "a", 0, hash), graph(t, joined(d, "a"), 1), Options{}); !errors.Is(err, ErrIncompatible) {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// TestEveryKeyInFlightHasOneTaker: whatever the two parallelisms, the groups of an old
// subtask are shared out among those that are given its channels.
func TestEveryKeyInFlightHasOneTaker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.IntRange(1, 30).Draw(t, "from"), rapid.IntRange(1, 30).Draw(t, "to")
		all, err := Plan(inFlight(from, "a", 0, hash), graph(t, joined(hash, "a"), to), Options{})
		if err != nil {
			t.Fatal(err)
		}
		takers := map[string]int{} // groups taken of each old subtask
		for _, s := range all {
			for _, op := range s.Operators {
				for _, c := range op.Channels {
					var old int
					fmt.Sscanf(c.State.File, "%d.", &old)
					shared, ok := stream.RangeOf(s.ID.Index, to).Intersect(stream.RangeOf(old, from))
					if !ok {
						t.Fatalf("%v is given channels of subtask %d for nothing", s.ID, old)
					}
					takers[c.State.File] += shared.Size()
				}
			}
		}
		for file, groups := range takers {
			var old int
			fmt.Sscanf(file, "%d.", &old)
			if want := stream.RangeOf(old, from).Size(); groups != want {
				t.Fatalf("%d of %d groups of %s have a taker", groups, want, file)
			}
		}
		if len(takers) != 2*from {
			t.Fatalf("%d channels have takers, want %d", len(takers), 2*from)
		}
	})
}
