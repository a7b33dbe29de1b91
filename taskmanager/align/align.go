package align

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/stream"
)

// Mode is the guarantee that barriers give.
type Mode uint8

const (
	// ExactlyOnce: no record from behind a barrier is in its snapshot.
	ExactlyOnce Mode = iota
	// AtLeastOnce: no channel ever waits, so records from behind a barrier that come
	// before the last barrier are in the snapshot, and come again after a restore.
	AtLeastOnce
)

// phase of an Aligner.
//
//	           first barrier of an id > last, others missing
//	┌───────┐ ──────────────────────────────────────────────▶ ┌────────┐
//	│flowing│                                                 │aligning│─┐ same id: Block
//	└───────┘ ◀────────────────────────────────────────────── └────────┘◀┘ newer id: Abort,
//	     ▲     last barrier: Start · cancel(id ≥ current): Abort   │         align that one
//	     │                                                         │ unaligned, and no channel
//	     │     last Captured: CaptureComplete     ┌─────────┐      │ that must align is missing:
//	     └─────────────────────────────────────── │capturing│ ◀────┘ Start, Capture the others
//	           cancel, newer id: AbortStarted     └─────────┘
type phase uint8

const (
	flowing phase = iota
	aligning
	capturing
)

// Options of an Aligner.
type Options struct {
	Channels int
	// Restored is the checkpoint restored from: its barrier and older ones are ignored.
	Restored stream.CheckpointID
	Mode     Mode
	// Overtakes says, by channel, whether a barrier may overtake the channel's records;
	// nil: on none.
	Overtakes []bool
}

// Aligner is the barrier alignment of one subtask attempt. At most one checkpoint
// is aligned at a time; a barrier of a newer one ends it.
type Aligner struct {
	mode      Mode
	overtakes []bool

	phase   phase
	arrived []bool // by channel: the current barrier has come, and every record before it
	ended   []bool // by channel: EndOfInput has come
	missing int    // channels whose current barrier has not arrived
	strict  int    // of them, channels whose records it may not overtake
	open    int    // channels being captured
	live    int    // channels that have not ended

	current    stream.Barrier
	first      time.Duration // when the first barrier of current came
	startDelay time.Duration
	injected   time.Duration // earliest injection that the barriers' ages tell of

	last    stream.CheckpointID // highest id started or aborted here
	started stream.CheckpointID // highest id started here

	counts []count // of AtLeastOnce, by ascending id
}

// count is how far a checkpoint is in AtLeastOnce.
type count struct {
	barrier    stream.Barrier
	arrived    int
	first      time.Duration
	startDelay time.Duration
	injected   time.Duration
}

// New returns the aligner of a subtask.
func New(o Options) *Aligner {
	a := &Aligner{
		mode: o.Mode, overtakes: o.Overtakes, arrived: make([]bool, o.Channels), ended: make([]bool, o.Channels),
		live: o.Channels, last: o.Restored, started: o.Restored,
	}
	if a.overtakes == nil {
		a.overtakes = make([]bool, o.Channels)
	}
	return a
}

// Aligning returns the checkpoint whose barrier some channels wait for, or 0.
func (a *Aligner) Aligning() stream.CheckpointID {
	if a.phase == aligning {
		return a.current.ID
	}
	return 0
}

// Capturing returns the checkpoint whose in-flight records are being captured, or 0.
func (a *Aligner) Capturing() stream.CheckpointID {
	if a.phase == capturing {
		return a.current.ID
	}
	return 0
}

// Due is when TimeUp is to be said, on the clock of Step; false: never.
func (a *Aligner) Due() (at time.Duration, ok bool) {
	if a.phase != aligning || a.current.Unaligned || a.current.AlignmentTimeout <= 0 {
		return 0, false
	}
	return a.injected + a.current.AlignmentTimeout, true
}

// Step takes in one event that happened at now (any monotonic clock, always the
// same) and appends what has to be done to effects.
func (a *Aligner) Step(now time.Duration, e Event, effects []Effect) []Effect {
	switch e.Kind {
	case BarrierArrived:
		a.check(e)
		if a.mode == AtLeastOnce {
			return a.count(now, e.Barrier, effects)
		}
		return a.barrier(now, e.Channel, e.Barrier, effects)
	case BarrierSeen:
		a.check(e)
		return a.seen(now, e.Barrier, effects)
	case BarrierInjected:
		if len(a.arrived) != 0 {
			panic(fmt.Sprintf("weir: BUG: I9: barrier %d injected into a subtask with %d channels", e.Barrier.ID, len(a.arrived)))
		}
		if e.Barrier.ID <= a.last {
			return effects
		}
		a.begin(now, e.Barrier)
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
	case TimeUp:
		return a.overtake(now, effects)
	case Captured:
		a.check(e)
		return a.captured(e.Channel, effects)
	}
	panic(fmt.Sprintf("weir: BUG: align event of kind %d", e.Kind))
}

func (a *Aligner) check(e Event) {
	if e.Channel < 0 || e.Channel >= len(a.arrived) {
		panic(fmt.Sprintf("weir: BUG: align event on channel %d of %d", e.Channel, len(a.arrived)))
	}
}

// meet makes b the current barrier, or one more of the current ones; false if it is
// of a checkpoint that is over here.
func (a *Aligner) meet(now time.Duration, b stream.Barrier, effects []Effect) ([]Effect, bool) {
	switch {
	case b.ID <= a.last:
		return effects, false // aborted or superseded here
	case a.phase == aligning && b.ID < a.current.ID:
		return effects, false
	case a.phase == aligning && b.ID > a.current.ID:
		effects = a.abort(effects)
	case a.phase == capturing: // what is captured has been given up: ids ascend on a channel
		effects = a.abortCapture(effects)
	}
	if a.phase == flowing {
		a.begin(now, b)
	}
	a.current.Unaligned = a.current.Unaligned || b.Unaligned
	a.injected = min(a.injected, now-b.Age)
	return effects, true
}

// begin starts the alignment of b.
func (a *Aligner) begin(now time.Duration, b stream.Barrier) {
	a.phase = aligning
	a.current, a.first, a.startDelay, a.injected = b, now, b.Age, now-b.Age
	a.missing, a.strict = len(a.arrived), 0
	for _, may := range a.overtakes {
		if !may {
			a.strict++
		}
	}
}

func (a *Aligner) barrier(now time.Duration, ch int, b stream.Barrier, effects []Effect) []Effect {
	effects, ok := a.meet(now, b, effects)
	if !ok {
		return effects
	}
	if a.arrived[ch] {
		panic(fmt.Sprintf("weir: BUG: I9: barrier %d came twice on channel %d", b.ID, ch))
	}
	a.arrived[ch] = true
	a.missing--
	if !a.overtakes[ch] {
		a.strict--
	}
	if a.missing > 0 {
		effects = append(effects, Effect{Kind: Block, Channel: ch})
		return a.overtake(now, effects)
	}
	return a.startAll(now, effects)
}

// seen is the barrier's word that it could overtake.
func (a *Aligner) seen(now time.Duration, b stream.Barrier, effects []Effect) []Effect {
	if a.mode == AtLeastOnce {
		return effects
	}
	effects, ok := a.meet(now, b, effects)
	if !ok {
		return effects
	}
	return a.overtake(now, effects)
}

// overtake starts the current checkpoint if its barrier may overtake what is missing.
func (a *Aligner) overtake(now time.Duration, effects []Effect) []Effect {
	if a.phase != aligning {
		return effects
	}
	if due, timed := a.Due(); timed && now >= due {
		a.current.Unaligned = true
	}
	if !a.current.Unaligned || a.strict > 0 {
		return effects
	}
	return a.startAll(now, effects)
}

// startAll starts the current checkpoint, lets go of the channels that wait for it and
// has the others captured.
func (a *Aligner) startAll(now time.Duration, effects []Effect) []Effect {
	blocked := len(a.arrived) > 1 && a.missing < len(a.arrived)
	effects = a.start(now, effects)
	if blocked {
		effects = append(effects, Effect{Kind: UnblockAll})
	}
	if a.missing == 0 {
		clear(a.arrived)
		return effects
	}
	a.phase, a.open = capturing, a.missing
	for ch, arrived := range a.arrived { // from here on: whose capture is not open
		if !arrived {
			effects = append(effects, Effect{Kind: Capture, Channel: ch, Barrier: a.current})
		}
	}
	return effects
}

// start ends the alignment of current with its snapshot.
func (a *Aligner) start(now time.Duration, effects []Effect) []Effect {
	a.current.Age = now - a.injected
	a.last, a.started, a.phase = a.current.ID, a.current.ID, flowing
	return append(effects, Effect{Kind: Start, Barrier: a.current, StartDelay: a.startDelay, Alignment: now - a.first})
}

func (a *Aligner) captured(ch int, effects []Effect) []Effect {
	if a.phase != capturing {
		return effects // given up meanwhile
	}
	if a.arrived[ch] {
		panic(fmt.Sprintf("weir: BUG: I9: capture %d of channel %d has ended twice", a.current.ID, ch))
	}
	a.arrived[ch] = true
	if a.open--; a.open > 0 {
		return effects
	}
	a.phase = flowing
	clear(a.arrived)
	return append(effects, Effect{Kind: CaptureComplete, Barrier: a.current})
}

// abort ends the alignment of current without a snapshot.
func (a *Aligner) abort(effects []Effect) []Effect {
	a.last, a.phase = a.current.ID, flowing
	clear(a.arrived)
	return append(effects, Effect{Kind: Abort, Barrier: stream.Barrier{ID: a.current.ID, Kind: a.current.Kind}}, Effect{Kind: UnblockAll})
}

// abortCapture gives up the capture of current.
func (a *Aligner) abortCapture(effects []Effect) []Effect {
	a.phase = flowing
	clear(a.arrived)
	return append(effects, Effect{Kind: AbortStarted, Barrier: stream.Barrier{ID: a.current.ID, Kind: a.current.Kind}})
}

func (a *Aligner) cancel(id stream.CheckpointID, effects []Effect) []Effect {
	// Ids ascend on every channel, so whoever cancels id will not complete an older
	// one that is still missing here either.
	switch {
	case a.phase == aligning && id >= a.current.ID:
		effects = a.abort(effects)
	case a.phase == capturing && id >= a.current.ID:
		effects = a.abortCapture(effects)
		if id == a.started {
			return effects
		}
	}
	for len(a.counts) > 0 && a.counts[0].barrier.ID <= id {
		effects = a.discount(effects)
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

// count notes a barrier in AtLeastOnce, where several may be under way: channels do
// not wait, so one may be ahead of another by any number of them.
func (a *Aligner) count(now time.Duration, b stream.Barrier, effects []Effect) []Effect {
	if b.ID <= a.last {
		return effects
	}
	i := 0
	for i < len(a.counts) && a.counts[i].barrier.ID < b.ID {
		i++
	}
	if i == len(a.counts) || a.counts[i].barrier.ID > b.ID {
		a.counts = append(a.counts, count{})
		copy(a.counts[i+1:], a.counts[i:])
		a.counts[i] = count{barrier: b, first: now, startDelay: b.Age, injected: now - b.Age}
	}
	c := &a.counts[i]
	c.barrier.Unaligned = c.barrier.Unaligned || b.Unaligned
	c.injected = min(c.injected, now-b.Age)
	if c.arrived++; c.arrived < len(a.arrived) {
		return effects
	}
	// Ids ascend on every channel: an older one can't complete any more.
	for range i {
		effects = a.discount(effects)
	}
	c = &a.counts[0]
	a.current, a.first, a.startDelay, a.injected = c.barrier, c.first, c.startDelay, c.injected
	a.counts = a.counts[1:]
	return a.start(now, effects)
}

// discount aborts the oldest checkpoint that is being counted.
func (a *Aligner) discount(effects []Effect) []Effect {
	b := a.counts[0].barrier
	a.counts = a.counts[1:]
	a.last = b.ID
	return append(effects, Effect{Kind: Abort, Barrier: stream.Barrier{ID: b.ID, Kind: b.Kind}})
}
