package restore

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// A large job: the figures that are promised are for this one.
const (
	manySubtasks   = 2000
	runsOfASubtask = 20
	mostMetadata   = 20 << 20 // bytes
)

// largeSnapshot is that of a keyed operator with many subtasks of many runs, as runlist
// writes them.
func largeSnapshot() *metapb.CheckpointMetadata {
	op := &metapb.OperatorSnapshot{Uid: "op", Parallelism: manySubtasks, KeySchema: []byte("string")}
	for i := range manySubtasks {
		r := stream.RangeOf(i, manySubtasks)
		sub := &metapb.SubtaskSnapshot{
			Index: uint32(i), FirstGroup: uint32(r.First), LastGroup: uint32(r.Last), Watermark: 1_700_000_000_000,
			Results: []*metapb.Result{{Name: "records", Value: &metapb.Result_Sum{Sum: 1 << 40}}},
			Schemas: []*metapb.Schema{{StateId: 1, Schema: make([]byte, 120), Kind: metapb.StateKind_STATE_KIND_VALUE}},
		}
		for n := range runsOfASubtask {
			id := fmt.Sprintf("e12345.n7-op-%d-%d", i, 1000+n)
			digest := sha256.Sum256([]byte(id))
			smallest := binary.BigEndian.AppendUint16(nil, uint16(r.First))
			sub.Runs = append(sub.Runs, &metapb.Run{
				Id: id, FirstGroup: uint32(r.First), LastGroup: uint32(r.Last), Entries: 1 << 17, Bytes: 1 << 23, FirstAck: uint64(4000 + n), Attempt: "e12345.n7",
				Files: []*metapb.RunFile{{
					Name: "shared/" + id + "-0.sst", Size: 1 << 23, TailDigest: digest[:], TailSize: 1 << 16, Digest: digest[:],
					Smallest: append(smallest, make([]byte, 22)...), Largest: append(smallest, make([]byte, 22)...),
				}},
			})
		}
		op.Subtasks = append(op.Subtasks, sub)
	}
	return &metapb.CheckpointMetadata{
		FormatVersion: 1, ClusterId: "weir", JobId: "0123456789abcdef0123456789abcdef", JobName: "large", CheckpointId: 4019, Kind: 1, Incarnation: 7,
		HashName: "xxh3-64/seed0", KeyGroups: stream.KeyGroups, NextStateId: 2, Operators: []*metapb.OperatorSnapshot{op},
		StateIds: []*metapb.StateID{{Uid: "op", Name: "s", Id: 1}},
	}
}

func largePlan() *metapb.Plan {
	return plan(&metapb.State{Name: "s", Kind: metapb.StateKind_STATE_KIND_VALUE}, &metapb.State{Name: "records", Kind: metapb.StateKind_STATE_KIND_RESULT})
}

// TestLargeMetadata: what a _metadata takes is bounded by the number of runs (I21).
func TestLargeMetadata(t *testing.T) {
	file, err := metadata.Encode(largeSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	if len(file) > mostMetadata {
		t.Errorf("_metadata of %d subtasks with %d runs each takes %d bytes, the most is %d", manySubtasks, runsOfASubtask, len(file), mostMetadata)
	}
}

// BenchmarkLarge measures what a restart of a large job costs the JobManager.
func BenchmarkLarge(b *testing.B) {
	m := largeSnapshot()
	file, err := metadata.Encode(m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			if _, err := metadata.Encode(m); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(file))/(1<<20), "MiB")
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := metadata.Decode(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, p := range []int{manySubtasks, manySubtasks * 3 / 4, manySubtasks * 2} {
		g, err := job.NewGraph(largePlan(), p)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("plan-%d-to-%d", manySubtasks, p), func(b *testing.B) {
			for b.Loop() {
				if _, err := Plan(m, g, Options{Folder: "/job"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
