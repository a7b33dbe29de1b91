package exchange

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// hashOutput places a record by the key group of its key.
type hashOutput[T any] struct {
	sender[T]
	hash func(T) uint64 // Edge.Hash, one load nearer
}

// Receive implements operator.Receiver.
func (o *hashOutput[T]) Receive(v T) {
	hash := o.hash(v)
	l := &o.lanes[stream.SubtaskOf(stream.GroupOf(hash), len(o.lanes))]
	b := l.batch
	b.Values = append(b.Values, v)
	b.Hashes = append(b.Hashes, hash)
	if o.edge.HasTimes {
		b.Times = append(b.Times, o.rt.Time)
	}
	if o.isFull(l) {
		o.handOver(l)
	}
}

// forwardOutput has one consumer.
type forwardOutput[T any] struct{ sender[T] }

// Receive implements operator.Receiver.
func (o *forwardOutput[T]) Receive(v T) { o.put(&o.lanes[0], v) }

// rebalanceOutput gives a batch to each consumer in turn and skips those that have
// no room.
type rebalanceOutput[T any] struct {
	sender[T]
	turn int
}

// Receive implements operator.Receiver.
func (o *rebalanceOutput[T]) Receive(v T) {
	if len(o.lanes[o.turn].batch.Values) == 0 {
		o.choose()
	}
	o.put(&o.lanes[o.turn], v)
	o.moveOn()
}

// choose stays on the lane whose turn it is, or skips to the next that has room.
func (o *rebalanceOutput[T]) choose() {
	for range o.lanes {
		if o.lanes[o.turn].hasRoom() {
			return
		}
		o.next()
	}
}

// moveOn ends the lane's turn if its batch was handed over.
func (o *rebalanceOutput[T]) moveOn() {
	if len(o.lanes[o.turn].batch.Values) == 0 {
		o.next()
	}
}

func (o *rebalanceOutput[T]) next() {
	if o.turn++; o.turn == len(o.lanes) {
		o.turn = 0
	}
}

// Flush implements Output.
func (o *rebalanceOutput[T]) Flush() {
	if l := &o.lanes[o.turn]; len(l.batch.Values) > 0 {
		o.handOver(l)
		o.next()
	}
}

// FlushDue implements Output.
func (o *rebalanceOutput[T]) FlushDue(now time.Time) time.Duration {
	if len(o.lanes[o.turn].batch.Values) == 0 {
		return 0
	}
	next := o.sender.FlushDue(now)
	o.moveOn()
	return next
}

// Broadcast implements Output.
func (o *rebalanceOutput[T]) Broadcast(e stream.Event) {
	o.Flush()
	o.sendEvent(e)
}

// directOutput sends a record to the subtask it names.
type directOutput[T any] struct{ sender[T] }

// Receive implements operator.Receiver.
func (o *directOutput[T]) Receive(v T) {
	to := o.edge.Target(v)
	if to < 0 || to >= len(o.lanes) {
		o.rt.Fail(fmt.Errorf("record of %v names subtask %d of %d", o.edge.recordType(), to, len(o.lanes)))
		return
	}
	o.put(&o.lanes[to], v)
}

// broadcastOutput sends every record to every consumer. Records gather in the first
// lane's batch; the others get copies of its slices.
type broadcastOutput[T any] struct{ sender[T] }

// Receive implements operator.Receiver.
func (o *broadcastOutput[T]) Receive(v T) {
	l := &o.lanes[0]
	if o.add(l, v); o.isFull(l) {
		o.Flush()
	}
}

// Flush implements Output.
func (o *broadcastOutput[T]) Flush() {
	first := o.lanes[0].batch
	if len(first.Values) == 0 {
		return
	}
	for i := range o.lanes[1:] {
		l := &o.lanes[1+i]
		l.batch.Values = append(l.batch.Values, first.Values...)
		l.batch.Hashes = append(l.batch.Hashes, first.Hashes...)
		l.batch.Times = append(l.batch.Times, first.Times...)
		o.handOver(l)
	}
	o.handOver(&o.lanes[0])
}

// FlushDue implements Output.
func (o *broadcastOutput[T]) FlushDue(now time.Time) time.Duration {
	l := &o.lanes[0]
	if len(l.batch.Values) == 0 {
		return 0
	}
	if l.since.IsZero() {
		l.since = now
	}
	if due := l.since.Add(o.interval).Sub(now); due > 0 {
		return due
	}
	o.Flush()
	return 0
}

// Broadcast implements Output.
func (o *broadcastOutput[T]) Broadcast(e stream.Event) {
	o.Flush()
	o.sendEvent(e)
}

var _ operator.Receiver[int] = (*hashOutput[int])(nil)
