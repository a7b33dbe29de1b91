package align

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/stream"
)

// phase of an Aligner.
//
//	           first barrier of an id > last, others missing
//	┌───────┐ ──────────────────────────────────────────────▶ ┌────────┐
//	│flowing│                                                 │aligning│─┐ same id: Block
//	└───────┘ ◀────────────────────────────────────────────── └────────┘◀┘ newer id: Abort,
//	           last barrier: Start · cancel(id ≥ current): Abort             align that one
type phase uint8

const (
	flowing phase = iota
	aligning
)

// Aligner is the barrier alignment of one subtask attempt. At most one checkpoint
// is aligned at a time; a barrier of a newer one ends it.
type Aligner struct {
	phase   phase
	arrived []bool // by channel: the current barrier has come
	ended   []bool // by channel: EndOfInput has come
	missing int    // channels whose current barrier has not come
	live    int    // channels that have not ended

	current    stream.Barrier
	first      time.Duration // when the first barrier of current came
	startDelay time.Duration
	injected   time.Duration // earliest injection that the barriers' ages tell of

	last    stream.CheckpointID // highest id started or aborted here
	started stream.CheckpointID // highest id started here
}

// New returns the aligner of a subtask with the given number of channels. Barriers
// of restored and older checkpoints are ignored.
func New(channels int, restored stream.CheckpointID) *Aligner {
	return &Aligner{
		arrived: make([]bool, channels), ended: make([]bool, channels),
		live: channels, last: restored, started: restored,
	}
}

// Aligning returns the checkpoint whose barrier some channels wait for, or 0.
func (a *Aligner) Aligning() stream.CheckpointID {
	if a.phase == aligning {
		return a.current.ID
	}
	return 0
}

// Step takes in one event that happened at now (any monotonic clock, always the
// same) and appends what has to be done to effects.
func (a *Aligner) Step(now time.Duration, e Event, effects []Effect) []Effect {
	switch e.Kind {
	case BarrierArrived:
		a.check(e)
		return a.barrier(now, e.Channel, e.Barrier, effects)
	case BarrierInjected:
		if len(a.arrived) != 0 {
			panic(fmt.Sprintf("weir: BUG: I9: barrier %d injected into a subtask with %d channels", e.Barrier.ID, len(a.arrived)))
		}
		if e.Barrier.ID <= a.last {
			return effects
		}
		a.current, a.first, a.startDelay, a.injected = e.Barrier, now, e.Barrier.Age, now-e.Barrier.Age
		return a.start(now, effects)
	case BarrierCancelled:
		return a.cancel(e.Barrier.ID, effects)
	case EndOfInput:
		a.check(e)
		if a.ended[e.Channel] {
			return effects
		}
		a.ended[e.Channel] = true
		if a.live--; a.live == 0 {
			effects = append(effects, Effect{Kind: InputEnded})
		}
		return effects
	}
	panic(fmt.Sprintf("weir: BUG: align event of kind %d", e.Kind))
}

func (a *Aligner) check(e Event) {
	if e.Channel < 0 || e.Channel >= len(a.arrived) {
		panic(fmt.Sprintf("weir: BUG: align event on channel %d of %d", e.Channel, len(a.arrived)))
	}
}

func (a *Aligner) barrier(now time.Duration, ch int, b stream.Barrier, effects []Effect) []Effect {
	if b.ID <= a.last {
		return effects // of a checkpoint that was aborted or superseded here
	}
	if a.phase == aligning && b.ID < a.current.ID {
		return effects
	}
	if a.phase == aligning && b.ID > a.current.ID {
		effects = a.abort(effects)
	}
	if a.phase == flowing {
		a.phase = aligning
		a.current, a.first, a.startDelay, a.injected = b, now, b.Age, now-b.Age
		a.missing = len(a.arrived)
	}
	if a.arrived[ch] {
		panic(fmt.Sprintf("weir: BUG: I9: barrier %d came twice on channel %d", b.ID, ch))
	}
	a.arrived[ch] = true
	a.current.Unaligned = a.current.Unaligned || b.Unaligned
	a.injected = min(a.injected, now-b.Age)
	if a.missing--; a.missing > 0 {
		return append(effects, Effect{Kind: Block, Channel: ch})
	}
	blocked := len(a.arrived) > 1
	effects = a.start(now, effects)
	if blocked {
		effects = append(effects, Effect{Kind: UnblockAll})
	}
	return effects
}

// start ends the alignment of current with its snapshot.
func (a *Aligner) start(now time.Duration, effects []Effect) []Effect {
	a.current.Age = now - a.injected
	a.last, a.started, a.phase = a.current.ID, a.current.ID, flowing
	clear(a.arrived)
	return append(effects, Effect{Kind: Start, Barrier: a.current, StartDelay: a.startDelay, Alignment: now - a.first})
}

// abort ends the alignment of current without a snapshot.
func (a *Aligner) abort(effects []Effect) []Effect {
	a.last, a.phase = a.current.ID, flowing
	clear(a.arrived)
	return append(effects, Effect{Kind: Abort, Barrier: stream.Barrier{ID: a.current.ID, Kind: a.current.Kind}}, Effect{Kind: UnblockAll})
}

func (a *Aligner) cancel(id stream.CheckpointID, effects []Effect) []Effect {
	// Ids ascend on every channel, so whoever cancels id will not complete an older
	// one that is still missing here either.
	if a.phase == aligning && id >= a.current.ID {
		effects = a.abort(effects)
	}
	switch {
	case id > a.last:
		// Its barrier may still come on another channel, and has perhaps reached
		// somebody downstream by another way.
		a.last = id
		effects = append(effects, Effect{Kind: Abort, Barrier: stream.Barrier{ID: id}})
	case id == a.started:
		effects = append(effects, Effect{Kind: AbortStarted, Barrier: stream.Barrier{ID: id}})
	}
	return effects
}
