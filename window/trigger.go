package window

import (
	"fmt"
	"math"
	"time"
)

// Result is what a trigger says.
type Result uint8

// Results; Fire|Purge is both.
const (
	// Continue: nothing.
	Continue Result = 0
	// Fire: emit the window's result.
	Fire Result = 1
	// Purge: forget what is in the window.
	Purge Result = 2
)

// State is what a trigger keeps for each key and window: four numbers of its own, zero at
// first. It is part of snapshots.
type State [4]int64

// NoTimer is the time of a timer that is not set.
const NoTimer int64 = math.MinInt64

// Context is what a trigger knows of a window. It is valid during the call.
type Context struct {
	Window    Span
	Time      int64 // of the record, or of the timer that fires; ms
	Watermark int64 // how far event time has come
	Now       int64 // the wall clock, ms since 1970
	State     *State
	Event     int64 // the window's timer of event time, or NoTimer; set it to move it
	Process   int64 // likewise of processing time
}

// Rule is a trigger of the user's own. A window has one timer of each clock, which the
// rule sets in the Context: Event and Process. Neither is set any more when its method is
// called for it. Methods must be pure but for the Context.
type Rule[T any] interface {
	OnRecord(c *Context, v T) Result
	OnEventTime(c *Context) Result
	OnProcessingTime(c *Context) Result
	// OnMerge is called for sessions when the window has taken another in, whose state it
	// is given. The Context has the earlier of their timers.
	OnMerge(c *Context, other State) Result
}

type triggerKind uint8

const (
	byEventTime triggerKind = iota + 1
	byProcessingTime
	byCount
	continuousEvent
	continuousProcessing
	never
	byRule
)

// Trigger says when a window's result is emitted. The constructors make it.
type Trigger struct {
	kind  triggerKind
	n     int64 // of byCount; ms of the continuous ones
	purge bool
	rule  any // Rule[T]
	err   error
}

// OnEventTime fires when event time has passed the end of the window, and again for each
// record that comes later and is still allowed. It is what windows of event time have.
func OnEventTime() Trigger { return Trigger{kind: byEventTime} }

// OnProcessingTime fires when the wall clock has passed the end of the window.
func OnProcessingTime() Trigger { return Trigger{kind: byProcessingTime} }

// Every fires after every n records.
func Every(n int) Trigger {
	t := Trigger{kind: byCount, n: int64(n)}
	if n < 1 {
		t.err = fmt.Errorf("window: %d records are no window, the least is 1", n)
	}
	return t
}

// Continuous fires whenever event time has come another interval on (multiples of it,
// since 1970), and at the end of the window.
func Continuous(interval time.Duration) Trigger {
	return Trigger{kind: continuousEvent, n: max(1, interval.Milliseconds()), err: whole("window.Continuous", "interval", interval)}
}

// ContinuousProcessing is Continuous by the wall clock; it does not fire at the end of the
// window.
func ContinuousProcessing(interval time.Duration) Trigger {
	return Trigger{kind: continuousProcessing, n: max(1, interval.Milliseconds()), err: whole("window.ContinuousProcessing", "interval", interval)}
}

// Never never fires.
func Never() Trigger { return Trigger{kind: never} }

// By is a trigger of the user's own for records of type T.
func By[T any](r Rule[T]) Trigger {
	t := Trigger{kind: byRule, rule: r}
	if r == nil {
		t.err = fmt.Errorf("window.By: its rule is nil")
	}
	return t
}

// Purging is t, which forgets what is in the window whenever it fires.
func Purging(t Trigger) Trigger { t.purge = true; return t }

// Err is the mistake made with the trigger, or nil.
func (t Trigger) Err() error {
	if t.err == nil && t.kind == 0 {
		return fmt.Errorf("the trigger is zero: take one of package window's, such as window.OnEventTime")
	}
	return t.err
}

// Plain reports whether t is OnEventTime and nothing more.
func (t Trigger) Plain() bool { return t.kind == byEventTime && !t.purge }

// Lazy reports whether t waits for the end of the window only, by event time: its timer
// need not be moved when a session grows.
func (t Trigger) Lazy() bool { return t.kind == byEventTime }

// Stateful reports whether t uses State.
func (t Trigger) Stateful() bool { return t.kind == byCount || t.kind == byRule }

// Rule is the Rule[T] of By, else nil.
func (t Trigger) Rule() any { return t.rule }

// Done is r, with a Purge if the trigger purges.
func (t Trigger) Done(r Result) Result {
	if t.purge && r&Fire != 0 {
		return r | Purge
	}
	return r
}

// OnRecord says what a record that has been put into the window does. Not for a Rule.
func (t Trigger) OnRecord(c *Context) Result {
	switch t.kind {
	case byEventTime:
		if c.Window.MaxTime() <= c.Watermark {
			return t.Done(Fire)
		}
		if c.Event == NoTimer { // else a session has grown: OnEventTime sees to it
			c.Event = c.Window.MaxTime()
		}
	case byProcessingTime:
		if c.Process == NoTimer { // the clock stands in the window's last ms for a whole one
			c.Process = c.Window.End
		}
	case byCount:
		if c.State[0]++; c.State[0] >= t.n {
			c.State[0] = 0
			return t.Done(Fire)
		}
	case continuousEvent:
		if c.Window.MaxTime() <= c.Watermark {
			return t.Done(Fire)
		}
		if c.Event == NoTimer {
			c.Event = t.next(c, c.Time)
		}
	case continuousProcessing:
		if c.Process == NoTimer {
			c.Process = t.nextTick(c.Now)
		}
	}
	return Continue
}

// OnEventTime says what c.Event, whose time has come, does.
func (t Trigger) OnEventTime(c *Context) Result {
	switch t.kind {
	case byEventTime:
		if c.Window.MaxTime() > c.Time { // the session has grown
			c.Event = c.Window.MaxTime()
			return Continue
		}
		return t.Done(Fire)
	case continuousEvent:
		if c.Time < c.Window.MaxTime() {
			c.Event = t.next(c, c.Time)
		}
		return t.Done(Fire)
	}
	return Continue
}

// OnProcessingTime says what c.Process, whose time has come, does.
func (t Trigger) OnProcessingTime(c *Context) Result {
	switch t.kind {
	case byProcessingTime:
		if c.Window.End > c.Time {
			c.Process = c.Window.End
			return Continue
		}
		return t.Done(Fire)
	case continuousProcessing:
		c.Process = t.nextTick(c.Time)
		return t.Done(Fire)
	}
	return Continue
}

// OnMerge says what it does that the window has taken another in.
func (t Trigger) OnMerge(c *Context, other State) Result {
	switch t.kind {
	case byEventTime:
		if c.Window.MaxTime() > c.Watermark && c.Event == NoTimer {
			c.Event = c.Window.MaxTime()
		}
	case byCount:
		if c.State[0] += other[0]; c.State[0] >= t.n {
			c.State[0] = 0
			return t.Done(Fire)
		}
	}
	return Continue
}

// next is when a continuous trigger fires after at. At the end of time only the end of the
// window is left.
func (t Trigger) next(c *Context, at int64) int64 {
	if c.Watermark == math.MaxInt64 {
		return c.Window.MaxTime()
	}
	return min(t.nextTick(at), c.Window.MaxTime())
}

func (t Trigger) nextTick(at int64) int64 {
	at = Clamp(at)
	return at - floorMod(at, t.n) + t.n
}
