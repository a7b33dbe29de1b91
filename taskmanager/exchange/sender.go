package exchange

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/internal/footprint"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// sender is the typed half of an output: a batch being filled for each lane, and
// how it is handed over. The outputs of the distributions embed it and differ in
// how they choose a lane.
type sender[T any] struct {
	outputCore
	edge     *Edge[T]
	lanes    []lane[T]
	capacity int // records of a batch
	weights  []footprint.Weight
	interval time.Duration
	width    int // bytes a record took in the last frame
}

// lane leads to one consumer.
type lane[T any] struct {
	laneEnd
	batch *stream.Batch[T] // being filled
	bytes int              // what its strings and slices weigh, if T has any
	since time.Time        // when FlushDue first saw it not empty; zero: not yet
}

func (e *Edge[T]) newOutput(c outputConfig) (Output, error) {
	var s *sender[T]
	var out Output
	switch c.distribution {
	case metapb.Distribution_DISTRIBUTION_HASH:
		o := &hashOutput[T]{hash: e.Hash}
		s, out = &o.sender, o
	case metapb.Distribution_DISTRIBUTION_FORWARD:
		o := &forwardOutput[T]{}
		s, out = &o.sender, o
	case metapb.Distribution_DISTRIBUTION_REBALANCE:
		// Start where no sibling starts, or all would fill the same consumer first.
		o := &rebalanceOutput[T]{turn: c.subtask.Index % len(c.lanes)}
		s, out = &o.sender, o
		s.mayFill = int32(len(c.lanes) - 1)
	case metapb.Distribution_DISTRIBUTION_BROADCAST:
		o := &broadcastOutput[T]{}
		s, out = &o.sender, o
	case metapb.Distribution_DISTRIBUTION_DIRECT:
		o := &directOutput[T]{}
		s, out = &o.sender, o
	default:
		return nil, fmt.Errorf("edge of %v has unknown distribution %v", e.recordType(), c.distribution)
	}
	s.init(e, c)
	return out, nil
}

func (s *sender[T]) init(e *Edge[T], c outputConfig) {
	s.rt, s.wake, s.edge = c.rt, c.wake, e
	width := footprint.Width[T]()
	s.capacity = s.capacityFor(c.budget)
	s.width = width
	s.weights = footprint.WeightsOf[T]()
	s.interval = flushInterval(len(c.lanes))
	batches := min(maxBatches, max(minBatches, int(c.budget)/(s.capacity*width)))
	s.lanes = make([]lane[T], len(c.lanes))
	for i, end := range c.lanes {
		l := &s.lanes[i]
		l.laneEnd, l.batch = end, e.newBatch(s.capacity)
		if end.local != nil {
			end.local.connect(&s.outputCore, batches)
		} else {
			end.remote.connect(&s.outputCore)
		}
	}
}

// capacityFor is the number of records of a full batch, on a channel of budget bytes.
func (*sender[T]) capacityFor(budget int64) int {
	bytes := min(frameBytes, max(1, budget/minBatches))
	return min(stream.MaxBatch, max(minBatch, int(bytes)/footprint.Width[T]()))
}

// put adds a record to lane l and hands the batch over when that fills it.
func (s *sender[T]) put(l *lane[T], v T) {
	if s.add(l, v); s.isFull(l) {
		s.handOver(l)
	}
}

// isFull reports whether the lane's batch is to be handed over, after a record was
// added.
func (s *sender[T]) isFull(l *lane[T]) bool {
	n := len(l.batch.Values)
	if s.weights != nil {
		l.bytes += footprint.Weigh(s.weights, &l.batch.Values[n-1])
		return n >= s.capacity || l.bytes >= frameBytes
	}
	return n >= s.capacity
}

// add appends a record to the lane's batch.
func (s *sender[T]) add(l *lane[T], v T) {
	b := l.batch
	b.Values = append(b.Values, v)
	if s.edge.Hash != nil {
		b.Hashes = append(b.Hashes, s.edge.Hash(v))
	}
	if s.edge.HasTimes {
		b.Times = append(b.Times, s.rt.Time)
	}
}

// handOver sends the lane's batch, if it has a record, and puts an empty one in its
// place.
func (s *sender[T]) handOver(l *lane[T]) {
	s.owner.Touch()
	n := len(l.batch.Values)
	if n == 0 {
		return
	}
	l.since, l.bytes = time.Time{}, 0
	if l.remote != nil {
		s.encode(l.remote, l.batch)
		s.edge.reset(l.batch)
		return
	}
	s.count(n)
	free, dropped, filled, overdrawn := l.local.handOver(l.batch)
	switch {
	case dropped:
		s.dropped.Add(1)
		s.edge.reset(l.batch)
		return
	case free != nil:
		l.batch = free.(*stream.Batch[T])
	default:
		l.batch = s.edge.newBatch(s.capacity)
	}
	s.handedOver(filled, overdrawn)
}

func (s *sender[T]) count(records int) {
	s.records.Add(uint64(records))
	s.batches.Add(1)
}

func (s *sender[T]) handedOver(filled, overdrawn bool) {
	if filled {
		s.laneFilled()
	}
	if overdrawn {
		s.overdrawn.Add(1)
	}
}

// encode sends the records of b in as many frames as they need.
func (s *sender[T]) encode(to *remoteLane, b *stream.Batch[T]) {
	for from := 0; from < len(b.Values); {
		n := min(len(b.Values)-from, max(1, frameBytes/s.width))
		f := to.newFrame()
		for {
			s.edge.encode(f, b, from, n)
			if len(f.payload()) <= frameBytes || n == 1 {
				break
			}
			n = min(n-1, max(1, n*frameBytes/(len(f.payload())+1)))
		}
		if size := len(f.payload()); size > maxRecordBytes {
			f.release()
			s.rt.Fail(fmt.Errorf("send a %v of %d bytes: the most is %d", s.edge.recordType(), size, maxRecordBytes))
			return
		}
		s.width = max(1, len(f.payload())/n)
		from += n
		s.count(n)
		s.bytes.Add(uint64(len(f.buf)))
		s.handedOver(to.send(f))
	}
}

// Flush implements Output.
func (s *sender[T]) Flush() {
	for i := range s.lanes {
		s.handOver(&s.lanes[i])
	}
}

// FlushDue implements Output.
func (s *sender[T]) FlushDue(now time.Time) (next time.Duration) {
	for i := range s.lanes {
		l := &s.lanes[i]
		if len(l.batch.Values) == 0 {
			continue
		}
		if l.since.IsZero() {
			l.since = now
		}
		due := l.since.Add(s.interval).Sub(now)
		if due <= 0 {
			s.handOver(l)
			continue
		}
		if next == 0 || due < next {
			next = due
		}
	}
	return next
}

// Broadcast implements Output.
func (s *sender[T]) Broadcast(e stream.Event) {
	s.Flush()
	s.sendEvent(e)
}

func (s *sender[T]) sendEvent(e stream.Event) {
	s.owner.Touch()
	for i := range s.lanes {
		if l := &s.lanes[i]; l.remote != nil {
			l.remote.sendEvent(e)
		} else {
			l.local.handOverEvent(e)
		}
	}
}

// Held implements Output.
func (s *sender[T]) Held() bool {
	for i := range s.lanes {
		if l := s.lanes[i].remote; l != nil && l.mayOvertake && l.holds() {
			return true
		}
	}
	return false
}

// Expedite implements Output.
func (s *sender[T]) Expedite(id stream.CheckpointID) {
	for i := range s.lanes {
		if l := s.lanes[i].remote; l != nil && l.mayOvertake {
			l.expedite(id)
		}
	}
}

// Close implements Output.
func (s *sender[T]) Close() {
	s.closed.Store(true)
	for i := range s.lanes {
		s.edge.reset(s.lanes[i].batch)
	}
}

// hasRoom reports whether the consumer takes another batch.
func (l *lane[T]) hasRoom() bool {
	if l.remote != nil {
		return l.remote.hasRoom()
	}
	return l.local.hasRoom()
}
