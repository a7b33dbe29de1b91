package windowing

import (
	"fmt"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/window"
)

// Contents is what is in the windows of the current key: in their entries, or in panes by
// their ids. It declares the list of the windows.
type Contents[K comparable, T, U any] interface {
	windows() index
	// add puts a record into the window at place i.
	add(x *index, i int, e *Entry, at int64, v T)
	// merge moves what is in the window at place from into that at place to.
	merge(x *index, to, from int)
	// clear forgets what is in a window; drop all that there is of one that is removed.
	clear(x *index, i int, e *Entry)
	drop(e *Entry)
	// fire emits the window's result, if there is anything in it.
	fire(c *operator.Ctx[K], x *index, i int, e *Entry, out *operator.Collector[U]) error
}

// NewAggregated returns contents that are folded record by record. Accumulators of a fixed
// width lie in the entries, where the record has just been.
func NewAggregated[K comparable, T, A, U any](s *operator.Setup, agg Aggregate[T, A], result Result[K, A, U]) Contents[K, T, U] {
	emits := emitter[K, A, U]{s.Runtime(), result}
	if c, err := codec.In[A](s.Types()); err == nil && c.Fixed() > 0 && c.Fixed() <= mostInEntry {
		list := s.List[FullEntry[A]](operator.WindowsState)
		return &inEntry[K, T, A, U]{emits, agg, c, index{list, entrySize + 1 + c.Fixed()}, nil}
	}
	x := index{s.List[Entry](operator.WindowsState), entrySize}
	return &inPanes[K, T, A, U]{emits, agg, s.Panes[A](operator.PanesState), x}
}

// mostInEntry is the width of the largest accumulator kept in an entry: the entries of a
// key are moved when one is inserted.
const mostInEntry = 64

// inEntry is an accumulator in each entry: a byte that says whether, and its encoding.
type inEntry[K comparable, T, A, U any] struct {
	emitter[K, A, U]
	agg  Aggregate[T, A]
	c    codec.Codec[A]
	list index
	buf  []byte
}

func (g *inEntry[K, T, A, U]) windows() index { return g.list }

func (g *inEntry[K, T, A, U]) get(x *index, i int) (a A, ok bool) {
	t := x.tail(i)
	if t[0] == 0 {
		return a, false
	}
	a, _, err := g.c.Decode(t[1:])
	if err != nil {
		g.rt.Fail(fmt.Errorf("decode an accumulator: %w: %w", statebackend.ErrCorrupt, err))
	}
	return a, err == nil
}

func (g *inEntry[K, T, A, U]) set(x *index, i int, a A) {
	g.buf = g.c.Append(g.buf[:0], a)
	t := x.edit(i)[entrySize:]
	t[0] = 1
	copy(t[1:], g.buf)
}

func (g *inEntry[K, T, A, U]) add(x *index, i int, _ *Entry, _ int64, v T) {
	if a, ok := g.get(x, i); ok {
		g.set(x, i, g.agg.Add(a, v))
		return
	}
	g.set(x, i, g.agg.First(v))
}

func (g *inEntry[K, T, A, U]) merge(x *index, to, from int) {
	b, ok := g.get(x, from)
	if !ok {
		return
	}
	if a, ok := g.get(x, to); ok {
		b = g.agg.Merge(a, b)
	}
	g.set(x, to, b)
}

func (g *inEntry[K, T, A, U]) clear(x *index, i int, _ *Entry) { clear(x.edit(i)[entrySize:]) }
func (g *inEntry[K, T, A, U]) drop(*Entry)                     {}

func (g *inEntry[K, T, A, U]) fire(c *operator.Ctx[K], x *index, i int, e *Entry, out *operator.Collector[U]) error {
	if a, ok := g.get(x, i); ok {
		g.emit(c, e.span(), a, out)
	}
	return nil
}

// inPanes is an accumulator in panes for each window.
type inPanes[K comparable, T, A, U any] struct {
	emitter[K, A, U]
	agg   Aggregate[T, A]
	panes *table.Panes[A]
	list  index
}

func (g *inPanes[K, T, A, U]) windows() index { return g.list }

func (g *inPanes[K, T, A, U]) add(_ *index, _ int, e *Entry, _ int64, v T) {
	a, ok := g.panes.Get(e.ID)
	if ok {
		a = g.agg.Add(a, v)
	} else {
		a = g.agg.First(v)
	}
	g.panes.Set(e.ID, a)
}

func (g *inPanes[K, T, A, U]) merge(x *index, to, from int) {
	into, gone := x.get(to).ID, x.get(from).ID
	b, ok := g.panes.Get(gone)
	if !ok {
		return
	}
	g.panes.Clear(gone)
	if a, ok := g.panes.Get(into); ok {
		b = g.agg.Merge(a, b)
	}
	g.panes.Set(into, b)
}

func (g *inPanes[K, T, A, U]) clear(_ *index, _ int, e *Entry) { g.panes.Clear(e.ID) }
func (g *inPanes[K, T, A, U]) drop(e *Entry)                   { g.panes.Clear(e.ID) }

func (g *inPanes[K, T, A, U]) fire(c *operator.Ctx[K], _ *index, _ int, e *Entry, out *operator.Collector[U]) error {
	if a, ok := g.panes.Get(e.ID); ok {
		g.emit(c, e.span(), a, out)
	}
	return nil
}

// Function makes a window's results of all that is in it. elements are valid during the
// call.
type Function[K comparable, T, U any] func(c *operator.Ctx[K], w window.Span, elements []window.Element[T], out *operator.Collector[U]) error

// collected is all elements of each window.
type collected[K comparable, T, U any] struct {
	rt      *operator.Runtime
	setup   *operator.Setup
	evictor window.Evictor
	f       Function[K, T, U]
	panes   *table.PaneList[window.Element[T]]
	list    index
	scratch []window.Element[T]
}

// NewCollected returns contents that keep all elements.
func NewCollected[K comparable, T, U any](s *operator.Setup, e window.Evictor, f Function[K, T, U]) Contents[K, T, U] {
	return &collected[K, T, U]{
		rt: s.Runtime(), setup: s, evictor: e, f: f, panes: s.PaneList[window.Element[T]](operator.PanesState),
		list: index{s.List[Entry](operator.WindowsState), entrySize},
	}
}

// Folding is a Function that folds the elements.
func Folding[K comparable, T, A, U any](agg Aggregate[T, A], result Result[K, A, U]) Function[K, T, U] {
	return func(c *operator.Ctx[K], w window.Span, elements []window.Element[T], out *operator.Collector[U]) error {
		a := agg.First(elements[0].Value)
		for _, e := range elements[1:] {
			a = agg.Add(a, e.Value)
		}
		out.Emit(result(c.Key(), w, a))
		return nil
	}
}

func (g *collected[K, T, U]) windows() index { return g.list }

func (g *collected[K, T, U]) add(_ *index, _ int, e *Entry, at int64, v T) {
	g.panes.Append(e.ID, window.Element[T]{At: at, Value: v})
}

func (g *collected[K, T, U]) merge(x *index, to, from int) {
	g.panes.Move(x.get(to).ID, x.get(from).ID)
}

func (g *collected[K, T, U]) clear(_ *index, _ int, e *Entry) { g.panes.Clear(e.ID) }

func (g *collected[K, T, U]) drop(e *Entry) {
	g.panes.Clear(e.ID)
	g.setup.ClearWindow(e.ID)
}

func (g *collected[K, T, U]) fire(c *operator.Ctx[K], _ *index, _ int, e *Entry, out *operator.Collector[U]) error {
	all := g.panes.Get(g.scratch[:0], e.ID)
	g.scratch = all
	defer func() { clear(g.scratch) }()
	n, w := len(all), e.span()
	if g.evictor.Evicts() && !g.evictor.IsAfter() {
		all = window.Evict(g.evictor, all)
	}
	if len(all) > 0 {
		setTime(g.rt, w)
		g.setup.SetWindow(e.ID)
		if err := g.f(c, w, all, out); err != nil {
			return err
		}
	}
	if g.evictor.Evicts() && g.evictor.IsAfter() {
		all = window.Evict(g.evictor, all)
	}
	if len(all) < n {
		g.panes.Set(e.ID, all)
	}
	return nil
}
