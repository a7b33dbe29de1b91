package loop

import (
	"context"
	"errors"
	"maps"
	"runtime/pprof"
	"sync"
	"time"
)

// ErrClosed is returned for an event that comes after Close; it will not be handled.
var ErrClosed = errors.New("loop is closed")

// ErrFull is returned for an event that finds Options.Capacity others waiting; the
// sender slows down or gives up.
var ErrFull = errors.New("mailbox is full")

// Options of a loop. The zero value is an unbounded mailbox on the system's clock.
type Options[E any] struct {
	// Name stands in profiles and goroutine dumps ("jobmaster 4f…").
	Name string
	// Capacity is how many posted events may wait; 0 = any number. Results of Go and
	// timers always find room, as the owner itself asked for them.
	Capacity int
	// Drop, if set, is called by the owner for each event that was accepted, or was the
	// result of Go, and will not be handled because the loop was closed: answer whoever
	// waits for it, release what it carries.
	Drop func(E)
	// Clock: nil = the system's.
	Clock Clock
}

// phase of a loop:
//
//	idle ──Run──▶ running ──Close──▶ closed ──▶ done
//	  └───────────Close────────────────▲   (Run then returns at once)
type phase uint8

const (
	idle    phase = iota // made, Run not called yet
	running              // events are handled
	closed               // nothing more is handled; goroutines are returning
	done                 // Run has returned
)

// Loop hands events of type E to one owner goroutine, in the order in which they came.
type Loop[E any] struct {
	// Immutable after New.
	name     string
	capacity int
	drop     func(E)
	clock    Clock
	ctx      context.Context // of the functions given to Go
	cancel   context.CancelFunc
	wake     chan struct{} // capacity 1: the mailbox or the phase changed
	finished chan struct{} // closed when Run returns

	running sync.WaitGroup // functions given to Go

	mu struct {
		sync.Mutex
		phase   phase
		queue   []item[E] // waiting, from head on
		head    int
		timers  map[*Timer]struct{}
		names   map[string]int // running functions by name
		handled uint64
		refused uint64
		meter   meter
	}
}

// item is an event and, if a timer sent it, that timer.
type item[E any] struct {
	event E
	timer *Timer
}

// Timer is a pending After.
type Timer struct {
	stop func() // set once by After
}

// Stop cancels the timer. If the owner calls it, the event is not handled any more,
// even when the time was already up. Stopping twice, or after the event, does nothing.
func (t *Timer) Stop() { t.stop() }

// New makes a loop; events may be posted at once, Run handles them.
func New[E any](o Options[E]) *Loop[E] {
	l := &Loop[E]{
		name: o.Name, capacity: o.Capacity, drop: o.Drop, clock: o.Clock,
		wake: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	if l.clock == nil {
		l.clock = system{}
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.mu.timers = map[*Timer]struct{}{}
	l.mu.names = map[string]int{}
	l.mu.meter.start = l.clock.Now()
	return l
}

// Run makes the calling goroutine the owner: it calls handle for one event after
// another until the loop is closed or ctx ends, waits for the functions given to Go
// (their context is cancelled), drops what is left, and returns. It is called once.
func (l *Loop[E]) Run(ctx context.Context, handle func(E)) {
	l.mu.Lock()
	switch l.mu.phase {
	case idle:
		l.mu.phase = running
	case closed:
	default:
		l.mu.Unlock()
		panic("weir: BUG: loop " + l.name + " is run twice")
	}
	l.mu.Unlock()
	defer context.AfterFunc(ctx, l.Close)()
	pprof.Do(ctx, pprof.Labels("loop", l.name), func(context.Context) {
		for {
			e, ok := l.next()
			if !ok {
				break
			}
			handle(e)
		}
	})
	l.running.Wait()
	l.mu.Lock()
	left := l.mu.queue[l.mu.head:]
	l.mu.queue, l.mu.head, l.mu.phase = nil, 0, done
	l.mu.Unlock()
	for _, it := range left {
		if l.drop != nil && it.timer == nil {
			l.drop(it.event)
		}
	}
	close(l.finished)
}

// next waits for an event; false once the loop is closed.
func (l *Loop[E]) next() (E, bool) {
	for {
		l.mu.Lock()
		if l.mu.phase != running {
			l.mu.Unlock()
			var none E
			return none, false
		}
		if l.mu.head < len(l.mu.queue) {
			e, live := l.pop()
			l.mu.Unlock()
			if live {
				return e, true
			}
			continue
		}
		l.mu.meter.rest(l.clock.Now())
		l.mu.Unlock()
		<-l.wake
	}
}

// pop takes the oldest event; live is false for one whose timer was stopped. With l.mu
// held.
func (l *Loop[E]) pop() (e E, live bool) {
	it := l.mu.queue[l.mu.head]
	l.mu.queue[l.mu.head] = item[E]{} // let go of what the event holds
	l.mu.head++
	if l.mu.head == len(l.mu.queue) {
		l.mu.queue, l.mu.head = l.mu.queue[:0], 0
	} else if l.mu.head >= 1024 && l.mu.head*2 >= len(l.mu.queue) {
		// A mailbox that never runs empty must not grow for ever.
		n := copy(l.mu.queue, l.mu.queue[l.mu.head:])
		clear(l.mu.queue[n:])
		l.mu.queue, l.mu.head = l.mu.queue[:n], 0
	}
	if it.timer != nil {
		if _, ok := l.mu.timers[it.timer]; !ok {
			return it.event, false
		}
		delete(l.mu.timers, it.timer)
	}
	if l.mu.meter.since.IsZero() {
		l.mu.meter.work(l.clock.Now())
	}
	l.mu.handled++
	return it.event, true
}

// Post hands an event to the owner. It never waits: the error is nil, ErrFull or
// ErrClosed. Events of one goroutine are handled in the order in which it posted them.
func (l *Loop[E]) Post(e E) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.phase >= closed {
		return ErrClosed
	}
	if l.capacity > 0 && len(l.mu.queue)-l.mu.head >= l.capacity {
		l.mu.refused++
		return ErrFull
	}
	l.push(item[E]{event: e})
	return nil
}

// push appends to the mailbox and wakes the owner. With l.mu held.
func (l *Loop[E]) push(it item[E]) {
	l.mu.queue = append(l.mu.queue, it)
	l.ring()
}

func (l *Loop[E]) ring() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Go runs work in a goroutine of its own and hands its result to the owner. work must
// return soon after its context ends. False: the loop is closed and work is not run.
func (l *Loop[E]) Go(name string, work func(ctx context.Context) E) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.phase >= closed {
		return false
	}
	l.mu.names[name]++
	l.running.Go(func() {
		pprof.Do(l.ctx, pprof.Labels("loop", l.name, "work", name), func(ctx context.Context) {
			e := work(ctx)
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.mu.names[name]--; l.mu.names[name] == 0 {
				delete(l.mu.names, name)
			}
			l.push(item[E]{event: e})
		})
	})
	return true
}

// After hands e to the owner once d has passed. On a closed loop it does nothing.
func (l *Loop[E]) After(d time.Duration, e E) *Timer {
	t := &Timer{stop: func() {}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.phase >= closed {
		return t
	}
	l.mu.timers[t] = struct{}{}
	stop := l.clock.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.mu.timers[t]; ok && l.mu.phase < closed {
			l.push(item[E]{event: e, timer: t})
		}
	})
	t.stop = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.mu.timers, t)
		stop()
	}
	return t
}

// Now is the loop's clock.
func (l *Loop[E]) Now() time.Time { return l.clock.Now() }

// Close ends the loop without waiting: no further event is handled (called by the
// owner: none after the present one), Post refuses, timers stop, and the context of the
// functions given to Go ends. It may be called more than once.
func (l *Loop[E]) Close() {
	l.mu.Lock()
	if l.mu.phase >= closed {
		l.mu.Unlock()
		return
	}
	l.mu.phase = closed
	timers := l.mu.timers
	l.mu.timers = map[*Timer]struct{}{}
	l.ring()
	l.mu.Unlock()
	l.cancel()
	for t := range timers {
		t.Stop()
	}
}

// Done is closed when Run has returned.
func (l *Loop[E]) Done() <-chan struct{} { return l.finished }

// Stop closes the loop and waits until Run has returned, and with it all goroutines. The
// owner must not call it, nor a function given to Go: they would wait for themselves;
// they call Close. Run must have been called, or be about to be.
func (l *Loop[E]) Stop() {
	l.Close()
	<-l.finished
}

// Stats says how a loop fares.
type Stats struct {
	Waiting    int            // events in the mailbox
	Handled    uint64         // events handled so far
	Refused    uint64         // posts that met ErrFull
	Saturation float64        // part of the last 4 s in which the owner was busy, 0 … 1
	Goroutines map[string]int // running functions by name
}

// Stats may be called from any goroutine.
func (l *Loop[E]) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Waiting:    len(l.mu.queue) - l.mu.head,
		Handled:    l.mu.handled,
		Refused:    l.mu.refused,
		Saturation: l.mu.meter.read(l.clock.Now()),
		Goroutines: maps.Clone(l.mu.names),
	}
}
