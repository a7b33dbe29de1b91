package joining

import (
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
)

// Version is the value of a key from a time on.
type Version[T any] struct {
	At    int64
	Value T
}

// Temporal is the operator of joins with the version that is valid at a record's time.
// Records wait until the watermark has reached their time: then every version up to it is
// known.
type Temporal[K comparable, L, R, U any] struct {
	rt      *operator.Runtime
	outer   bool
	result  Result[L, R, U]
	late    func(L)
	dropped *operator.Counter

	pending  *table.PaneList[L]
	versions *table.Panes[R]
	current  *table.Value[Version[R]]
	scratch  []L
}

// NewTemporal returns one; outer has records for which there is no version emitted too.
// late takes late records; nil: they are dropped and counted.
func NewTemporal[K comparable, L, R, U any](s *operator.Setup, outer bool, result Result[L, R, U], late func(L)) *Temporal[K, L, R, U] {
	return &Temporal[K, L, R, U]{
		rt: s.Runtime(), outer: outer, result: result, late: late, dropped: s.Counter(LateCounter),
		pending:  s.PaneList[L](operator.PendingState),
		versions: s.Panes[R](operator.VersionsState),
		current:  s.Value[Version[R]](operator.CurrentState),
	}
}

// ProcessLeft keeps a record until its time has come.
func (o *Temporal[K, L, R, U]) ProcessLeft(c *operator.Ctx[K], v L, _ *operator.Collector[U]) error {
	at, late, err := timeOf(o.rt)
	switch {
	case err != nil:
		return err
	case late:
		drop(o.late, o.dropped, v)
	case o.pending.Append(at, v):
		c.TimerAtMillis(at)
	}
	return nil
}

// ProcessRight keeps a version until its time has come. One that comes late is valid for
// what comes after it, unless a newer one is.
func (o *Temporal[K, L, R, U]) ProcessRight(c *operator.Ctx[K], v R, _ *operator.Collector[U]) error {
	at, late, err := timeOf(o.rt)
	switch {
	case err != nil:
		return err
	case late:
		o.become(Version[R]{at, v})
	default:
		o.versions.Set(at, v)
		c.TimerAtMillis(at)
	}
	return nil
}

// become makes v the current version, unless that is newer.
func (o *Temporal[K, L, R, U]) become(v Version[R]) {
	if now, ok := o.current.Get(); !ok || now.At <= v.At {
		o.current.Set(v)
	}
}

// OnTimer makes the version of the timer's time the current one, and joins the records of
// that time with it.
func (o *Temporal[K, L, R, U]) OnTimer(c *operator.Ctx[K], out *operator.Collector[U]) error {
	at := c.Millis()
	if v, ok := o.versions.Get(at); ok {
		o.versions.Clear(at)
		o.become(Version[R]{at, v})
	}
	o.scratch = o.pending.Get(o.scratch[:0], at)
	if len(o.scratch) == 0 {
		return nil
	}
	o.pending.Clear(at)
	if now, ok := o.current.Get(); ok || o.outer {
		for _, v := range o.scratch {
			o.rt.Time = at
			out.Emit(o.result(v, now.Value, ok))
		}
	}
	clear(o.scratch)
	return nil
}
