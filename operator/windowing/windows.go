package windowing

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/window"
)

// Windows is the operator for all windows that Sliced does not run; see the package.
type Windows[K comparable, T, U any] struct {
	rt         *operator.Runtime
	plan       Plan
	kind       window.Kind
	grid       window.Grid
	gap        int64
	gapOf      func(T) time.Duration
	processing bool // time is the wall clock's
	trigger    window.Trigger
	rule       window.Rule[T]             // of window.By, or nil
	states     *table.Panes[window.State] // nil if the trigger has none
	index      index
	contents   Contents[K, T, U]
	late       lateness[T]

	// Scratch.
	spans  []window.Span
	others []window.State
	state  window.State
	ctx    window.Context
	entry  Entry
	other  Entry
}

// NewWindows returns the operator for p, which Check has seen. side takes late records; nil:
// they are dropped.
func NewWindows[K comparable, T, U any](s *operator.Setup, p Plan, contents Contents[K, T, U], side func(T)) *Windows[K, T, U] {
	o := &Windows[K, T, U]{
		rt: s.Runtime(), plan: p, kind: p.Assigner.Kind(), grid: p.Assigner.Grid(), processing: p.Assigner.InProcessingTime(),
		trigger: p.Trigger, index: contents.windows(), contents: contents,
		late: lateness[T]{side, s.Counter(LateCounter)},
	}
	var of any
	o.gap, of = p.Assigner.Gap()
	o.gapOf, _ = of.(func(T) time.Duration)
	o.rule, _ = p.Trigger.Rule().(window.Rule[T])
	if p.Trigger.Stateful() {
		o.states = s.Panes[window.State](operator.TriggersState)
	}
	return o
}

// Process puts a record into its windows.
func (o *Windows[K, T, U]) Process(c *operator.Ctx[K], v T, out *operator.Collector[U]) error {
	at := o.rt.Time
	if o.processing {
		at = o.rt.Turn.UnixMilli()
	}
	switch o.kind {
	case window.Sessions:
		return o.session(c, at, v, out)
	case window.Whole:
		i, ok := o.index.find(window.All.Start)
		if !ok {
			o.begin(c, i, window.All)
		}
		return o.add(c, i, at, v, out, window.Continue)
	}
	if at == operator.NoTime {
		return noTime(o.plan.Assigner)
	}
	o.spans = o.grid.Windows(o.spans[:0], window.Clamp(at))
	took := len(o.spans) == 0
	for _, w := range o.spans {
		if o.closed(w) {
			continue
		}
		took = true
		i, ok := o.index.find(w.Start)
		if !ok {
			o.begin(c, i, w)
		}
		if err := o.add(c, i, at, v, out, window.Continue); err != nil {
			return err
		}
	}
	if !took {
		o.late.take(v)
	}
	return nil
}

// session puts a record into its session, which may join others.
func (o *Windows[K, T, U]) session(c *operator.Ctx[K], at int64, v T, out *operator.Collector[U]) error {
	if at == operator.NoTime {
		return noTime(o.plan.Assigner)
	}
	gap := o.gap
	if o.gapOf != nil {
		d := o.gapOf(v)
		if gap = d.Milliseconds(); gap <= 0 {
			return fmt.Errorf("%v says a gap of %v for a record, it must be a millisecond at least", o.plan.Assigner, d)
		}
	}
	w := window.Span{Start: window.Clamp(at)}
	w.End = w.Start + gap
	from, to := o.index.touching(w)
	result := window.Continue
	switch {
	case from == to:
		if o.closed(w) {
			o.late.take(v)
			return nil
		}
		o.begin(c, from, w)
	case to-from == 1:
		e := o.index.get(from)
		if w = w.Cover(e.span()); w != e.span() {
			e.Start, e.End = w.Start, w.End
			o.index.put(from, e)
		}
	default:
		result = o.merge(c, from, to, w)
	}
	return o.add(c, from, at, v, out, result)
}

// merge makes the sessions [from, to) and w one. What triggers have set is kept at its
// earlier time; it is found then that the session goes on.
func (o *Windows[K, T, U]) merge(c *operator.Ctx[K], from, to int, w window.Span) (result window.Result) {
	e, b := &o.entry, &o.other
	*e = o.index.get(from)
	others := o.others[:0]
	for i := from + 1; i < to; i++ {
		*b = o.index.get(i)
		o.contents.merge(&o.index, from, i)
		o.contents.drop(b)
		e.End = max(e.End, b.End)
		e.Event, e.Process, e.Clean = earlier(e.Event, b.Event), earlier(e.Process, b.Process), earlier(e.Clean, b.Clean)
		if o.states != nil {
			s, _ := o.states.Get(b.ID)
			o.states.Clear(b.ID)
			others = append(others, s)
		} else {
			others = append(others, window.State{})
		}
	}
	e.Start, e.End = min(e.Start, w.Start), max(e.End, w.End)
	o.index.remove(from+1, to)
	o.index.put(from, *e)
	for _, s := range others {
		o.enter(e, o.rt.Time)
		if o.rule != nil {
			result |= o.trigger.Done(o.rule.OnMerge(&o.ctx, s))
		} else {
			result |= o.trigger.OnMerge(&o.ctx, s)
		}
		o.leave(c, from, e)
	}
	o.others = others
	return result
}

// earlier is the earlier of two timers.
func earlier(a, b int64) int64 {
	if a == window.NoTimer || b != window.NoTimer && b < a {
		return b
	}
	return a
}

// cleanTime is when a window may be forgotten; NoTimer: never.
func (o *Windows[K, T, U]) cleanTime(w window.Span) int64 {
	switch {
	case o.kind == window.Whole:
		return window.NoTimer
	case o.processing:
		return w.End
	}
	return w.MaxTime() + o.plan.Lateness
}

// closed reports whether a window that there is not any more has been forgotten.
func (o *Windows[K, T, U]) closed(w window.Span) bool {
	return !o.processing && o.cleanTime(w) <= o.rt.Watermark
}

// begin adds a window at place i.
func (o *Windows[K, T, U]) begin(c *operator.Ctx[K], i int, w window.Span) {
	e := Entry{w.Start, w.End, w.Start, window.NoTimer, window.NoTimer, o.cleanTime(w)}
	if o.trigger.Lazy() && w.MaxTime() > o.rt.Watermark {
		e.Event = w.MaxTime() // as the trigger would; so the entry is written once
	}
	o.index.insert(i, e)
	o.await(c, i, e.Event, false)
	o.await(c, i, e.Clean, o.processing)
}

// add puts a record into the window at place i, and asks the trigger. before is what a
// merge has said.
func (o *Windows[K, T, U]) add(c *operator.Ctx[K], i int, at int64, v T, out *operator.Collector[U], before window.Result) error {
	e := &o.entry
	*e = o.index.get(i)
	o.contents.add(&o.index, i, e, at, v)
	if o.trigger.Lazy() && e.Event != window.NoTimer && before == window.Continue {
		return nil // it will fire
	}
	o.enter(e, at)
	if o.rule != nil {
		before |= o.trigger.Done(o.rule.OnRecord(&o.ctx, v))
	} else {
		before |= o.trigger.OnRecord(&o.ctx)
	}
	o.leave(c, i, e)
	return o.settle(c, i, e, before, out)
}

// enter makes the scratch context that of a window.
func (o *Windows[K, T, U]) enter(e *Entry, at int64) {
	o.ctx = window.Context{
		Window: e.span(), Time: at, Watermark: o.rt.Watermark, Now: o.rt.Turn.UnixMilli(),
		State: &o.state, Event: e.Event, Process: e.Process,
	}
	if o.states != nil {
		o.state, _ = o.states.Get(e.ID)
	}
}

// leave takes over what the trigger has changed in the context of the window at place i.
func (o *Windows[K, T, U]) leave(c *operator.Ctx[K], i int, e *Entry) {
	if o.states != nil {
		o.states.Set(e.ID, o.state)
	}
	event, process := e.Event, e.Process
	if o.ctx.Event == event && o.ctx.Process == process {
		return
	}
	e.Event, e.Process = o.ctx.Event, o.ctx.Process
	o.index.put(i, *e)
	if e.Event != event {
		o.await(c, i, e.Event, false)
	}
	if e.Process != process {
		o.await(c, i, e.Process, true)
	}
}

// clocks are the words of an entry that are timers of a clock.
func (o *Windows[K, T, U]) clocks(processing bool) clocks {
	k := clocks{timer: 3, cleans: processing == o.processing}
	if processing {
		k.timer = 4
	}
	return k
}

// await sees to it that the key has a timer at at or before, which the window at place i
// wants: if the first window waits for an earlier time it has.
func (o *Windows[K, T, U]) await(c *operator.Ctx[K], i int, at int64, processing bool) {
	if at == window.NoTimer {
		return
	}
	if i > 0 {
		if first := o.clocks(processing).next(o.index.list.View()); first != window.NoTimer && first <= at {
			return
		}
	}
	o.register(c, at, processing)
}

func (o *Windows[K, T, U]) register(c *operator.Ctx[K], at int64, processing bool) {
	if processing {
		c.ProcessingTimerAt(time.UnixMilli(at))
	} else {
		c.TimerAtMillis(at)
	}
}

// settle does what a trigger has said.
func (o *Windows[K, T, U]) settle(c *operator.Ctx[K], i int, e *Entry, r window.Result, out *operator.Collector[U]) error {
	if r&window.Fire != 0 {
		if err := o.contents.fire(c, &o.index, i, e, out); err != nil {
			return err
		}
	}
	if r&window.Purge != 0 {
		o.contents.clear(&o.index, i, e)
	}
	return nil
}

// OnTimer fires the windows whose time has come, forgets those that are over, and sets the
// timer of the next. Times of this key up to the watermark are gone through here, in order,
// each as if a timer had fired: a timer for each would cost more than the window.
func (o *Windows[K, T, U]) OnTimer(c *operator.Ctx[K], out *operator.Collector[U]) error {
	fired, domain := c.Timer()
	at, processing := fired.UnixMilli(), domain == operator.ProcessingTime
	limit := at
	if !processing {
		limit = o.rt.Watermark
	}
	for {
		next, err := o.ringAll(c, at, processing, out)
		if err != nil || next == window.NoTimer {
			return err
		}
		// A barrier may come between two timers, and outputs may have no room left.
		if next <= at || next > limit || o.rt.Attention.Load() {
			o.register(c, next, processing)
			return nil
		}
		at, o.rt.Time = next, next
	}
}

// ringAll tells the windows that wait for at, and returns the earliest time that any waits
// for then.
func (o *Windows[K, T, U]) ringAll(c *operator.Ctx[K], at int64, processing bool, out *operator.Collector[U]) (next int64, err error) {
	k, size := o.clocks(processing), o.index.size
	next = window.NoTimer
	b := o.index.list.View()
	for i := 0; i*size < len(b); {
		// What waits for the end of a window waits for no time before its start, by which
		// windows are ordered.
		if start := word(b[i*size:]); o.trigger.Lazy() && start > at && next != window.NoTimer && start > next {
			break
		}
		if k.wants(b[i*size:], at) {
			removed, err := o.ring(c, i, at, processing, out)
			if err != nil {
				return next, err
			}
			if b = o.index.list.View(); removed {
				continue
			}
		}
		next = earlier(next, k.next(b[i*size:]))
		i++
	}
	return next, nil
}

// ring tells the window at place i that one of its timers fires.
func (o *Windows[K, T, U]) ring(c *operator.Ctx[K], i int, at int64, processing bool, out *operator.Collector[U]) (removed bool, err error) {
	e := &o.entry
	*e = o.index.get(i)
	if processing && e.Process == at || !processing && e.Event == at {
		if err := o.alarm(c, i, e, at, processing, out); err != nil {
			return false, err
		}
	}
	if e.Clean != at || processing != o.processing {
		return false, nil
	}
	if clean := o.cleanTime(e.span()); clean > at { // the session has grown
		e.Clean = clean
		o.index.put(i, *e)
		return false, nil
	}
	o.index.remove(i, i+1)
	o.contents.drop(e)
	if o.states != nil {
		o.states.Clear(e.ID)
	}
	return true, nil
}

// alarm tells the trigger of the window at place i that its timer fires.
func (o *Windows[K, T, U]) alarm(c *operator.Ctx[K], i int, e *Entry, at int64, processing bool, out *operator.Collector[U]) error {
	o.enter(e, at)
	var r window.Result
	if processing {
		o.ctx.Process, e.Process = window.NoTimer, window.NoTimer
	} else {
		o.ctx.Event, e.Event = window.NoTimer, window.NoTimer
	}
	o.index.put(i, *e)
	switch {
	case o.rule != nil && processing:
		r = o.trigger.Done(o.rule.OnProcessingTime(&o.ctx))
	case o.rule != nil:
		r = o.trigger.Done(o.rule.OnEventTime(&o.ctx))
	case processing:
		r = o.trigger.OnProcessingTime(&o.ctx)
	default:
		r = o.trigger.OnEventTime(&o.ctx)
	}
	o.leave(c, i, e)
	return o.settle(c, i, e, r, out)
}
