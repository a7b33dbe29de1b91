package exchange

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Output is the producer's end of an edge: it places records on the edge's
// channels. Its dynamic type is also an operator.Receiver[T]. Everything is called
// by the subtask's goroutine, Stats by anyone.
type Output interface {
	// Room reports whether the next record may be taken: every channel has room for
	// a whole batch beyond its reserve (a rebalanced edge: one channel has). When it
	// turns true again, wake is called.
	Room() bool
	// Flush hands over every record emitted so far; consumers are woken at once.
	Flush()
	// FlushDue hands over the records that have waited for long enough, and says how
	// long after now it must be called again; 0 when no record waits. A record's wait
	// is counted from the first FlushDue after it was emitted.
	FlushDue(now time.Time) (next time.Duration)
	// Broadcast flushes, then sends e on every channel. An event needs no room.
	Broadcast(e stream.Event)
	// Held reports whether a barrier waits for its consumer to take records before it.
	Held() bool
	// Expedite lets the barrier of checkpoint id, if it is held, overtake what is before
	// it, where the edge allows that.
	Expedite(id stream.CheckpointID)
	// Hints takes what the consumers of a direct edge asked for since the last call,
	// the latest of each. wake is called when there is something new.
	Hints() []Hint
	// Stats is a reading of the counters, from any goroutine.
	Stats() OutputStats
	// Close ends the output; what was not flushed is dropped.
	Close()
}

// Hint is what one consumer of a direct edge asked for (Gate.Hint).
type Hint struct {
	Subtask int // index of the consumer
	Want    int
}

// OutputStats counts since the output was made.
type OutputStats struct {
	Records   uint64 // handed over; a broadcast record counts once for each channel
	Batches   uint64
	Bytes     uint64 // encoded, for other workers
	Overdrawn uint64 // batches handed over though the channel had no room
	Dropped   uint64 // batches for a consumer that was closed
}

const (
	// frameBytes is the size of a full frame's payload and of a full batch. 32 KiB is
	// where the cost of a system call (~7 µs) falls below that of copying (performance
	// measurements: 2.3–2.9 GiB/s on loopback).
	frameBytes = 32 << 10
	// minBatch keeps the cost of a hand-over small for the widest records.
	minBatch = 16
	// maxBatches is the most batches a channel inside a worker takes before it is
	// full: at 100 ns a record 0.4 ms of work, which hides the wake-up of a goroutine.
	maxBatches = 8
	// minBatches is the least, so that producer and consumer can work side by side.
	minBatches = 2
	// flushEvery is how long a record waits for its batch to fill, for up to
	// channelsPerFlush channels; the wait grows with their number, because each flush
	// costs a frame and a wake-up a channel, up to maxFlushEvery.
	flushEvery       = time.Millisecond
	channelsPerFlush = 16
	maxFlushEvery    = 20 * time.Millisecond
)

// flushInterval is how long a record may wait on an edge of channels many channels.
func flushInterval(channels int) time.Duration {
	return min(flushEvery*time.Duration(max(1, channels/channelsPerFlush)), maxFlushEvery)
}

// outputConfig is what a Fabric knows about an output.
type outputConfig struct {
	subtask      job.SubtaskID
	distribution metapb.Distribution
	rt           *operator.Runtime
	wake         func()
	lanes        []laneEnd
	budget       int64 // bytes for each channel
}

// laneEnd leads to one consumer: one of the two is set.
type laneEnd struct {
	local  *channel
	remote *remoteLane
}

// outputCore is the untyped half of an output.
type outputCore struct {
	owner invariants.Owned // the producer's goroutine

	// Immutable after link.
	rt      *operator.Runtime
	wake    func()
	mayFill int32 // lanes that may be full while there is room

	full   atomic.Int32 // lanes without room
	closed atomic.Bool

	records, batches, bytes, overdrawn, dropped atomic.Uint64

	mu    sync.Mutex
	hints map[int]int // guarded by mu: latest hint of each consumer, not yet taken
}

func (c *outputCore) core() *outputCore { return c }

// laneFilled notes that a lane has no more room: a hand-over took the last of it, or
// its consumer has ended.
func (c *outputCore) laneFilled() {
	if c.full.Add(1) > c.mayFill {
		c.rt.Attention.Store(true)
	}
}

// laneFreed notes that a full lane has room again; called by the consumer or the
// connection, without lock.
func (c *outputCore) laneFreed() {
	// Only the step across the limit wakes; the producer found no room before it.
	if c.full.Add(-1) == c.mayFill && c.wake != nil {
		c.wake()
	}
}

func (c *outputCore) hint(subtask, want int) {
	c.mu.Lock()
	if c.hints == nil {
		c.hints = map[int]int{}
	}
	c.hints[subtask] = want
	c.mu.Unlock()
	if c.wake != nil {
		c.wake()
	}
}

// Room implements Output.
func (c *outputCore) Room() bool {
	c.owner.Touch()
	return c.full.Load() <= c.mayFill && !c.closed.Load()
}

// Hints implements Output.
func (c *outputCore) Hints() []Hint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.hints) == 0 {
		return nil
	}
	hints := make([]Hint, 0, len(c.hints))
	for s, w := range c.hints {
		hints = append(hints, Hint{Subtask: s, Want: w})
	}
	clear(c.hints)
	slices.SortFunc(hints, func(a, b Hint) int { return a.Subtask - b.Subtask })
	return hints
}

// Stats implements Output.
func (c *outputCore) Stats() OutputStats {
	return OutputStats{
		Records: c.records.Load(), Batches: c.batches.Load(), Bytes: c.bytes.Load(),
		Overdrawn: c.overdrawn.Load(), Dropped: c.dropped.Load(),
	}
}

// shut makes the output roomless for ever and lets its loop look up.
func (c *outputCore) shut() {
	if !c.closed.Swap(true) && c.wake != nil {
		c.wake()
	}
}
