package windowing

import (
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/window"
)

// PairFunction makes a window's results of all that is in it of two streams, each in the
// order in which it came; one of them may be empty. Both are valid during the call.
type PairFunction[K comparable, L, R, U any] func(c *operator.Ctx[K], w window.Span, left []L, right []R, out *operator.Collector[U]) error

// paired is all records of two streams in each window.
type paired[K comparable, L, R, U any] struct {
	rt     *operator.Runtime
	setup  *operator.Setup
	f      PairFunction[K, L, R, U]
	left   *table.PaneList[L]
	right  *table.PaneList[R]
	list   index
	lefts  []L // scratch
	rights []R
}

// NewPaired returns contents of two streams.
func NewPaired[K comparable, L, R, U any](s *operator.Setup, f PairFunction[K, L, R, U]) Contents[K, window.Either[L, R], U] {
	return &paired[K, L, R, U]{
		rt: s.Runtime(), setup: s, f: f,
		left: s.PaneList[L](operator.PanesState), right: s.PaneList[R](operator.RightPanesState),
		list: index{s.List[Entry](operator.WindowsState), entrySize},
	}
}

func (g *paired[K, L, R, U]) windows() index { return g.list }

func (g *paired[K, L, R, U]) add(_ *index, _ int, e *Entry, _ int64, v window.Either[L, R]) {
	if v.IsRight {
		g.right.Append(e.ID, v.Right)
		return
	}
	g.left.Append(e.ID, v.Left)
}

func (g *paired[K, L, R, U]) merge(x *index, to, from int) {
	into, gone := x.get(to).ID, x.get(from).ID
	g.left.Move(into, gone)
	g.right.Move(into, gone)
}

func (g *paired[K, L, R, U]) clear(_ *index, _ int, e *Entry) {
	g.left.Clear(e.ID)
	g.right.Clear(e.ID)
}

func (g *paired[K, L, R, U]) drop(e *Entry) { g.clear(nil, 0, e) }

func (g *paired[K, L, R, U]) fire(c *operator.Ctx[K], _ *index, _ int, e *Entry, out *operator.Collector[U]) error {
	g.lefts, g.rights = g.left.Get(g.lefts[:0], e.ID), g.right.Get(g.rights[:0], e.ID)
	defer func() {
		clear(g.lefts)
		clear(g.rights)
	}()
	if len(g.lefts) == 0 && len(g.rights) == 0 {
		return nil
	}
	setTime(g.rt, e.span())
	return g.f(c, e.span(), g.lefts, g.rights, out)
}

// TwoWindows runs windows on two streams.
type TwoWindows[K comparable, L, R, U any] struct {
	w *Windows[K, window.Either[L, R], U]
}

// NewTwoWindows returns the operator for p, which Check has seen for Either[L, R]. side takes
// late records; nil: they are dropped.
func NewTwoWindows[K comparable, L, R, U any](s *operator.Setup, p Plan, f PairFunction[K, L, R, U], side func(window.Either[L, R])) *TwoWindows[K, L, R, U] {
	return &TwoWindows[K, L, R, U]{NewWindows(s, p, NewPaired(s, f), side)}
}

// ProcessLeft puts a record of the first stream into its windows.
func (o *TwoWindows[K, L, R, U]) ProcessLeft(c *operator.Ctx[K], v L, out *operator.Collector[U]) error {
	return o.w.Process(c, window.Either[L, R]{Left: v}, out)
}

// ProcessRight puts a record of the second stream into its windows.
func (o *TwoWindows[K, L, R, U]) ProcessRight(c *operator.Ctx[K], v R, out *operator.Collector[U]) error {
	return o.w.Process(c, window.Either[L, R]{Right: v, IsRight: true}, out)
}

// OnTimer is that of Windows.
func (o *TwoWindows[K, L, R, U]) OnTimer(c *operator.Ctx[K], out *operator.Collector[U]) error {
	return o.w.OnTimer(c, out)
}
