// Package sendqueue is the hand-over from an owner that must never wait to the one
// goroutine that waits in its place: the sender of a control stream.
//
// # Overload
//
// A queue holds Capacity messages, far more than any burst. A peer that is further
// behind than that does not read: nothing of what it is told may be left out, so the
// peer as a whole is given up. Put says so, and its caller ends the stream (the agent
// and the JobManager: the other end counts as lost; a worker: it ends, for without
// its agent it is of no use). There is no other policy.
//
// A Queue starts no goroutine; Put and Close may be called from any, Take and Drain by
// one.
package sendqueue

import (
	"fmt"
	"sync"
)

// Capacity bounds what waits for a peer that does not read.
const Capacity = 16 << 10

// ErrBehind is why a stream ends whose peer does not read.
var ErrBehind = fmt.Errorf("%d messages wait for it to read", Capacity)

// Queue keeps messages in order.
type Queue[T any] struct {
	ready chan struct{} // capacity 1: something is there, or it is closed

	mu sync.Mutex
	// Guarded by mu.
	items  []T
	closed bool
}

// New returns an empty queue.
func New[T any]() *Queue[T] { return &Queue[T]{ready: make(chan struct{}, 1)} }

// Put appends v. False: the peer is too far behind and v is not kept; the caller gives
// the peer up. After Close v is dropped: there is no peer any more.
func (q *Queue[T]) Put(v T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return true
	case len(q.items) >= Capacity:
		return false
	}
	q.items = append(q.items, v)
	q.signal()
	return true
}

func (q *Queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Close ends the queue; what is in it is still handed out.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// Ready is signalled when Take has something to give.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

// Take returns what is there, in order; over says that nothing will follow.
func (q *Queue[T]) Take() (items []T, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, nil
	return items, q.closed
}

// Drain calls send for each message until the queue is closed and empty, send fails,
// or stop is closed.
func (q *Queue[T]) Drain(stop <-chan struct{}, send func(T) error) error {
	for {
		items, over := q.Take()
		for _, v := range items {
			if err := send(v); err != nil {
				return err
			}
		}
		if over {
			return nil
		}
		if len(items) > 0 {
			continue
		}
		select {
		case <-q.Ready():
		case <-stop:
			return nil
		}
	}
}
