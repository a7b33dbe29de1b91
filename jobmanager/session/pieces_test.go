package session

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/weirpb"
)

// TestPieces: an ack comes together from its pieces in order; a piece that does not fit ends
// it, and disturbs no other subtask's.
func TestPieces(t *testing.T) {
	ack := func(subtask uint32, id uint64) (all []*weirpb.CheckpointAckChunk) {
		b, err := proto.Marshal(&weirpb.CheckpointAck{CheckpointId: id, StillReads: []string{"a", "b", "c"}, NewBytes: id})
		if err != nil {
			t.Fatal(err)
		}
		parts := slices.Collect(slices.Chunk(b, 3))
		for i, p := range parts {
			all = append(all, &weirpb.CheckpointAckChunk{CheckpointId: id, Subtask: &weirpb.SubtaskRef{Subtask: subtask}, Index: uint32(i), Count: uint32(len(parts)), Data: p})
		}
		return all
	}
	first, second := ack(0, 7), ack(1, 7)
	for name, c := range map[string]struct {
		pieces []*weirpb.CheckpointAckChunk
		acks   int
	}{
		"in order":               {first, 1},
		"of two subtasks":        {slices.Concat(first[:2], second, first[2:]), 2},
		"one is missing":         {slices.Concat(first[:1], first[2:]), 0},
		"one comes twice":        {slices.Concat(first[:2], first[1:]), 0},
		"the next begins":        {slices.Concat(first[:2], ack(0, 8)), 1},
		"of another checkpoint":  {slices.Concat(first[:2], ack(0, 8)[2:]), 0},
		"none begins":            {first[1:], 0},
		"too many are announced": {[]*weirpb.CheckpointAckChunk{{CheckpointId: 1, Count: maxPieces + 1}}, 0},
	} {
		var p Pieces
		acks := 0
		for _, piece := range c.pieces {
			a, err := p.Add(piece)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if a != nil {
				acks++
				if a.NewBytes != a.CheckpointId || len(a.StillReads) != 3 {
					t.Errorf("%s: %v", name, a)
				}
			}
		}
		if acks != c.acks {
			t.Errorf("%s: %d acks, want %d", name, acks, c.acks)
		}
	}
	var p Pieces
	if _, err := p.Add(&weirpb.CheckpointAckChunk{Count: 1, Data: []byte{0xff}}); err == nil {
		t.Error("garbage was taken for an ack")
	}
}
