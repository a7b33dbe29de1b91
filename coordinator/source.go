package coordinator

import (
	"slices"

	"github.com/weirstream/weir/proto/metapb"
)

// SourceState is whether the job still needs the snapshot of somebody else that it was
// started from.
//
//	none      it was started empty, or nothing refers to the snapshot any more
//	no-claim  it is the user's: checkpoints are full until one refers to nothing of it
//	shared    it is the job's to delete, or the user's to keep: checkpoints may refer to it
//
// From both others to none with SourceReleased, when no retained checkpoint lists a
// run of it and no working state reads one.
type SourceState uint8

// States of the source.
const (
	SourceNone SourceState = iota
	SourceNoClaim
	SourceShared
)

// releaseSource lets the source go if nothing refers to it.
func (c *Coordinator) releaseSource(effects []Effect) []Effect {
	if c.source == SourceNone || len(c.completed) == 0 || len(c.subsumed) > 0 {
		return effects
	}
	for _, d := range c.completed {
		if d.Metadata == nil || refersToForeign(d.Metadata) {
			return effects
		}
	}
	c.source = SourceNone
	return append(effects, SourceReleased{})
}

// refersToForeign reports whether m lists or reads an object outside of the job's
// checkpoint folder.
func refersToForeign(m *metapb.CheckpointMetadata) bool {
	return slices.ContainsFunc(m.StillReads, foreign) || listsForeign(m)
}

func listsForeign(m *metapb.CheckpointMetadata) bool {
	for _, op := range m.Operators {
		for _, s := range op.Subtasks {
			if slices.ContainsFunc(s.Runs, func(r *metapb.Run) bool { return r.BasePath != "" }) {
				return true
			}
		}
	}
	return false
}
