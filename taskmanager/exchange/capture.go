package exchange

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// overtakes reports whether a barrier may overtake the records of an edge. Not where
// a record has one place to go: a broadcast one must reach all consumers on the same
// side of the barrier, and what flows from one subtask to its counterpart, or names
// its consumer, could not be given to others after a rescale.
func overtakes(e job.Edge) bool {
	return e.Distribution == metapb.Distribution_DISTRIBUTION_HASH || e.Distribution == metapb.Distribution_DISTRIBUTION_REBALANCE
}

// Announcement says that a barrier which may overtake has come on a channel, where
// records before it may wait.
type Announcement struct {
	Channel int
	Barrier stream.Barrier
	since   time.Time
}

// announces reports whether e is a barrier that may overtake c's records.
func (c *channel) announces(e stream.Event) bool {
	return e.Kind == stream.BarrierEvent && (e.Barrier.Unaligned || e.Barrier.AlignmentTimeout > 0) && overtakes(c.gate.fabric.graph.Edges[c.edge])
}

// Attend has f called, from any goroutine, whenever there is News: the loop must look
// before the next record.
func (g *Gate) Attend(f func()) {
	g.mu.Lock()
	g.attend = f
	early := len(g.news) > 0
	g.mu.Unlock()
	if early {
		f()
	}
}

// Overtakes says, by channel, whether a barrier may overtake its records.
func (g *Gate) Overtakes() []bool {
	all := make([]bool, len(g.channels))
	for i, c := range g.channels {
		all[i] = overtakes(g.fabric.graph.Edges[c.edge])
	}
	return all
}

// News takes the barriers that have come since the last call, with their ages as of
// now. They stand in their channels' queues all the same, until Poll delivers them or
// Capture takes them out.
func (g *Gate) News() []Announcement {
	g.mu.Lock()
	news := g.news
	g.news = nil
	g.mu.Unlock()
	for i := range news {
		news[i].Barrier.Age += time.Since(news[i].since)
	}
	return news
}

// capture is what an unaligned checkpoint keeps of the records in flight.
type capture struct {
	id     stream.CheckpointID
	open   []bool     // by channel: it is being captured
	inputs []Captured // by input of the vertex
	bytes  int
}

// Captured is what was in flight to one input, each channel's records in their order.
type Captured struct {
	Input   int
	Records uint64
	Size    int // bytes of the pieces
	chunks  []chunk
}

// chunk is a piece: as it was restored, or a frame that has yet to be made one. A frame
// may still be in its channel's queue.
type chunk struct {
	piece piece
	frame *frame
}

// AppendPieces appends what was captured (format.go), in any goroutine.
func (c *Captured) AppendPieces(dst []byte) []byte {
	for _, k := range c.chunks {
		if k.frame != nil {
			dst = k.frame.appendPiece(dst)
		} else {
			dst = append(dst, k.piece...)
		}
	}
	return dst
}

// Release gives back what c holds; it is empty then.
func (c *Captured) Release() {
	for _, k := range c.chunks {
		if k.frame != nil {
			k.frame.release()
		}
	}
	c.chunks = nil
}

func (c *Captured) add(k chunk, bytes, records int) {
	c.chunks = append(c.chunks, k)
	c.Size += bytes
	c.Records += uint64(records)
}

// restoredPiece is a piece of what was in flight when the checkpoint was taken that
// this attempt starts from.
type restoredPiece struct {
	input int
	piece piece
}

// BeginCapture begins to capture for checkpoint id: what is left of it, the item being
// read (its records from index at on; none if it has no batch), and of what was
// restored is kept. Channels follow by Capture.
func (g *Gate) BeginCapture(id stream.CheckpointID, it Item, at int) {
	g.owner.Touch()
	g.capture = &capture{id: id, open: make([]bool, len(g.channels)), inputs: make([]Captured, len(g.edges))}
	g.mu.Lock()
	for _, c := range g.channels {
		c.kept = 0
	}
	g.mu.Unlock()
	if it.Batch != nil {
		g.capture.add(it.Input, g.edges[it.Input], it.Batch, at)
	}
	for i := range g.restored.Len() {
		p := g.restored.At(i)
		g.capture.inputs[p.input].add(chunk{piece: p.piece}, len(p.piece), p.piece.records())
		g.capture.bytes += len(p.piece)
	}
}

// add captures the records of a batch. They are encoded at once: the batch is recycled
// when it has been read.
func (k *capture) add(input int, e AnyEdge, batch any, from int) {
	e.frames(batch, from, func(f *frame) { k.addFrame(input, f) })
}

// addFrame captures a frame, which has a holder more already.
func (k *capture) addFrame(input int, f *frame) {
	bytes := pieceBytes + len(f.payload())
	k.inputs[input].add(chunk{frame: f}, bytes, int(f.header().count))
	k.bytes += bytes
}

// capturing reports whether what c delivers is to be captured.
func (g *Gate) capturing(c *channel) bool { return g.capture != nil && g.capture.open[c.number] }

// keep captures an entry of c's queue.
func (g *Gate) keep(c *channel, e entry) {
	switch {
	case e.batch != nil:
		g.capture.add(c.input, g.edges[c.input], e.batch, 0)
	case e.frame != nil:
		e.frame.hold()
		g.capture.addFrame(c.input, e.frame)
	}
}

// Capture keeps what channel ch holds before the barrier of the checkpoint that
// BeginCapture named; ended says that the barrier was there, which is then taken out
// of the queue. Until it has come what Poll delivers from ch is kept too: call Capture
// again when News names the channel.
func (g *Gate) Capture(ch int) (ended bool) {
	g.owner.Touch()
	c, k := g.channels[ch], g.capture
	k.open[ch] = true
	// Nobody but this goroutine takes entries out, so those that are there stay while
	// they are encoded without the lock.
	g.mu.Lock()
	var entries []entry
	for i := c.kept; i < c.queue.Len(); i++ {
		e := *c.queue.At(i)
		if e.event.Kind == stream.BarrierEvent && e.event.Barrier.ID >= k.id {
			ended = e.event.Barrier.ID == k.id
			if ended {
				c.queue.Remove(i)
			}
			break
		}
		entries = append(entries, e)
	}
	c.kept += len(entries)
	if ended {
		c.kept = 0
		k.open[ch] = false
	}
	g.mu.Unlock()
	for _, e := range entries {
		g.keep(c, e)
	}
	return ended
}

// CloseCapture ends the capture of channel ch: Poll has delivered its barrier.
func (g *Gate) CloseCapture(ch int) { g.capture.open[ch] = false }

// Capturing reports whether channel ch is being captured.
func (g *Gate) Capturing(ch int) bool { return g.capturing(g.channels[ch]) }

// CaptureBytes is how much has been captured.
func (g *Gate) CaptureBytes() int {
	if g.capture == nil {
		return 0
	}
	return g.capture.bytes
}

// CaptureLimit is how much may be: twice what all channels of the worker hold. More
// comes only if a producer's barrier does not come while its records do.
func (g *Gate) CaptureLimit() int {
	return int(2 * max(g.fabric.network.options.Memory, defaultMemory))
}

// EndCapture returns what was captured, to be released, and ends it.
func (g *Gate) EndCapture() (all []Captured) {
	if g.capture == nil {
		return nil
	}
	for input, c := range g.capture.inputs {
		if c.Input = input; c.Records > 0 {
			all = append(all, c)
		}
	}
	g.capture = nil
	return all
}

// DropCapture gives up what was captured.
func (g *Gate) DropCapture() {
	for _, c := range g.EndCapture() {
		c.Release()
	}
}

// Restore gives the gate what was in flight to the operator's input when the checkpoint
// was taken, before the first Poll; schema is that of the records. On a hash edge only
// the records of groups, the key groups of this subtask, are taken. Poll delivers them
// before all others, in the order of the calls.
func (g *Gate) Restore(input int, schema, pieces []byte, groups stream.KeyGroupRange) error {
	g.owner.Touch()
	e := g.edges[input]
	move, err := e.from(schema)
	if err != nil {
		return fmt.Errorf("%w: %w", statebackend.ErrSchema, err)
	}
	for len(pieces) > 0 {
		p, rest, err := cutPiece(pieces)
		if err != nil {
			return err
		}
		if move != nil {
			if p, err = movePiece(p, move); err != nil {
				return err
			}
		}
		batch, err := g.decodePiece(input, p)
		if err != nil {
			return err
		}
		dropped, err := e.keepOnly(batch, groups)
		if err != nil {
			return err
		}
		if dropped > 0 || p.flags() != e.pieceFlags() {
			fresh := appendPieces(nil, e, batch)
			for len(fresh) > 0 {
				p, fresh, _ = cutPiece(fresh) // as we made it
				g.restored.Push(restoredPiece{input, p})
			}
		} else {
			g.restored.Push(restoredPiece{input, p})
		}
		e.recycle(batch)
		g.spare[input] = batch
		pieces = rest
	}
	return nil
}

func (g *Gate) pollRestored() (Item, bool) {
	p := g.restored.Pop()
	batch, err := g.decodePiece(p.input, p.piece)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: a restored piece was readable before: %v", err))
	}
	return Item{Channel: Restored, Input: p.input, Batch: batch}, true
}

// decodePiece decodes a piece that cutPiece has checked.
func (g *Gate) decodePiece(input int, p piece) (batch any, err error) {
	free := g.spare[input]
	g.spare[input] = nil
	f := newFrame()
	defer f.release()
	header{kind: dataFrame, flags: p.flags(), count: uint16(p.records())}.put(f.buf)
	f.buf = append(f.buf, p.payload()...)
	return g.edges[input].decodePiece(f, free)
}
