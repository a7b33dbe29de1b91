package session

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/weirpb"
)

// Pieces puts large acks together that came in pieces. The zero value is ready; it belongs
// to one goroutine.
type Pieces struct{ bySubtask map[subtask]*pieces }

type subtask struct{ vertex, index uint32 }

// pieces of an ack so far.
type pieces struct {
	checkpoint uint64
	data       []byte
	n          uint32
}

// Bounds of an ack in pieces: what a subtask of thousands of runs needs, and no more.
const (
	maxPieces   = 1 << 10
	maxAckBytes = 256 << 20
)

// Add takes a piece of an ack, and returns the ack when it is whole. Pieces come in order
// on one stream; what does not fit is dropped, and the checkpoint expires.
func (p *Pieces) Add(c *weirpb.CheckpointAckChunk) (*weirpb.CheckpointAck, error) {
	if p.bySubtask == nil {
		p.bySubtask = map[subtask]*pieces{}
	}
	k := subtask{c.Subtask.GetVertex(), c.Subtask.GetSubtask()}
	if c.Index == 0 { // what there is of the subtask's is of a checkpoint that is over
		p.bySubtask[k] = &pieces{checkpoint: c.CheckpointId}
	}
	a := p.bySubtask[k]
	if a == nil || a.checkpoint != c.CheckpointId || c.Index != a.n || c.Count > maxPieces || c.Index >= c.Count || len(a.data)+len(c.Data) > maxAckBytes {
		delete(p.bySubtask, k)
		return nil, nil
	}
	a.data = append(a.data, c.Data...)
	if a.n++; a.n < c.Count {
		return nil, nil
	}
	delete(p.bySubtask, k)
	ack := new(weirpb.CheckpointAck)
	if err := proto.Unmarshal(a.data, ack); err != nil {
		return nil, fmt.Errorf("decode ack of %d pieces, %d bytes: %w", c.Count, len(a.data), err)
	}
	return ack, nil
}
