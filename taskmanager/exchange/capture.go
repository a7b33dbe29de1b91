package exchange

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
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
	before []Captured // of what was restored: the batch being read, and what is to come
	inputs []Captured // by input of the vertex
	bytes  int
}

// Captured is what was in flight to one input, each channel's records in their order.
type Captured struct {
	Input  int
	Schema []byte // of the records, if they are of another than the edge's
	Size   int    // bytes of the pieces at most
	frames []*frame
	rest   *rest
}

// rest is what had not been taken of a restored source.
type rest struct {
	source inflight.Source
	from   int64
	keep   func(inflight.Piece) ([]byte, error) // or nil
}

// Write writes what was captured and gives it back; in any goroutine.
func (c *Captured) Write(ctx context.Context, w *inflight.Writer) error {
	if c.rest != nil {
		return c.rest.source.CopyFrom(ctx, c.rest.from, c.rest.keep, w)
	}
	var buf []byte
	for i, f := range c.frames {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("write records in flight: %w", err)
		}
		buf = f.appendPiece(buf[:0])
		if err := w.Write(buf); err != nil {
			return err
		}
		f.release()
		c.frames[i] = nil
	}
	return nil
}

// Release gives back what c still holds; it is empty then.
func (c *Captured) Release() {
	for _, f := range c.frames {
		if f != nil {
			f.release()
		}
	}
	c.frames = nil
}

// BeginCapture begins to capture for checkpoint id: what is left of it, the item being
// read (its records from index at on; none if it has no batch), and of what was
// restored is kept, the latter by reference. Channels follow by Capture.
func (g *Gate) BeginCapture(id stream.CheckpointID, it Item, at int) {
	g.owner.Touch()
	g.capture = &capture{id: id, open: make([]bool, len(g.channels)), inputs: make([]Captured, len(g.edges))}
	g.mu.Lock()
	for _, c := range g.channels {
		c.kept = 0
	}
	g.mu.Unlock()
	switch {
	case it.Batch == nil:
	case it.Channel == Restored: // it comes before what is restored still
		g.capture.before = append(g.capture.before, Captured{Input: it.Input})
		g.capture.add(&g.capture.before[0], g.edges[it.Input], it.Batch, at)
	default:
		g.capture.add(&g.capture.inputs[it.Input], g.edges[it.Input], it.Batch, at)
	}
	g.capture.before = append(g.capture.before, g.restoredRest()...)
}

// add captures the records of a batch. They are encoded at once: the batch is recycled
// when it has been read.
func (k *capture) add(to *Captured, e AnyEdge, batch any, from int) {
	e.frames(batch, from, func(f *frame) { k.addFrame(to, f) })
}

// addFrame captures a frame, which has a holder more already. It may still be in its
// channel's queue.
func (k *capture) addFrame(to *Captured, f *frame) {
	bytes := inflight.HeaderBytes + len(f.payload())
	to.frames = append(to.frames, f)
	to.Size += bytes
	k.bytes += bytes
}

// capturing reports whether what c delivers is to be captured.
func (g *Gate) capturing(c *channel) bool { return g.capture != nil && g.capture.open[c.number] }

// keep captures an entry of c's queue.
func (g *Gate) keep(c *channel, e entry) {
	switch {
	case e.batch != nil:
		g.capture.add(&g.capture.inputs[c.input], g.edges[c.input], e.batch, 0)
	case e.frame != nil:
		e.frame.hold()
		g.capture.addFrame(&g.capture.inputs[c.input], e.frame)
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

// CaptureBytes is how much has been captured, what was restored aside.
func (g *Gate) CaptureBytes() int {
	if g.capture == nil {
		return 0
	}
	return g.capture.bytes
}

// CaptureLimit is how much may be: twice what all channels of the worker hold. More
// comes only if a producer's barrier does not come while its records do.
func (g *Gate) CaptureLimit() int {
	return int(2 * max(g.fabric.memory, defaultMemory))
}

// EndCapture returns what was captured, to be released, and ends it.
func (g *Gate) EndCapture() (all []Captured) {
	if g.capture == nil {
		return nil
	}
	all = g.capture.before
	for input, c := range g.capture.inputs {
		if c.Input = input; c.Size > 0 {
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
