package coordinator

import (
	"slices"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// metadataVersion is CheckpointMetadata.format_version.
const metadataVersion = 1

// metadataOf puts the acks of p together.
func (c *Coordinator) metadataOf(p *checkpoint) *metapb.CheckpointMetadata {
	m := &metapb.CheckpointMetadata{
		FormatVersion: metadataVersion,
		ClusterId:     c.identity.ClusterID, JobId: string(c.identity.JobID), JobName: c.identity.JobName,
		CheckpointId: uint64(p.id), Kind: uint32(p.kind), Incarnation: uint64(c.incarnation),
		LeaderEpoch: c.identity.Epoch, TriggeredAtMs: p.triggeredAt.UnixMilli(), DurationMs: p.ackedAt.Sub(p.triggeredAt).Milliseconds(),
		HashName: stream.HashName, KeyGroups: stream.KeyGroups, PlanSha256: c.identity.PlanSHA256,
		StateIds: c.stateIDs, NextStateId: c.nextStateID,
	}
	byUID := map[string]*metapb.OperatorSnapshot{}
	for i := range p.parts {
		t := &p.parts[i]
		s := t.execution.Subtask
		parallelism := c.graph.Vertices[s.Vertex].Parallelism
		for _, o := range c.graph.Vertices[s.Vertex].Operators {
			uid := c.graph.Plan.Operators[o].Uid
			op := byUID[uid]
			if op == nil {
				op = &metapb.OperatorSnapshot{Uid: uid, Parallelism: uint32(parallelism), KeySchema: c.graph.Plan.Operators[o].KeySchema}
				byUID[uid] = op
				m.Operators = append(m.Operators, op)
			}
			op.Subtasks = append(op.Subtasks, t.snapshotOf(uid, parallelism))
		}
		m.StillReads = append(m.StillReads, t.stillReads...)
	}
	slices.SortFunc(m.Operators, func(a, b *metapb.OperatorSnapshot) int { return compareStrings(a.Uid, b.Uid) })
	slices.Sort(m.StillReads)
	m.StillReads = slices.Compact(m.StillReads)
	return m
}

// snapshotOf returns what the ack says of operator uid; an operator that has no
// state may be left out of it.
func (t *part) snapshotOf(uid string, parallelism int) *metapb.SubtaskSnapshot {
	r := stream.RangeOf(t.execution.Subtask.Index, parallelism)
	for _, op := range t.operators {
		if op.Uid == uid {
			s := op.Subtasks[0]
			s.FirstGroup, s.LastGroup = uint32(r.First), uint32(r.Last)
			return s
		}
	}
	return &metapb.SubtaskSnapshot{
		Index: uint32(t.execution.Subtask.Index), FirstGroup: uint32(r.First), LastGroup: uint32(r.Last),
		Watermark: noWatermark,
	}
}

// noWatermark is an absent watermark.
const noWatermark = -1 << 63

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// inFlight adds up the records in flight.
func inFlight(operators []*metapb.OperatorSnapshot) (sum uint64) {
	for _, op := range operators {
		for _, s := range op.Subtasks {
			for _, c := range s.ChannelStates {
				sum += c.Size
			}
		}
	}
	return sum
}

// stateBytes adds up the runs that m lists, each once, and the records in flight.
func stateBytes(m *metapb.CheckpointMetadata) uint64 {
	sum := inFlight(m.Operators)
	seen := map[string]bool{}
	for _, op := range m.Operators {
		for _, s := range op.Subtasks {
			for _, run := range s.Runs {
				if !seen[run.Id] {
					seen[run.Id] = true
					sum += run.Bytes
				}
			}
		}
	}
	return sum
}
