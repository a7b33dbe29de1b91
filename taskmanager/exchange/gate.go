package exchange

import (
	"fmt"
	"sync"
	"time"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/internal/ring"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
)

// Item is what a channel delivers: a batch or an event.
type Item struct {
	Channel int // number in the gate; Restored for records that were in flight before
	Input   int // the vertex's input the channel belongs to
	// Batch is a *stream.Batch[T] of the input's record type with at least one record,
	// or nil. Whoever has read it to its end gives the item to Gate.Release.
	Batch any
	// Event is set (Kind is not 0) when Batch and Err are nil.
	Event stream.Event
	// Err says why there will be nothing more: what was in flight can't be restored.
	Err error

	bytes int64 // credit to return
}

// Restored is the Channel of items that a checkpoint had captured (Gate.Restore).
const Restored = -1

// gateState is the phase of a Gate: gateAwaited → gateAttached → gateClosed.
type gateState uint8

const (
	gateAwaited  gateState = iota // a producer is here, the consumer not yet
	gateAttached                  // the consumer polls
	gateClosed                    // what arrives is dropped
)

// Gate is the input side of one subtask: all channels of all its inputs. Its
// methods are called by the subtask's goroutine.
type Gate struct {
	owner invariants.Owned // the consumer's goroutine

	// Immutable after newGate.
	fabric   *Fabric
	subtask  job.SubtaskID
	channels []*channel
	first    []int // number of the first channel of each input

	// Immutable after attach.
	edges []AnyEdge
	wake  func()

	// Of the consumer's goroutine.
	restored *restored // taken before everything else; nil: all has been
	capture  *capture  // of an unaligned checkpoint, or nil
	metered  bool      // what Poll delivers is measured
	polled   uint64    // bytes, while it was
	scratch  []byte

	mu sync.Mutex
	// Guarded by mu, as are the channels' queues.
	state gateState
	ready ring.Ring[*channel] // channels that have something and are not blocked, in turn
	idle  bool                // Poll found nothing: whoever brings something must wake
	news  []Announcement
	// reading is what reads ahead what was restored, also when all of it has been taken.
	reading *inflight.Reader
	// attend is called, without lock, when there is news.
	attend func()
}

// channel is the consumer's end of one channel.
type channel struct {
	// Immutable after newGate.
	gate   *Gate
	number int
	input  int
	edge   int // index into the graph's edges
	from   job.SubtaskID
	peer   *peer // of the producer's worker; nil when that is this worker

	// Guarded by gate.mu.
	queue    ring.Ring[entry]
	queued   bool // stands in gate.ready
	blocked  bool
	broken   bool  // a frame could not be decoded
	kept     int   // entries at the front of queue that are captured
	free     []any // used batches, for the producer (in this worker) or for decode
	producer *outputCore
	hinted   bool // a hint came before the producer
	hint     int
	// Of a channel inside this worker.
	capacity int  // batches, beyond the reserve of one
	held     int  // batches handed over and not released
	full     bool // the producer counts this channel as full
	// Of a channel between workers, in bytes of frames.
	window    int64 // credit granted at attach
	overdraft int64 // that may come beyond it, before a barrier that overtakes
	unacked   int64 // received and not released
	owed      int64 // released, credit not yet returned
}

// entry is one place in a channel's queue.
type entry struct {
	batch any    // *stream.Batch[T]
	frame *frame // or an encoded batch
	event stream.Event
	since time.Time // of a barrier: when it got here
}

func newGate(f *Fabric, sub job.SubtaskID) *Gate {
	g := &Gate{fabric: f, subtask: sub, idle: true}
	vertex := f.graph.Vertices[sub.Vertex]
	for input, edge := range vertex.Inputs {
		g.first = append(g.first, len(g.channels))
		e := f.graph.Edges[edge]
		add := func(from int) {
			s := job.SubtaskID{Vertex: e.From, Index: from}
			c := &channel{
				gate: g, number: len(g.channels), input: input, edge: edge, from: s,
				capacity: maxBatches, window: f.window,
			}
			if overtakes(e) {
				c.overdraft = maxOverdraft
			}
			g.channels = append(g.channels, c)
		}
		if e.Distribution == metapb.Distribution_DISTRIBUTION_FORWARD {
			add(sub.Index)
			continue
		}
		for from := range f.graph.Vertices[e.From].Parallelism {
			add(from)
		}
	}
	return g
}

// channelFrom returns the channel that leads from the producer's subtask index
// over an edge of the graph; nil if there is none.
func (g *Gate) channelFrom(edge, from int) *channel {
	for input, first := range g.first {
		end := len(g.channels)
		if input+1 < len(g.first) {
			end = g.first[input+1]
		}
		if first == end || g.channels[first].edge != edge {
			continue
		}
		i := first
		if g.fabric.graph.Edges[edge].Distribution != metapb.Distribution_DISTRIBUTION_FORWARD {
			i += from
		}
		if i < end && g.channels[i].from.Index == from {
			return g.channels[i]
		}
		return nil
	}
	return nil
}

// Channels is the number of channels; they are numbered from 0, input by input, in
// order of the producers' subtask index.
func (g *Gate) Channels() int { return len(g.channels) }

// ChannelInput says which input of the vertex channel ch belongs to, and which
// subtask produces it.
func (g *Gate) ChannelInput(ch int) (input int, from job.SubtaskID) {
	c := g.channels[ch]
	return c.input, c.from
}

// Poll takes the next batch or event of a channel that is not blocked. Channels
// take turns. ok is false when there is none; then wake will be called once as soon
// as there is.
func (g *Gate) Poll() (it Item, ok bool) {
	g.owner.Touch()
	if g.restored != nil {
		if it, ok, over := g.pollRestored(); !over {
			return it, ok
		}
	}
	for {
		g.mu.Lock()
		if g.ready.Len() == 0 {
			g.idle = true
			g.mu.Unlock()
			return Item{}, false
		}
		c := g.ready.Pop()
		c.queued = false
		if c.blocked || c.broken || c.queue.Len() == 0 {
			g.mu.Unlock()
			continue
		}
		e := c.queue.Pop()
		kept := c.kept > 0
		if kept {
			c.kept--
		}
		g.enqueueLocked(c)
		var free any
		if e.frame != nil {
			free = c.takeFreeLocked()
		}
		g.mu.Unlock()

		if !kept && g.capturing(c) {
			g.keep(c, e)
		}
		it = Item{Channel: c.number, Input: c.input, Batch: e.batch, Event: e.event}
		switch {
		case e.event.Kind == stream.BarrierEvent:
			it.Event.Barrier.Age += time.Since(e.since)
		case e.frame != nil:
			if it.Batch, it.bytes, ok = g.decode(c, e.frame, free); !ok {
				continue
			}
		}
		if g.metered && it.Batch != nil {
			g.meter(it)
		}
		return it, true
	}
}

// Meter begins to measure what Poll delivers, or ends it, and returns how many bytes it
// was so far.
func (g *Gate) Meter(on bool) uint64 {
	n := g.polled
	if on != g.metered {
		g.metered, g.polled = on, 0
	}
	return n
}

// meter adds the bytes of a batch: those of its frame, or about those it would have.
func (g *Gate) meter(it Item) {
	n := int(it.bytes)
	if n == 0 {
		n, g.scratch = g.edges[it.Input].sizeOf(it.Batch, g.scratch)
	}
	g.polled += uint64(n)
}

// PollBarrier is Poll for a barrier, or the end of one, that is next in its channel; it
// takes nothing else.
func (g *Gate) PollBarrier() (it Item, ok bool) {
	g.owner.Touch()
	if g.restored != nil {
		return Item{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.ready.Len() {
		c := *g.ready.At(i)
		if c.blocked || c.broken || c.queue.Len() == 0 {
			continue
		}
		e := *c.queue.Peek()
		if e.event.Kind != stream.BarrierEvent && e.event.Kind != stream.CancelBarrierEvent {
			continue
		}
		c.queue.Pop() // c keeps its turn
		if c.kept > 0 {
			c.kept--
		}
		if e.event.Kind == stream.BarrierEvent {
			e.event.Barrier.Age += time.Since(e.since)
		}
		return Item{Channel: c.number, Input: c.input, Event: e.event}, true
	}
	g.idle = true
	return Item{}, false
}

// enqueueLocked gives c a turn if it has something to deliver.
func (g *Gate) enqueueLocked(c *channel) {
	if !c.queued && !c.blocked && !c.broken && c.queue.Len() > 0 {
		c.queued = true
		g.ready.Push(c)
	}
}

// decode turns a frame into a batch. A frame that cannot be decoded has passed its
// checksum, so the peer runs other code than we do: the connection is given up.
func (g *Gate) decode(c *channel, f *frame, free any) (batch any, bytes int64, ok bool) {
	bytes = f.cost()
	batch, err := g.edges[c.input].decode(f, free)
	f.release()
	if err != nil {
		g.mu.Lock()
		c.broken = true // or a barrier would pass for all records having come
		g.mu.Unlock()
		c.peer.fail(fmt.Errorf("decode frame of channel %v to %v: %w", c.from, g.subtask, err))
		return nil, 0, false
	}
	return batch, bytes, true
}

// Release gives back the batch of an item that was read to its end (of an event:
// nothing). The batch must not be touched afterwards; its records may be kept.
func (g *Gate) Release(it Item) {
	g.owner.Touch()
	if it.Batch == nil {
		return
	}
	if it.Channel == Restored {
		g.releaseRestored(it)
		return
	}
	c := g.channels[it.Channel]
	g.edges[c.input].recycle(it.Batch)
	if c.peer != nil {
		g.releaseRemote(c, it)
		return
	}
	var freed *outputCore
	g.mu.Lock()
	c.held--
	c.giveFreeLocked(it.Batch, c.capacity+2)
	// Half of the room must be free before the producer starts again, or it would be
	// woken for each batch.
	if c.full && c.held <= c.capacity/2 && g.state != gateClosed {
		c.full, freed = false, c.producer
	}
	g.mu.Unlock()
	if freed != nil {
		freed.laneFreed()
	}
}

func (g *Gate) releaseRemote(c *channel, it Item) {
	var grant int64
	g.mu.Lock()
	c.giveFreeLocked(it.Batch, 1)
	c.unacked -= it.bytes
	c.owed += it.bytes
	// A quarter of the window at a time makes few credit frames; see
	// remoteLane.wantLocked for why the rest may be kept back.
	if c.owed >= c.window/4 && g.state == gateAttached {
		grant, c.owed = c.owed, 0
	}
	g.mu.Unlock()
	if grant > 0 {
		c.peer.grant(c.edge, c.from.Index, g.subtask.Index, grant)
	}
}

func (c *channel) takeFreeLocked() any {
	n := len(c.free)
	if n == 0 {
		return nil
	}
	b := c.free[n-1]
	c.free[n-1] = nil
	c.free = c.free[:n-1]
	return b
}

func (c *channel) giveFreeLocked(batch any, most int) {
	if len(c.free) < most {
		c.free = append(c.free, batch)
	}
}

// Block stops Poll from delivering what channel ch brings; its producer may fill
// the channel's own room and no more.
func (g *Gate) Block(ch int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.channels[ch].blocked = true
}

// Unblock undoes Block.
func (g *Gate) Unblock(ch int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.channels[ch]
	c.blocked = false
	g.enqueueLocked(c)
}

// Hint tells the producers of the gate's direct edges that this subtask wants want
// items (an enumerator's reader: splits). Only the latest hint counts; it wakes the
// producer, which takes it with Output.Hints.
func (g *Gate) Hint(want int) {
	for _, c := range g.channels {
		if g.fabric.graph.Edges[c.edge].Distribution != metapb.Distribution_DISTRIBUTION_DIRECT {
			continue
		}
		if c.peer != nil {
			c.peer.hint(c.edge, c.from.Index, g.subtask.Index, want)
			continue
		}
		g.mu.Lock()
		p := c.producer
		c.hint, c.hinted = want, p == nil
		g.mu.Unlock()
		if p != nil {
			p.hint(g.subtask.Index, want)
		}
	}
}

// arrive queues e on c. If that ends the gate's idleness it returns the function
// that wakes the consumer, to be called without lock.
func (g *Gate) arriveLocked(c *channel, e entry) (wake func()) {
	c.queue.Push(e)
	g.enqueueLocked(c)
	if g.idle && c.queued {
		g.idle = false
		return g.wake
	}
	return nil
}

// handOver takes a batch from the producer in this worker. free is a used batch in
// exchange; nil if there is none.
func (c *channel) handOver(batch any) (free any, dropped, filled, overdrawn bool) {
	g := c.gate
	g.mu.Lock()
	if g.state == gateClosed {
		g.mu.Unlock()
		return nil, true, false, false
	}
	c.held++
	overdrawn = c.full
	if !c.full && c.held >= c.capacity {
		c.full, filled = true, true
	}
	free = c.takeFreeLocked()
	wake := g.arriveLocked(c, entry{batch: batch})
	g.mu.Unlock()
	if wake != nil {
		wake()
	}
	return free, false, filled, overdrawn
}

// handOverEvent queues an event behind what was handed over before.
func (c *channel) handOverEvent(e stream.Event) {
	g := c.gate
	in := entry{event: e}
	if e.Kind == stream.BarrierEvent {
		in.since = time.Now()
	}
	g.mu.Lock()
	var wake, attend func()
	if g.state != gateClosed {
		wake = g.arriveLocked(c, in)
		if c.announces(e) {
			g.news = append(g.news, Announcement{Channel: c.number, Barrier: e.Barrier, since: in.since})
			attend = g.attend
		}
	}
	g.mu.Unlock()
	if wake != nil {
		wake()
	}
	if attend != nil {
		attend()
	}
}

// attach makes g the gate of a running subtask.
func (g *Gate) attach(edges []AnyEdge, wake func()) error {
	g.mu.Lock()
	if g.state != gateAwaited {
		g.mu.Unlock()
		return fmt.Errorf("gate of subtask %v exists already in incarnation %d", g.subtask, g.fabric.incarnation)
	}
	g.state, g.edges, g.wake = gateAttached, edges, wake
	g.mu.Unlock()
	for _, c := range g.channels {
		if c.peer != nil {
			c.peer.grant(c.edge, c.from.Index, g.subtask.Index, c.window)
		}
	}
	return nil
}

// Close drops what is queued and what will come, and wakes the consumer. Producers
// find no more room.
func (g *Gate) Close() {
	g.mu.Lock()
	if g.state == gateClosed {
		g.mu.Unlock()
		return
	}
	g.state = gateClosed
	var filled []*outputCore
	for _, c := range g.channels {
		for c.queue.Len() > 0 {
			if e := c.queue.Pop(); e.frame != nil {
				e.frame.release()
			}
		}
		c.free = nil
		if c.producer != nil && !c.full {
			c.full = true
			filled = append(filled, c.producer)
		}
	}
	g.ready = ring.Ring[*channel]{}
	wake, reading := g.wake, g.reading
	g.mu.Unlock()
	if reading != nil {
		reading.Close()
	}
	for _, p := range filled {
		p.laneFilled()
	}
	if wake != nil {
		wake()
	}
}

// connect makes p the producer of c; batches is the room of the channel.
func (c *channel) connect(p *outputCore, batches int) {
	c.gate.mu.Lock()
	c.producer, c.capacity = p, batches
	if g := c.gate; g.state == gateClosed {
		c.full = true
		p.laneFilled()
	}
	hint, hinted := c.hint, c.hinted
	c.hinted = false
	c.gate.mu.Unlock()
	if hinted {
		p.hint(c.gate.subtask.Index, hint)
	}
}

// hasRoom reports whether a whole batch fits.
func (c *channel) hasRoom() bool {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return !c.full
}
