package taskmanager

import "sync"

// maxQueue bounds what waits for a peer that does not read: far more than any burst.
// Whoever is further behind is given up.
const maxQueue = 16 << 10

// queue is a hand-over from the loop to a goroutine that may block in a send.
type queue[T any] struct {
	mu     sync.Mutex
	items  []T
	closed bool
	ready  chan struct{} // cap 1
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

// put appends v; false: the peer is too far behind, and v is dropped.
func (q *queue[T]) put(v T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return true
	case len(q.items) >= maxQueue:
		return false
	}
	q.items = append(q.items, v)
	q.signal()
	return true
}

func (q *queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// close ends the queue; what is in it is still handed out.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// drain calls send for each item until the queue is closed and empty, send fails,
// or stop is closed.
func (q *queue[T]) drain(stop <-chan struct{}, send func(T) error) error {
	for {
		q.mu.Lock()
		items, closed := q.items, q.closed
		q.items = nil
		q.mu.Unlock()
		for _, v := range items {
			if err := send(v); err != nil {
				return err
			}
		}
		if len(items) > 0 {
			continue
		}
		if closed {
			return nil
		}
		select {
		case <-q.ready:
		case <-stop:
			return nil
		}
	}
}
