package task

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/stream/watermark"
)

// defaultWatermarkInterval is Flink's pipeline.auto-watermark-interval.
const defaultWatermarkInterval = 200 * time.Millisecond

// pausesInInterval: the least time between two watermarks that are made because the input
// pauses: 1/20 of the usual. A watermark flushes every channel.
const pausesInInterval = 20

// eventTime is the event time of a subtask.
//
// Watermarks of the channels are merged by minimum at the head (hearTime). When that
// advances, Runtime.Watermark does, at once, and the timers up to it fire, slice by slice,
// before the next record is taken; barriers may fall in between, and the snapshot then has
// the timers that are left, and the new watermark. When none is left, the watermark goes
// on along the chain and to the consumers (pass). A TimeKeeper in the chain swallows what
// comes to it, and begins with its own.
//
// After a restore everybody stands where the snapshot was, and says so again.
type eventTime struct {
	inputs *watermark.Merger // channels of the gate; nil without one
	timers *table.Timers     // of the head; nil if it has no timer callback
	passed int64             // what the head's consumers were told; Runtime.Watermark is ahead of it while timers fire
	held   int64             // a watermark that waits until all timers are loaded
	idle   bool              // consumers of the head were told so

	keepers []*instance // operators that make watermarks
	holder  int32       // the split that the last of them waits for; -1: none
	splits  []operator.ActiveSplit
	ticked  time.Time // of the last tick
	wake    time.Time // a keeper wants to be asked; zero: none does
	ahead   bool      // of other sources: it is not to be read
	stalled bool      // outputs had no room since the last tick
	every   time.Duration
}

// resumeTime puts every operator where it was in the snapshot.
func (t *Task) resumeTime() {
	e := &t.time
	for _, in := range t.chain {
		in.reached = watermark.Min
		if in.restored.Uid != "" {
			in.reached = in.restored.Watermark
		}
		for _, r := range in.resume {
			r.ResumeWatermark(in.reached)
		}
		if in.keeper != nil {
			in.keeper.Resume(in.reached)
			e.keepers = append(e.keepers, in)
		}
	}
	e.every, e.ticked = t.o.WatermarkInterval, t.begun
	t.rt.Watermark, e.passed, e.held = watermark.Min, watermark.Min, watermark.Min
	if t.gate != nil && !t.isSource() {
		t.rt.Watermark = t.chain[0].reached
		if t.chain[0].keeper != nil {
			t.rt.Watermark = watermark.Min
		}
		e.inputs = watermark.New(t.gate.Channels(), t.rt.Watermark)
	}
}

// watermarkOf is what the snapshot says of an operator. The head's is the one whose
// timers are firing.
func (t *Task) watermarkOf(in *instance) int64 {
	if in.number == 0 && in.keeper == nil && in.async == nil {
		return t.rt.Watermark
	}
	return in.reached
}

// hearTime takes the watermark, or the idleness, of a channel.
func (t *Task) hearTime(ch int, e stream.Event) {
	switch m := t.time.inputs; {
	case m == nil: // an enumerator has no time
	case e.Kind == stream.IdleEvent:
		t.merged(m.Pause(ch))
	default:
		t.merged(m.Advance(ch, e.Time))
	}
}

// endTime takes a channel whose input has ended out of the minimum. At the end of all
// time is at its end.
func (t *Task) endTime(ch int) {
	if m := t.time.inputs; m != nil {
		t.merged(m.End(ch))
	}
}

// merged does what the merged watermark asks for.
func (t *Task) merged(changed bool) {
	m := t.time.inputs
	if !changed || t.chain[0].keeper != nil {
		return
	}
	t.time.held = m.At()
	t.release()
	if idle := m.Idle(); idle != t.time.idle {
		t.time.idle = idle
		if t.rt.Watermark == t.time.passed { // else advanceTime says both
			t.tellTime()
		}
	}
}

// tellTime tells the head's consumers where it stands.
func (t *Task) tellTime() {
	t.hand(t.chain[0], stream.Event{Kind: stream.WatermarkEvent, Time: t.time.passed})
	if t.time.idle {
		t.hand(t.chain[0], stream.Event{Kind: stream.IdleEvent})
	}
}

// behind reports whether there are timers to fire up to a watermark that has come.
func (t *Task) behind() bool {
	return t.rt.Watermark > t.time.passed || t.time.held > t.rt.Watermark
}

// release lets the watermark go to where the inputs are, once every timer is known.
func (t *Task) release() {
	e := &t.time
	if e.held <= t.rt.Watermark || t.chain[0].keeper != nil {
		return
	}
	if t.backend == nil || t.backend.Store().TimersLoaded() {
		t.rt.Watermark = e.held
	}
}

// advanceTime fires a slice of the timers up to the watermark. After the last one the
// watermark is passed on.
func (t *Task) advanceTime() (progress bool, err error) {
	e := &t.time
	if t.silent != 0 { // a stopped job emits nothing more
		return t.head.listen()
	}
	for range timerSlice {
		if e.timers == nil {
			break
		}
		d, ok := e.timers.Due(t.rt.Watermark)
		if !ok {
			break
		}
		t.rt.Operator = 0
		if err := t.onTimer(d, operator.EventTimeDomain); err != nil {
			return true, err
		}
		if t.rt.Attention.Load() {
			return true, nil
		}
	}
	if e.timers != nil {
		if next, ok := e.timers.Next(); ok && next <= t.rt.Watermark { // a barrier may come first
			_, err := t.head.listen()
			return true, err
		}
	}
	at := t.rt.Watermark
	if err := t.flushOperators(0); err != nil {
		return true, err
	}
	e.passed = at
	head := t.chain[0]
	for _, l := range head.listen {
		t.rt.Operator, t.rt.Time = head.number, operator.NoTime
		if err := l.OnWatermark(at); err != nil {
			return true, err
		}
	}
	if head.async == nil {
		head.reached = at
	}
	if at < watermark.Max { // the end of the input says so itself
		t.tellTime()
	}
	return true, t.failed()
}

// hand tells in, whose timers have fired, an event of time, and passes it on, unless there
// are records of in's that it must not overtake.
func (t *Task) hand(in *instance, e stream.Event) {
	if in.async != nil {
		in.async.Hold(e)
		return
	}
	t.pass(in, e)
}

func (t *Task) pass(in *instance, e stream.Event) {
	if e.Kind == stream.WatermarkEvent {
		in.reached = max(in.reached, e.Time)
	}
	t.tell(in, e)
}

// tell passes an event of time on from an operator: to those chained to it that have no
// time of their own, and to its consumers elsewhere.
func (t *Task) tell(from *instance, e stream.Event) {
	for _, o := range from.outputs {
		o.Broadcast(e)
	}
	for _, in := range from.next {
		if in.keeper != nil {
			continue
		}
		if e.Kind == stream.WatermarkEvent && e.Time > in.reached {
			t.rt.Operator, t.rt.Time = in.number, operator.NoTime
			for _, f := range in.flush {
				t.rt.Fail(f.Flush())
			}
			for _, l := range in.listen {
				t.rt.Fail(l.OnWatermark(e.Time))
			}
		}
		t.hand(in, e)
	}
}

// flushOperators has the operators of the chain from number on emit what they hold back.
func (t *Task) flushOperators(from int) error {
	for _, in := range t.chain[from:] {
		for _, f := range in.flush {
			t.rt.Operator, t.rt.Time = in.number, operator.NoTime
			if err := f.Flush(); err != nil {
				return fmt.Errorf("flush: %w", err)
			}
		}
	}
	return t.failed()
}

// due reports whether the keepers are to be asked.
func (e *eventTime) due(now time.Time) bool {
	return len(e.keepers) > 0 && (now.Sub(e.ticked) >= e.every || !e.wake.IsZero() && !now.Before(e.wake))
}

// pause is called when the input pauses: keepers are asked, if they have not just been,
// and operators emit what they hold. wait is when to ask again.
func (t *Task) pause() (wait time.Duration, err error) {
	e := &t.time
	if t.phase != running {
		return 0, nil
	}
	if err := t.flushOperators(0); err != nil {
		return 0, err
	}
	if len(e.keepers) == 0 {
		return 0, nil
	}
	if left := e.every/pausesInInterval - t.rt.Turn.Sub(e.ticked); left > 0 {
		return left, nil
	}
	if err := t.tick(); err != nil {
		return 0, err
	}
	if !e.wake.IsZero() {
		wait = max(e.wake.Sub(t.rt.Turn), time.Microsecond)
	}
	return wait, nil
}

// tick asks every keeper how far time has come, and passes that on.
func (t *Task) tick() error {
	e := &t.time
	e.ticked, e.wake = t.rt.Turn, time.Time{}
	stalled := e.stalled
	e.stalled = false
	if t.phase != running || t.silent != 0 {
		return nil
	}
	ahead := false
	defer func() { e.ahead = ahead }()
	e.splits = t.head.activeSplits(e.splits[:0])
	for _, in := range e.keepers {
		t.rt.Operator = in.number
		k := in.keeper.Tick(t.rt.Turn, e.splits, stalled)
		if k.Wait > 0 {
			if at := t.rt.Turn.Add(k.Wait); e.wake.IsZero() || at.Before(e.wake) {
				e.wake = at
			}
		}
		e.holder = k.Holder
		if a, ok := in.keeper.(operator.TimeAligner); ok {
			ahead = ahead || a.Ahead()
		}
		advanced := k.Watermark > in.reached
		if !advanced && k.Idle == in.idle && in.told {
			continue
		}
		if err := t.flushOperators(slices.Index(t.chain, in)); err != nil {
			return err
		}
		in.reached, in.idle, in.told = max(in.reached, k.Watermark), k.Idle, true
		ev := stream.Event{Kind: stream.WatermarkEvent, Time: in.reached}
		if advanced || !k.Idle {
			t.tell(in, ev)
		}
		if k.Idle {
			t.tell(in, stream.Event{Kind: stream.IdleEvent})
		}
	}
	return t.failed()
}

// toldTime is how far event time has come for the consumers of the subtask.
type toldTime struct {
	at     int64  // watermark.Min: there is none, or it holds nothing back any more
	idle   bool   // nothing is expected for a while
	heldBy string // the split or input that it waits for
	group  string // of sources that wait for one another
}

func (t *Task) toldTime() toldTime {
	e := &t.time
	switch {
	case t.phase == ended:
	case len(e.keepers) > 0:
		in := e.keepers[len(e.keepers)-1]
		told := toldTime{at: in.reached, idle: in.idle}
		if e.holder >= 0 {
			told.heldBy = "split " + t.head.splitName(e.holder) // api.SplitPrefix
		}
		if a, ok := in.keeper.(operator.TimeAligner); ok {
			told.group = a.TimeGroup()
		}
		if t.rests() {
			told.heldBy = "group " + told.group
		}
		return told
	case e.inputs != nil && len(t.chain) > 0:
		told := toldTime{at: t.chain[0].reached, idle: e.idle}
		if ch, ok := e.inputs.Holder(); ok {
			_, from := t.gate.ChannelInput(ch)
			told.heldBy = t.o.Graph.SubtaskName(from)
		}
		return told
	}
	return toldTime{at: watermark.Min}
}

// alignTime is told how far the earliest source of each group is.
func (t *Task) alignTime(groups map[string]int64) error {
	for _, in := range t.time.keepers {
		if a, ok := in.keeper.(operator.TimeAligner); ok {
			if at, ok := groups[a.TimeGroup()]; ok {
				a.AlignTo(at)
			}
		}
	}
	return t.tick()
}

// alignNobody lifts what alignTime has set: without a leader nobody says where others are.
func (t *Task) alignNobody() {
	for _, in := range t.time.keepers {
		if a, ok := in.keeper.(operator.TimeAligner); ok {
			a.AlignTo(watermark.Max)
		}
	}
	t.time.ahead = false
}
