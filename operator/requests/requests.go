package requests

import (
	"context"
	"sync"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// Options configures Requests. All must be set but one of One and Many.
type Options[T, B any] struct {
	operator.Asking
	// One gets the only result of a record, Many any number of them. They run in
	// goroutines of their own.
	One  func(ctx context.Context, v T) (B, error)
	Many func(ctx context.Context, v T) ([]B, error)

	Runtime *operator.Runtime
	Number  int32 // of the operator in its chain
	State   *operator.OperatorList[operator.Request[T]]
	Emit    func(B)
	// Failed takes a record whose request has failed for good.
	Failed func(v T, err error)
	// Pass takes what was held of event time. Wake wakes the loop, from any goroutine.
	Pass func(stream.Event)
	Wake func()
}

// Requests is an asynchronous operator in a subtask.
type Requests[T, B any] struct {
	o Options[T, B]

	// The queue, oldest first.
	front, back *item[T, B]
	records     int // in it
	running     int
	wait        *item[T, B]   // the first that no request was made for, or nil: none
	segment     int           // how many watermarks have left the queue
	segments    int           // how many have come
	ready       []*item[T, B] // unordered: done, of the segment at the front
	free        []*item[T, B]

	ctx     context.Context
	cancel  context.CancelFunc
	asking  sync.WaitGroup
	arrived struct {
		sync.Mutex
		items []*item[T, B]
	}
	taken []*item[T, B] // scratch
}

// item is a record in the queue, or what was told of event time.
type item[T, B any] struct {
	prev, next *item[T, B]
	event      stream.Event // Kind 0: a record
	v          T
	time       int64
	split      int32
	segment    int
	done       bool
	results    []B
	err        error
}

// New returns the operator.
func New[T, B any](o Options[T, B]) *Requests[T, B] {
	r := &Requests[T, B]{o: o}
	r.ctx, r.cancel = context.WithCancel(o.Runtime.Context)
	return r
}

// Open implements operator.Opener: requests that were under way at the snapshot are made
// again, before any other.
func (r *Requests[T, B]) Open() error {
	for _, q := range r.o.State.Get() {
		r.add(q.Record, q.Time, 0)
	}
	r.start()
	return nil
}

// Receive implements operator.Receiver.
func (r *Requests[T, B]) Receive(v T) {
	rt := r.o.Runtime
	r.add(v, rt.Time, rt.Split)
	r.start()
	if !r.Room() {
		rt.Attention.Store(true)
	}
}

func (r *Requests[T, B]) add(v T, at int64, split int32) {
	var it *item[T, B]
	if n := len(r.free); n > 0 {
		it, r.free = r.free[n-1], r.free[:n-1]
	} else {
		it = &item[T, B]{}
	}
	it.v, it.time, it.split, it.segment = v, at, split, r.segments
	r.push(it)
	r.records++
	if r.wait == nil {
		r.wait = it
	}
}

func (r *Requests[T, B]) push(it *item[T, B]) {
	if it.prev = r.back; r.back == nil {
		r.front = it
	} else {
		r.back.next = it
	}
	r.back = it
}

func (r *Requests[T, B]) remove(it *item[T, B]) {
	if it.prev == nil {
		r.front = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		r.back = it.prev
	} else {
		it.next.prev = it.prev
	}
}

// Room implements operator.Asynchronous.
func (r *Requests[T, B]) Room() bool { return r.records < r.o.Capacity }

// Pending implements operator.Asynchronous.
func (r *Requests[T, B]) Pending() bool { return r.front != nil }

// Hold implements operator.Asynchronous.
func (r *Requests[T, B]) Hold(e stream.Event) {
	switch {
	case r.front == nil:
		r.o.Pass(e)
		return
	case e.Kind == stream.WatermarkEvent && r.back.event.Kind == stream.WatermarkEvent:
		r.back.event = e // it says all that the one before did
		return
	}
	r.push(&item[T, B]{event: e, segment: r.segments})
	r.segments++
}

// start makes requests for the records that wait for one.
func (r *Requests[T, B]) start() {
	for r.wait != nil && r.running < r.o.Capacity {
		it := r.wait
		r.wait = it.next
		for r.wait != nil && r.wait.event.Kind != 0 {
			r.wait = r.wait.next
		}
		r.running++
		r.asking.Go(func() { r.ask(it) })
	}
}

// arrive leaves an item, whose request is over, for the loop.
func (r *Requests[T, B]) arrive(it *item[T, B]) {
	r.arrived.Lock()
	r.arrived.items = append(r.arrived.items, it)
	first := len(r.arrived.items) == 1
	r.arrived.Unlock()
	if first {
		r.o.Wake()
	}
}

// Advance implements operator.Asynchronous.
func (r *Requests[T, B]) Advance() (progress bool) {
	r.take()
	rt := r.o.Runtime
	for range stream.MaxBatch {
		it := r.next()
		if it == nil {
			break
		}
		progress = true
		r.remove(it)
		if it.event.Kind != 0 {
			r.passed(it)
			continue
		}
		r.records--
		r.emit(it)
		if rt.Attention.Load() {
			break
		}
	}
	r.start()
	return progress
}

// take notes what has arrived.
func (r *Requests[T, B]) take() {
	r.arrived.Lock()
	r.taken, r.arrived.items = r.arrived.items, r.taken[:0]
	r.arrived.Unlock()
	for i, it := range r.taken {
		it.done = true
		r.running--
		if !r.o.Ordered && it.segment == r.segment {
			r.ready = append(r.ready, it)
		}
		r.taken[i] = nil
	}
}

// next is what may leave the queue now, or nil.
func (r *Requests[T, B]) next() *item[T, B] {
	switch {
	case len(r.ready) > 0:
		it := r.ready[0]
		r.ready = r.ready[1:]
		return it
	case r.front == nil:
		return nil
	case r.front.event.Kind != 0 || r.o.Ordered && r.front.done:
		return r.front
	}
	return nil
}

// passed tells on what was held. What is done of the records behind it may leave then.
func (r *Requests[T, B]) passed(it *item[T, B]) {
	r.segment++
	r.o.Pass(it.event)
	if r.o.Ordered {
		return
	}
	r.ready = r.ready[:0]
	for it = r.front; it != nil && it.event.Kind == 0; it = it.next {
		if it.done {
			r.ready = append(r.ready, it)
		}
	}
}

// emit hands the results of a record on.
func (r *Requests[T, B]) emit(it *item[T, B]) {
	rt := r.o.Runtime
	rt.Operator, rt.Time, rt.Split = r.o.Number, it.time, it.split
	if it.err != nil {
		r.o.Failed(it.v, it.err)
	}
	for _, b := range it.results {
		r.o.Emit(b)
	}
	clear(it.results)
	*it = item[T, B]{results: it.results[:0]}
	r.free = append(r.free, it)
}

// Snapshot implements operator.Snapshotter.
func (r *Requests[T, B]) Snapshot(stream.CheckpointID) error {
	all := make([]operator.Request[T], 0, r.records)
	for it := r.front; it != nil; it = it.next {
		if it.event.Kind == 0 {
			all = append(all, operator.Request[T]{Record: it.v, Time: it.time})
		}
	}
	r.o.State.Set(all)
	return nil
}

// Close implements operator.Closer: it ends the requests and waits for them.
func (r *Requests[T, B]) Close() error {
	r.cancel()
	r.asking.Wait()
	return nil
}
