package windowing

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/window"
)

// LateCounter counts the records that were dropped because every window of theirs had been
// closed.
const LateCounter = "weir.late-records-dropped"

// ErrNoTime: a record without event time came to windows of event time.
var ErrNoTime = errors.New("the record has no event time")

// Plan is what windows do, whatever is in them.
type Plan struct {
	Assigner window.Assigner
	Trigger  window.Trigger
	Evictor  window.Evictor
	Lateness int64 // ms that windows of event time are kept after their end
}

// Sliced reports whether the machine of that name runs an incremental result: merges says
// that its accumulators can be merged.
func (p Plan) Sliced(merges bool) bool {
	return p.Assigner.Kind() == window.Aligned && !p.Assigner.InProcessingTime() && p.Trigger.Plain() &&
		!p.Evictor.Evicts() && (merges || p.Assigner.Grid().Overlap() == 1)
}

// Merging reports whether windows become one.
func (p Plan) Merging() bool { return p.Assigner.Kind() == window.Sessions }

// Check refuses what can't be run with records of type T.
func Check[T any](p Plan) error {
	if err := errors.Join(p.Assigner.Err(), p.Trigger.Err(), window.CheckEvictor[T](p.Evictor)); err != nil {
		return err
	}
	if _, of := p.Assigner.Gap(); of != nil {
		if _, ok := of.(func(T) time.Duration); !ok {
			return fmt.Errorf("%v has a %T, want a %T", p.Assigner, of, (func(T) time.Duration)(nil))
		}
	}
	if r := p.Trigger.Rule(); r != nil {
		if _, ok := r.(window.Rule[T]); !ok {
			return fmt.Errorf("window.By has a %T, want a %T", r, (*window.Rule[T])(nil))
		}
	}
	switch {
	case p.Lateness < 0:
		return fmt.Errorf("a lateness of %d ms is not possible", p.Lateness)
	case p.Lateness > 0 && (p.Assigner.InProcessingTime() || p.Assigner.Kind() == window.Whole):
		return fmt.Errorf("nothing is ever late for %v: it has no lateness", p.Assigner)
	}
	return nil
}

// Aggregate is a result that is made record by record.
type Aggregate[T, A any] struct {
	First func(v T) A      // of one record
	Add   func(a A, v T) A // a, which it may change, and one record more
	Merge func(a, b A) A   // of both, a's records having come first, which it may change; nil: there is none
}

// Result makes what is emitted for a window.
type Result[K, A, U any] func(key K, w window.Span, a A) U

// emitter hands results on.
type emitter[K comparable, A, U any] struct {
	rt     *operator.Runtime
	result Result[K, A, U]
}

func (e *emitter[K, A, U]) emit(c *operator.Ctx[K], w window.Span, a A, out *operator.Collector[U]) {
	setTime(e.rt, w)
	out.Emit(e.result(c.Key(), w, a))
}

// setTime gives results of w their event time: the last of w. Those of all time have that
// of the record, or the timer, that has them emitted.
func setTime(rt *operator.Runtime, w window.Span) {
	if w != window.All {
		rt.Time = w.MaxTime()
	}
}

// lateness is what becomes of late records: they go to side or, if it is nil, are dropped
// and counted.
type lateness[T any] struct {
	side    func(T)
	dropped *operator.Counter
}

func (l *lateness[T]) take(v T) {
	if l.side != nil {
		l.side(v)
		return
	}
	l.dropped.Inc()
}

func noTime(what window.Assigner) error {
	return fmt.Errorf("%v: %w: give the stream one with EventTime, or take ProcessingTime windows", what, ErrNoTime)
}
