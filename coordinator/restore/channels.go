package restore

import (
	"fmt"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Channel is what was in flight to one input of an old subtask, or the part of it that
// a new subtask takes: on a hash edge the records of its own key groups, else all.
type Channel struct {
	Input  int // index into the operator's inputs
	State  *metapb.ChannelState
	Folder string // that the name of its file is relative to
	// Groups, on a hash edge, are the key groups whose records the old subtask had; what
	// it holds of others counts for nothing.
	Groups stream.KeyGroupRange
}

// divideChannels gives the records in flight to operator op's old subtasks to its new
// ones. Every record has exactly one taker, unless the edge is a broadcast now. Order
// is kept: what is given to a subtask stands in the order of the old subtasks and
// their lists.
func divideChannels(g *job.Graph, index int, snapshot *metapb.OperatorSnapshot, rs []*Operator, o Options) error {
	turn := 0
	for _, s := range snapshot.Subtasks {
		for _, c := range s.ChannelStates {
			in, d, err := inputOf(g, index, c)
			switch {
			case err != nil && o.AllowNonRestored:
				continue
			case err != nil:
				return err
			}
			groups := stream.AllKeyGroups
			give := func(i int) {
				rs[i].Channels = append(rs[i].Channels, Channel{Input: in, State: c, Folder: o.Folder, Groups: groups})
			}
			switch {
			case d == metapb.Distribution_DISTRIBUTION_HASH:
				// Records that had keys were this old subtask's; others may be anybody's.
				if c.Distribution == d {
					groups = stream.KeyGroupRange{First: stream.KeyGroup(s.FirstGroup), Last: stream.KeyGroup(s.LastGroup)}
				}
				for i := range rs {
					if _, shared := stream.RangeOf(i, len(rs)).Intersect(groups); shared {
						give(i)
					}
				}
			case d == metapb.Distribution_DISTRIBUTION_BROADCAST:
				for i := range rs {
					give(i)
				}
			case len(rs) == len(snapshot.Subtasks):
				give(int(s.Index))
			default:
				give(turn % len(rs))
				turn++
			}
		}
	}
	return nil
}

// inputOf finds the input of plan operator index that takes what was in flight on a
// channel: the one with the same number if it has the same producer, else the only one
// from that producer.
func inputOf(g *job.Graph, index int, c *metapb.ChannelState) (input int, d metapb.Distribution, err error) {
	op := g.Plan.Operators[index]
	found := -1
	for i, in := range op.Inputs {
		if g.Plan.Operators[in.From].Uid != c.FromUid {
			continue
		}
		if i == int(c.Input) {
			found = i
			break
		}
		if found >= 0 {
			found = -2 // several: which one is anybody's guess
			break
		}
		found = i
	}
	refuse := func(what string) error {
		return fmt.Errorf("%w: %d records were in flight from operator %q to input %d of %q, %s; start from a savepoint, which has none, or allow non-restored state",
			ErrIncompatible, c.Records, c.FromUid, c.Input, op.Uid, what)
	}
	switch found {
	case -1:
		return 0, 0, refuse("which no longer takes its input from there")
	case -2:
		return 0, 0, refuse("which has several inputs from there now, none of that number")
	}
	for _, e := range g.Edges {
		if e.ToOperator == index && e.Input == found {
			if e.Distribution == metapb.Distribution_DISTRIBUTION_DIRECT {
				return 0, 0, refuse("where records name their subtask now")
			}
			return found, e.Distribution, nil
		}
	}
	return 0, 0, refuse("which are chained to one another now")
}
