package weir

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/operator/joining"
	"github.com/weirstream/weir/operator/windowing"
	"github.com/weirstream/weir/window"
)

// WindowJoin is two streams, keyed alike, whose records meet in windows:
//
//	orders.Join(payments).Window(window.Tumbling(time.Hour)).
//		Apply("paid", func(o Order, p Payment) Paid { return Paid{o.ID, p.Cents} })
//
// Results have the last ms of their window as event time.
type WindowJoin[K comparable, L, R any] struct {
	left  *Keyed[K, L]
	right *Keyed[K, R]
	plan  windowing.Plan
	late  lateTags[L, R]
	err   error
}

// IntervalJoin is two streams, keyed alike, whose records meet if their times are near
// each other:
//
//	orders.IntervalJoin(payments).Between(-time.Minute, 10*time.Minute).
//		Apply("paid", func(o Order, p Payment) Paid { return Paid{o.ID, p.Cents} })
//
// Results have the later of the two times.
type IntervalJoin[K comparable, L, R any] struct {
	left   *Keyed[K, L]
	right  *Keyed[K, R]
	bounds joining.Bounds
	late   lateTags[L, R]
	err    error
}

// TemporalJoin is a stream whose records meet, of a stream of versions keyed alike, the
// one that was valid at their time: the newest that is not later.
//
//	orders.TemporalJoin(prices).Apply("priced", func(o Order, p Price) Priced { … })
//
// A record waits until the watermark has reached its time; results have that time. Of
// versions of a key with one time the one that came last counts. A version that comes late
// is valid for what comes after it.
type TemporalJoin[K comparable, L, R any] struct {
	left  *Keyed[K, L]
	right *Keyed[K, R]
	late  Tag[L]
	sides bool
}

// Either is a record of the one or of the other of two streams that are joined.
type Either[L, R any] = window.Either[L, R]

// lateTags are where late records of two streams go, if sides is set.
type lateTags[L, R any] struct {
	left  Tag[L]
	right Tag[R]
	sides bool
}

// declare declares the side outputs; nil: there are none.
func (t lateTags[L, R]) declare(s *Setup) func(window.Either[L, R]) {
	if !t.sides {
		return nil
	}
	left, right := s.Side(t.left), s.Side(t.right)
	return func(v window.Either[L, R]) {
		if v.IsRight {
			right.Emit(v.Right)
			return
		}
		left.Emit(v.Left)
	}
}

var errNoBounds = errors.New("the interval is missing: say Between")

// Join joins the records of k and of other, which have one key, in windows: see Window.
func (k *Keyed[K, T]) Join[R any](other *Keyed[K, R]) *WindowJoin[K, T, R] {
	return &WindowJoin[K, T, R]{left: k, right: other}
}

// IntervalJoin joins the records of k and of other, which have one key, by how far their
// times lie apart: see Between.
func (k *Keyed[K, T]) IntervalJoin[R any](other *Keyed[K, R]) *IntervalJoin[K, T, R] {
	return &IntervalJoin[K, T, R]{left: k, right: other, err: errNoBounds}
}

// TemporalJoin joins each record of k with the version of its key, in versions, that was
// valid at its time.
func (k *Keyed[K, T]) TemporalJoin[R any](versions *Keyed[K, R]) *TemporalJoin[K, T, R] {
	return &TemporalJoin[K, T, R]{left: k, right: versions}
}

// Window says which windows records meet in.
func (j *WindowJoin[K, L, R]) Window(a window.Assigner) *WindowJoin[K, L, R] {
	v := *j
	v.plan.Assigner = a
	v.plan.Trigger, v.plan.Evictor = a.Defaults()
	if v.plan.Evictor.Evicts() {
		v.err = fmt.Errorf("%v keeps the last records of one stream: there is no such join", a)
	}
	return &v
}

// Trigger says when results are emitted, instead of the windows' default. A window.Rule is
// one of Either records.
func (j *WindowJoin[K, L, R]) Trigger(t window.Trigger) *WindowJoin[K, L, R] {
	v := *j
	v.plan.Trigger = t
	return &v
}

// Lateness keeps windows for so long after their end: a record that comes meanwhile has all
// of the window's results emitted again.
func (j *WindowJoin[K, L, R]) Lateness(most time.Duration) *WindowJoin[K, L, R] {
	v := *j
	if v.plan.Lateness = most.Milliseconds(); most < 0 || most%time.Millisecond != 0 {
		v.err = errors.Join(v.err, fmt.Errorf("a lateness of %v is not possible", most))
	}
	return &v
}

// LateTo sends records that come when all of their windows are over to side outputs of the
// operator, instead of dropping them.
func (j *WindowJoin[K, L, R]) LateTo(left Tag[L], right Tag[R]) *WindowJoin[K, L, R] {
	v := *j
	v.late = lateTags[L, R]{left, right, true}
	return &v
}

// Apply emits what f makes of each pair of records of a window.
// Options: Named, Parallelism.
func (j *WindowJoin[K, L, R]) Apply[U any](uid string, f func(L, R) U, opts ...Option) *Stream[U] {
	var pairs func(K, window.Span, []L, []R, *Collector[U]) error
	if f != nil {
		pairs = func(_ K, _ window.Span, left []L, right []R, out *Collector[U]) error {
			for _, l := range left {
				for _, r := range right {
					out.Emit(f(l, r))
				}
			}
			return nil
		}
	}
	return joinWindows(j, uid, "join", pairs, opts)
}

// CoGroup runs f on all records of a window, each stream's in the order in which they came;
// one of them may be empty: so outer joins are made. They are valid during the call.
// Options: Named, Parallelism.
func (j *WindowJoin[K, L, R]) CoGroup[U any](uid string, f func(key K, w window.Span, left []L, right []R, out *Collector[U]) error, opts ...Option) *Stream[U] {
	return joinWindows(j, uid, "cogroup", f, opts)
}

func joinWindows[K comparable, L, R, U any](j *WindowJoin[K, L, R], uid, verb string, f func(K, window.Span, []L, []R, *Collector[U]) error, opts []Option) *Stream[U] {
	e := j.left.env
	id := e.identify(uid, verb, j.left.from)
	o := e.options(id, opts)
	err := j.err
	if err == nil {
		err = windowing.Check[window.Either[L, R]](j.plan)
	}
	if a := j.plan.Assigner; err == nil && needsTime(a) {
		err = needTimes(a.String(), ", or ProcessingTime windows", j.left, j.right)
	}
	if !joinable(id, j.left, j.right, f != nil, err) {
		return e.streamOf[U](e.declare(declaration{identity: id, opts: o}))
	}
	return declareConnected(j.left, j.right, id, o, func(s *Setup) CoProcessor[K, L, R, U] {
		late := j.late.declare(s)
		return windowing.NewTwoWindows(s, j.plan, func(c *Ctx[K], w window.Span, ls []L, rs []R, out *Collector[U]) error {
			return f(c.Key(), w, ls, rs, out)
		}, late)
	})
}

// Between says which records meet: those of the right stream whose time is low to high
// after that of the left one, both ends in. Both may be negative.
func (j *IntervalJoin[K, L, R]) Between(low, high time.Duration) *IntervalJoin[K, L, R] {
	v := *j
	v.bounds, v.err = joining.NewBounds(low, high)
	return &v
}

// LateTo sends records that come behind the watermark to side outputs of the operator,
// instead of dropping them.
func (j *IntervalJoin[K, L, R]) LateTo(left Tag[L], right Tag[R]) *IntervalJoin[K, L, R] {
	v := *j
	v.late = lateTags[L, R]{left, right, true}
	return &v
}

// Apply emits what f makes of each two records that meet. Options: Named, Parallelism.
func (j *IntervalJoin[K, L, R]) Apply[U any](uid string, f func(L, R) U, opts ...Option) *Stream[U] {
	return joinIntervals(j, uid, false, always(f), opts)
}

// ApplyLeft is Apply that emits a left record that met none too, with met false, when the
// watermark says that none can come any more: at the end of its interval.
func (j *IntervalJoin[K, L, R]) ApplyLeft[U any](uid string, f func(left L, right R, met bool) U, opts ...Option) *Stream[U] {
	return joinIntervals(j, uid, true, f, opts)
}

// always is f for records that have met.
func always[L, R, U any](f func(L, R) U) func(L, R, bool) U {
	if f == nil {
		return nil
	}
	return func(l L, r R, _ bool) U { return f(l, r) }
}

func joinIntervals[K comparable, L, R, U any](j *IntervalJoin[K, L, R], uid string, outer bool, f func(L, R, bool) U, opts []Option) *Stream[U] {
	e := j.left.env
	id := e.identify(uid, "join", j.left.from)
	o := e.options(id, opts)
	err := j.err
	if err == nil {
		err = needTimes("an interval join", "", j.left, j.right)
	}
	if !joinable(id, j.left, j.right, f != nil, err) {
		return e.streamOf[U](e.declare(declaration{identity: id, opts: o}))
	}
	return declareConnected(j.left, j.right, id, o, func(s *Setup) CoProcessor[K, L, R, U] {
		return joining.NewInterval[K](s, j.bounds, outer, f, j.late.declare(s))
	})
}

// LateTo sends records of the left stream that come behind the watermark to a side output
// of the operator, instead of dropping them.
func (j *TemporalJoin[K, L, R]) LateTo(tag Tag[L]) *TemporalJoin[K, L, R] {
	v := *j
	v.late, v.sides = tag, true
	return &v
}

// Apply emits what f makes of each record and its version; one for which there is none is
// left out. Options: Named, Parallelism.
func (j *TemporalJoin[K, L, R]) Apply[U any](uid string, f func(L, R) U, opts ...Option) *Stream[U] {
	return joinVersions(j, uid, false, always(f), opts)
}

// ApplyLeft is Apply that emits a record for which there is no version too, with met false.
func (j *TemporalJoin[K, L, R]) ApplyLeft[U any](uid string, f func(left L, version R, met bool) U, opts ...Option) *Stream[U] {
	return joinVersions(j, uid, true, f, opts)
}

func joinVersions[K comparable, L, R, U any](j *TemporalJoin[K, L, R], uid string, outer bool, f func(L, R, bool) U, opts []Option) *Stream[U] {
	e := j.left.env
	id := e.identify(uid, "join", j.left.from)
	o := e.options(id, opts)
	if !joinable(id, j.left, j.right, f != nil, needTimes("a temporal join", "", j.left, j.right)) {
		return e.streamOf[U](e.declare(declaration{identity: id, opts: o}))
	}
	return declareConnected(j.left, j.right, id, o, func(s *Setup) CoProcessor[K, L, R, U] {
		var late func(L)
		if j.sides {
			late = s.Side(j.late).Emit
		}
		return joining.NewTemporal[K](s, outer, f, late)
	})
}

// needTimes refuses streams without event time. or is what else can be done.
func needTimes[K comparable, L, R any](what, or string, left *Keyed[K, L], right *Keyed[K, R]) error {
	if right == nil || right.env != left.env {
		return errOtherProgram
	}
	return left.env.needTime(what, or, left.from, right.from)
}

// joinable notes what is wrong with a join; it reports whether nothing is.
func joinable[K comparable, L, R any](id identity, left *Keyed[K, L], right *Keyed[K, R], given bool, err error) bool {
	e := left.env
	switch {
	case right == nil || right.env != e:
		err = errOtherProgram
	case !given:
		return e.given(id, false)
	}
	e.fail(wrapMistake(id, err))
	return err == nil
}
