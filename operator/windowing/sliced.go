package windowing

import (
	"encoding/binary"
	"math"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/window"
)

// sliced keeps an accumulator for each key and slice; see the package.
type sliced[K comparable, A, U any] struct {
	emitter[K, A, U]
	grid     window.Grid
	shared   bool // windows overlap: the key's slices are listed
	lateness int64
	merge    func(a, b A) A
	panes    *table.Panes[A]    // by the end of the slice
	ends     *table.List[int64] // of the key's slices, ascending; nil unless shared

	// The slice of the last record; most records fall into the same.
	slice  window.Span
	first  int64 // end of the first window that contains it
	last   int64 // of the last
	inside bool  // there are any
}

// Sliced is the operator that takes records.
type Sliced[K comparable, T, A, U any] struct {
	sliced[K, A, U]
	agg  Aggregate[T, A]
	late lateness[T]
	plan Plan
}

// SlicedPartials is the operator that takes what PreAggregators have made of them.
type SlicedPartials[K comparable, A, U any] struct {
	sliced[K, A, U]
	dropped *operator.Counter
}

// NewSliced returns the operator for p, which must be p.Sliced. side takes late records;
// nil: they are dropped.
func NewSliced[K comparable, T, A, U any](s *operator.Setup, p Plan, agg Aggregate[T, A], result Result[K, A, U],
	side func(T),
) *Sliced[K, T, A, U] {
	o := &Sliced[K, T, A, U]{agg: agg, plan: p, late: lateness[T]{side, s.Counter(LateCounter)}}
	o.set(s, p, agg.Merge, result)
	return o
}

// NewSlicedPartials returns the operator behind PreAggregators with the same plan.
func NewSlicedPartials[K comparable, A, U any](s *operator.Setup, p Plan, merge func(a, b A) A, result Result[K, A, U],
) *SlicedPartials[K, A, U] {
	o := &SlicedPartials[K, A, U]{dropped: s.Counter(LateCounter)}
	o.set(s, p, merge, result)
	return o
}

func (g *sliced[K, A, U]) set(s *operator.Setup, p Plan, merge func(a, b A) A, result Result[K, A, U]) {
	*g = sliced[K, A, U]{
		emitter: emitter[K, A, U]{s.Runtime(), result},
		grid:    p.Assigner.Grid(), lateness: p.Lateness, merge: merge, panes: s.Panes[A](operator.PanesState),
		slice: window.Span{Start: math.MinInt64, End: math.MinInt64}, // none
	}
	if g.shared = g.grid.Overlap() > 1; g.shared {
		g.ends = s.List[int64](operator.WindowsState)
	}
}

// Process puts a record into its slice.
func (o *Sliced[K, T, A, U]) Process(c *operator.Ctx[K], v T, out *operator.Collector[U]) error {
	at := o.rt.Time
	if at == operator.NoTime {
		return noTime(o.plan.Assigner)
	}
	if !o.slice.Contains(at) {
		o.move(window.Clamp(at))
	}
	switch {
	case !o.inside:
		return nil // between two windows
	case o.closed():
		o.late.take(v)
		return nil
	}
	a, ok := o.panes.Get(o.slice.End)
	if ok {
		a = o.agg.Add(a, v)
	} else {
		a = o.agg.First(v)
	}
	o.panes.Set(o.slice.End, a)
	o.added(c, !ok, out)
	return nil
}

// Process puts a partial into its slice.
func (o *SlicedPartials[K, A, U]) Process(c *operator.Ctx[K], p Partial[K, A], out *operator.Collector[U]) error {
	if o.slice.End != p.End {
		o.move(p.End - 1)
	}
	if o.closed() { // of one record; see PreAggregator
		o.dropped.Inc()
		return nil
	}
	a, ok := o.panes.Get(p.End)
	if ok {
		a = o.merge(a, p.Acc)
	} else {
		a = p.Acc
	}
	o.panes.Set(p.End, a)
	o.added(c, !ok, out)
	return nil
}

// move makes the slice of at the current one.
func (g *sliced[K, A, U]) move(at int64) {
	g.slice = g.grid.Slice(at)
	g.first = g.grid.FirstEnd(g.slice.End)
	g.last, g.inside = g.grid.LastEnd(g.slice.End)
}

// closed reports whether all windows of the current slice are gone.
func (g *sliced[K, A, U]) closed() bool { return g.last-1+g.lateness <= g.rt.Watermark }

// added is called when the current slice has taken something.
func (g *sliced[K, A, U]) added(c *operator.Ctx[K], fresh bool, out *operator.Collector[U]) {
	at := g.rt.Watermark
	if fresh {
		next := g.first
		if next-1 <= at { // fired: the next one
			next = g.grid.FirstEnd(at + 2)
		}
		if next <= g.last {
			c.TimerAtMillis(next - 1)
		}
		if g.lateness > 0 {
			c.TimerAtMillis(g.last - 1 + g.lateness)
		}
		if g.shared {
			g.list(g.slice.End)
		}
	}
	if g.lateness == 0 {
		return
	}
	for end := g.first; end <= g.last && end-1 <= at; end += g.grid.Slide {
		if end-1+g.lateness > at { // an update
			g.fire(c, end, out)
		}
	}
}

// OnTimer fires the window that ends now, and forgets what no window needs any more.
func (g *sliced[K, A, U]) OnTimer(c *operator.Ctx[K], out *operator.Collector[U]) error {
	end := c.Millis() + 1
	if g.grid.FirstEnd(end) == end {
		if next := end + g.grid.Slide; g.fire(c, end, out) && next-g.grid.Size < end {
			g.chain(c, next)
		}
		if g.lateness == 0 {
			g.forget(end)
		}
	}
	if g.lateness > 0 {
		if end -= g.lateness; g.grid.FirstEnd(end) == end {
			g.forget(end)
		}
	}
	return nil
}

// fire emits the result of the window that ends at end; ok is false if it is empty.
func (g *sliced[K, A, U]) fire(c *operator.Ctx[K], end int64, out *operator.Collector[U]) (ok bool) {
	var a A
	if !g.shared {
		a, ok = g.panes.Get(end)
	} else {
		ends := g.ends.View()
		for i := lowerEnd(ends, end-g.grid.Size+1); i < len(ends)/8; i++ {
			e := endAt(ends, i)
			if e > end {
				break
			}
			b, _ := g.panes.Get(e)
			if ok {
				b = g.merge(a, b)
			}
			a, ok = b, true
		}
	}
	if ok {
		g.emit(c, window.Span{Start: end - g.grid.Size, End: end}, a, out)
	}
	return ok
}

// chain sets the timer of the window that ends at next, if it shares a slice that there is
// with the one before.
func (g *sliced[K, A, U]) chain(c *operator.Ctx[K], next int64) {
	ends := g.ends.View()
	i := lowerEnd(ends, next-g.grid.Size+1)
	if i < len(ends)/8 && endAt(ends, i) <= next {
		c.TimerAtMillis(next - 1)
	}
}

// forget clears the slices that lie in no window that ends after end.
func (g *sliced[K, A, U]) forget(end int64) {
	if !g.shared {
		g.panes.Clear(end)
		return
	}
	ends := g.ends.View()
	n := lowerEnd(ends, end+g.grid.Slide-g.grid.Size+1)
	if n == 0 {
		return
	}
	for i := range n {
		g.panes.Clear(endAt(ends, i))
	}
	left := len(ends)/8 - n
	all := g.ends.Resize(len(ends)/8, 8)
	copy(all, all[n*8:])
	g.ends.Resize(left, 8)
}

// list notes a slice.
func (g *sliced[K, A, U]) list(end int64) {
	ends := g.ends.View()
	n, i := len(ends)/8, lowerEnd(ends, end)
	all := g.ends.Resize(n+1, 8)
	copy(all[(i+1)*8:], all[i*8:n*8])
	binary.LittleEndian.PutUint64(all[i*8:], uint64(end))
}

func endAt(ends []byte, i int) int64 { return int64(binary.LittleEndian.Uint64(ends[i*8:])) }

// lowerEnd is the number of ends before at.
func lowerEnd(ends []byte, at int64) int {
	lo, hi := 0, len(ends)/8
	for lo < hi {
		if m := (lo + hi) / 2; endAt(ends, m) < at {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
