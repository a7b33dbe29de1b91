package joining

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/window"
)

// LateCounter counts the records that were dropped because they came behind the watermark.
const LateCounter = "weir.late-records-dropped"

// ErrNoTime: a record without event time came to a join by event time.
var ErrNoTime = errors.New("the record has no event time: give both streams one with EventTime")

// Bounds say which records meet: the right one's time less the left one's lies in
// Low … High, both ends in; ms.
type Bounds struct{ Low, High int64 }

// NewBounds refuses bounds that are not possible.
func NewBounds(low, high time.Duration) (Bounds, error) {
	switch {
	case low > high:
		return Bounds{}, fmt.Errorf("an interval from %v to %v is empty", low, high)
	case low%time.Millisecond != 0 || high%time.Millisecond != 0:
		return Bounds{}, fmt.Errorf("an interval from %v to %v is not possible, its ends must be whole milliseconds", low, high)
	}
	return Bounds{low.Milliseconds(), high.Milliseconds()}, nil
}

// leastWidth is that of the narrowest bucket, ms. To find a bucket costs a few cache misses,
// to look through a dozen records next to nothing: workload join is a tenth faster with 128
// than with 64, and no faster with 256.
const leastWidth = 128

// width is that of the buckets: the interval touches two at most.
func (b Bounds) width() int64 {
	return max(leastWidth, int64(1)<<bits.Len64(uint64(b.High-b.Low)))
}

// Result makes what is emitted for two records that met or, of an outer join, for a left
// one that met none: then right is zero and met false.
type Result[L, R, U any] func(left L, right R, met bool) U

// Interval is the operator of interval joins.
type Interval[K comparable, L, R, U any] struct {
	rt      *operator.Runtime
	bounds  Bounds
	outer   bool
	result  Result[L, R, U]
	late    func(window.Either[L, R])
	dropped *operator.Counter
	left    buckets[L]
	right   buckets[R]
}

// NewInterval returns one; outer has left records that met none emitted too. late takes late
// records; nil: they are dropped and counted.
func NewInterval[K comparable, L, R, U any](s *operator.Setup, b Bounds, outer bool, result Result[L, R, U], late func(window.Either[L, R])) *Interval[K, L, R, U] {
	return &Interval[K, L, R, U]{
		rt: s.Runtime(), bounds: b, outer: outer, result: result, late: late, dropped: s.Counter(LateCounter),
		left: newBuckets[L](s, operator.LeftState, b.width()), right: newBuckets[R](s, operator.RightState, b.width()),
	}
}

// ProcessLeft has a left record meet what is there of the right.
func (o *Interval[K, L, R, U]) ProcessLeft(c *operator.Ctx[K], v L, out *operator.Collector[U]) error {
	at, late, err := timeOf(o.rt)
	if err != nil {
		return err
	}
	if late {
		drop(o.late, o.dropped, window.Either[L, R]{Left: v})
		return nil
	}
	found := o.right.between(at+o.bounds.Low, at+o.bounds.High)
	for i := range found {
		o.rt.Time = max(at, found[i].At)
		out.Emit(o.result(v, found[i].Value, true))
	}
	met := len(found) > 0
	o.right.release()
	end := at + o.bounds.High // the last that it can meet
	if end <= o.rt.Watermark {
		if o.outer && !met {
			o.alone(at, at, v, out)
		}
		return nil
	}
	if o.left.keep(at, met, v) {
		c.TimerAtMillis(o.left.start(at) + o.left.width - 1 + o.bounds.High)
	}
	if o.outer && !met {
		c.TimerAtMillis(end)
	}
	return nil
}

// ProcessRight has a right record meet what is there of the left.
func (o *Interval[K, L, R, U]) ProcessRight(c *operator.Ctx[K], v R, out *operator.Collector[U]) error {
	at, late, err := timeOf(o.rt)
	if err != nil {
		return err
	}
	if late {
		drop(o.late, o.dropped, window.Either[L, R]{Right: v, IsRight: true})
		return nil
	}
	from, to := at-o.bounds.High, at-o.bounds.Low
	found, first := o.left.between(from, to), false
	for i := range found {
		o.rt.Time = max(at, found[i].At)
		out.Emit(o.result(found[i].Value, v, true))
		first = first || !found[i].Matched
	}
	o.left.release()
	if o.outer && first {
		o.left.match(from, to)
	}
	if to > o.rt.Watermark && o.right.keep(at, false, v) {
		c.TimerAtMillis(o.right.start(at) + o.right.width - 1 - o.bounds.Low)
	}
	return nil
}

// alone emits a left record of time at that met none, which was certain at certain.
func (o *Interval[K, L, R, U]) alone(at, certain int64, v L, out *operator.Collector[U]) {
	var none R
	o.rt.Time = max(at, certain)
	out.Emit(o.result(v, none, false))
}

// OnTimer emits left records that can meet none any more, and forgets buckets whose last
// record can't.
func (o *Interval[K, L, R, U]) OnTimer(c *operator.Ctx[K], out *operator.Collector[U]) error {
	now := c.Millis()
	at := now - o.bounds.High
	if o.outer {
		for _, k := range o.left.between(at, at) {
			if !k.Matched {
				o.alone(at, now, k.Value, out)
			}
		}
		o.left.release()
	}
	o.left.clear(at)
	o.right.clear(now + o.bounds.Low)
	return nil
}

// timeOf is the current record's time, and whether it is late.
func timeOf(rt *operator.Runtime) (at int64, late bool, err error) {
	if rt.Time == operator.NoTime {
		return 0, false, ErrNoTime
	}
	return window.Clamp(rt.Time), rt.Time <= rt.Watermark, nil
}

// drop is what becomes of a late record.
func drop[T any](late func(T), dropped *operator.Counter, v T) {
	if late != nil {
		late(v)
		return
	}
	dropped.Inc()
}
