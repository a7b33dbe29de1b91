package exchange

import (
	"sync"

	"github.com/weirstream/weir/internal/ring"
	"github.com/weirstream/weir/stream"
)

// remoteLane is the producer's end of a channel to another worker. Data frames
// cost credit, which the consumer grants: a frame may be sent while credit is
// positive, so the last one may overdraw it (the channel's reserve). Events cost
// none, but wait their turn.
type remoteLane struct {
	// Immutable after newLane.
	peer           *peer
	edge, from, to int
	mayOvertake    bool // barriers may overtake this edge's records

	mu sync.Mutex
	// Guarded by mu.
	core   *outputCore // nil until the producer is there
	credit int64       // bytes that may still be sent; negative when overdrawn
	window int64       // the first grant
	queue  ring.Ring[*frame]
	full   bool // core counts this lane as full
	urgent bool // a barrier that overtakes may be in queue
	hint   int  // of a hint that came before the producer
	hinted bool
}

// frameCost is the credit of a full frame.
const frameCost = headerBytes + frameBytes

// maxOverdraft is how much may be sent beyond what is granted, ahead of a barrier that
// overtakes: what a producer has emitted since it found no room, which is a batch and
// what one call emits. It need not be captured here, then; the consumer captures it.
const maxOverdraft = 512 << 10

func (l *remoteLane) newFrame() *frame { return l.frame(dataFrame) }

func (l *remoteLane) frame(kind frameKind) *frame {
	return l.peer.newFrame(kind, l.edge, l.from, l.to)
}

// wantLocked is the credit below which the lane has no room: that of a full frame, or a
// third of a window too small for three. The consumer keeps back less than a quarter
// of the window, so an idle channel always has room.
func (l *remoteLane) wantLocked() int64 {
	if l.window == 0 {
		return frameCost
	}
	return min(frameCost, l.window/3)
}

// connect makes c the producer. Until the first grant there is no room.
func (l *remoteLane) connect(c *outputCore) {
	l.mu.Lock()
	l.core = c
	l.full = l.credit < l.wantLocked()
	full, hint, hinted := l.full, l.hint, l.hinted
	l.hinted = false
	if full {
		c.laneFilled() // not after unlock: a grant could undo it first
	}
	l.mu.Unlock()
	if hinted {
		c.hint(l.to, hint)
	}
}

func (l *remoteLane) hasRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full
}

// send hands a data frame to the connection, or queues it for want of credit.
func (l *remoteLane) send(f *frame) (filled, overdrawn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	overdrawn = l.full
	if l.queue.Len() == 0 && l.credit > 0 {
		l.credit -= f.cost()
		l.peer.enqueue(f)
	} else {
		l.queue.Push(f)
	}
	if !l.full && (l.credit < l.wantLocked() || l.queue.Len() > 0) {
		l.full, filled = true, true
	}
	return filled, overdrawn
}

func (l *remoteLane) sendEvent(e stream.Event) {
	f := l.frame(eventFrame)
	f.putEvent(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.Len() == 0 {
		l.peer.enqueue(f)
		return
	}
	l.queue.Push(f)
	if e.Barrier.Unaligned && l.mayOvertake {
		l.urgent = true
		l.expediteLocked()
	}
}

// holds reports whether a barrier waits here for credit.
func (l *remoteLane) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.queue.Len() {
		if (*l.queue.At(i)).barrier() != 0 {
			return true
		}
	}
	return false
}

// expedite turns a barrier that waits here into one that overtakes.
func (l *remoteLane) expedite(id stream.CheckpointID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.queue.Len() {
		if f := *l.queue.At(i); f.barrier() == id {
			f.overtake()
			l.urgent = true
			l.expediteLocked()
			return
		}
	}
}

// expediteLocked sends what lies before a barrier that overtakes without credit, as far
// as the overdraft goes, and the barrier.
func (l *remoteLane) expediteLocked() {
	if l.window == 0 {
		return // the consumer is not there yet
	}
	last := -1
	for i := range l.queue.Len() {
		if (*l.queue.At(i)).barrier() != 0 {
			last = i
		}
	}
	for ; last >= 0; last-- {
		f := *l.queue.Peek()
		if f.header().kind == dataFrame {
			if -l.credit >= maxOverdraft {
				return
			}
			l.credit -= f.cost()
		}
		l.peer.enqueue(l.queue.Pop())
	}
	l.urgent = false
}

// granted adds credit that the consumer returned, and sends what waited for it.
func (l *remoteLane) granted(bytes int64) {
	l.mu.Lock()
	if l.window == 0 {
		l.window = bytes
	}
	l.credit += bytes
	for l.queue.Len() > 0 {
		f := *l.queue.Peek()
		if f.header().kind == dataFrame {
			if l.credit <= 0 {
				break
			}
			l.credit -= f.cost()
		}
		l.peer.enqueue(l.queue.Pop())
	}
	if l.urgent {
		l.expediteLocked()
	}
	// As inside a worker, the producer starts again when half of the room is free.
	var freed *outputCore
	if l.full && l.queue.Len() == 0 && l.credit >= l.window/2 {
		l.full, freed = false, l.core
	}
	l.mu.Unlock()
	if freed != nil {
		freed.laneFreed()
	}
}

// hintFrom takes the consumer's hint.
func (l *remoteLane) hintFrom(want int) {
	l.mu.Lock()
	c := l.core
	l.hint, l.hinted = want, c == nil
	l.mu.Unlock()
	if c != nil {
		c.hint(l.to, want)
	}
}
