package weir

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/operator/windowing"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
	"github.com/weirstream/weir/window"
)

// partialsSuffix makes the uid of the operator that folds records before the shuffle.
const partialsSuffix = "#partials"

// Windowed is a keyed stream whose records are put into windows; see package window.
//
//	byUser.Window(window.Tumbling(time.Minute)).Lateness(time.Minute).
//		Fold("spend", int64(0), func(sum int64, o Order) int64 { return sum + o.Cents },
//			func(user string, w window.Span, sum int64) Spend { return Spend{user, w.EndTime(), sum} })
//
// Results have the last ms of their window as event time. A record that comes when all of
// its windows are over is dropped and counted as "weir.late-records-dropped", or goes to a
// side output; see LateTo.
type Windowed[K comparable, T any] struct {
	keyed *Keyed[K, T]
	plan  windowing.Plan
	late  Tag[T] // where late records go
	sides bool   // there is such a place
	err   error
}

// WindowedAll is a stream without a key whose records are put into windows: one subtask
// sees them all.
type WindowedAll[T any] struct{ w *Windowed[uint8, T] }

// WindowProcessor is a function of all elements of a window; they are in the order in
// which they came, and valid during the call. State for each key is declared by its
// factory, state for each window with Setup.WindowValue. The optional methods are those of
// Processor without OnTimer.
type WindowProcessor[K comparable, T, B any] interface {
	Process(c *Ctx[K], w window.Span, elements []window.Element[T], out *Collector[B]) error
}

// WindowValue is a value for each key and window.
type WindowValue[V any] = operator.WindowValue[V]

// Merge lets a Fold over windows make one accumulator of two, which may change a: then
// sliding windows share what they have in common, sessions become one, and records are
// folded before they are sent to the subtask of their key. It must be associative and
// commutative.
func Merge[A any](f func(a, b A) A) Option {
	return optionFunc{optMerge, func(o *options) {
		if o.merge = f; f == nil {
			o.err = errors.New("weir.Merge: its function is nil")
		}
	}}
}

// NoPreAggregation has every record sent to the subtask of its key, instead of what records
// of a key and window have come to. It is switched off by itself where it does not pay.
var NoPreAggregation Option = optionFunc{optDirect, func(o *options) { o.direct = true }}

// Window puts the records of each key into windows.
func (k *Keyed[K, T]) Window(a window.Assigner) *Windowed[K, T] {
	w := &Windowed[K, T]{keyed: k, plan: windowing.Plan{Assigner: a}, err: a.Err()}
	w.plan.Trigger, w.plan.Evictor = a.Defaults()
	return w
}

// WindowAll puts all records into windows, in one subtask.
func (s *Stream[T]) WindowAll(a window.Assigner) *WindowedAll[T] {
	all := &Keyed[uint8, T]{
		env: s.env, key: func(T) uint8 { return 0 },
		from: distributed(s.from, metapb.Distribution_DISTRIBUTION_HASH),
	}
	return &WindowedAll[T]{all.Window(a)}
}

// Trigger says when results are emitted, instead of the windows' default.
func (w *Windowed[K, T]) Trigger(t window.Trigger) *Windowed[K, T] {
	v := *w
	v.plan.Trigger = t
	return &v
}

// Evictor throws elements away before a result is made, or after. All elements are kept
// for it.
func (w *Windowed[K, T]) Evictor(e window.Evictor) *Windowed[K, T] {
	v := *w
	v.plan.Evictor = e
	return &v
}

// Lateness keeps windows for so long after their end: a record that comes meanwhile has the
// window's result emitted again.
func (w *Windowed[K, T]) Lateness(most time.Duration) *Windowed[K, T] {
	v := *w
	if v.plan.Lateness = most.Milliseconds(); most < 0 || most%time.Millisecond != 0 {
		v.err = errors.Join(v.err, fmt.Errorf("a lateness of %v is not possible", most))
	}
	return &v
}

// LateTo sends records that come when all of their windows are over to a side output of
// the operator on the windows, instead of dropping them.
func (w *Windowed[K, T]) LateTo(tag Tag[T]) *Windowed[K, T] {
	v := *w
	v.late, v.sides = tag, true
	return &v
}

// side is where late records go; nil: nowhere.
func (w *Windowed[K, T]) side(s *Setup) func(T) {
	if !w.sides {
		return nil
	}
	return s.Side(w.late).Emit
}

// Trigger is Windowed.Trigger.
func (a *WindowedAll[T]) Trigger(t window.Trigger) *WindowedAll[T] {
	return &WindowedAll[T]{a.w.Trigger(t)}
}

// Evictor is Windowed.Evictor.
func (a *WindowedAll[T]) Evictor(e window.Evictor) *WindowedAll[T] {
	return &WindowedAll[T]{a.w.Evictor(e)}
}

// Lateness is Windowed.Lateness.
func (a *WindowedAll[T]) Lateness(most time.Duration) *WindowedAll[T] {
	return &WindowedAll[T]{a.w.Lateness(most)}
}

// LateTo is Windowed.LateTo.
func (a *WindowedAll[T]) LateTo(tag Tag[T]) *WindowedAll[T] { return &WindowedAll[T]{a.w.LateTo(tag)} }

// Reduce combines the records of a window into one by f, which must be associative and
// must not change its arguments. Options: Named, Parallelism, NoPreAggregation.
//
// It has a type parameter so that only programs that call it are compiled with it: methods
// without one are compiled for every type of stream that a program has, and windows are much.
func (w *Windowed[K, T]) Reduce[F ~func(a, b T) T](uid string, f F, opts ...Option) *Stream[T] {
	id, o := w.declare(uid, "reduce", opts, optDirect)
	w.keyed.env.given(id, f != nil)
	return aggregateWindows(w, id, o, windowing.Aggregate[T, T]{First: Self[T], Add: f, Merge: f},
		func(_ K, _ window.Span, v T) T { return v })
}

// Fold keeps one A for each window, at first init, takes each record in by f, and emits
// what result makes of it. Sessions need Merge.
// Options: Named, Parallelism, Merge, NoPreAggregation.
func (w *Windowed[K, T]) Fold[A, U any](uid string, init A, f func(A, T) A, result func(K, window.Span, A) U, opts ...Option) *Stream[U] {
	id, o := w.declare(uid, "fold", opts, optMerge, optDirect)
	w.keyed.env.given(id, f != nil && result != nil)
	fresh := copier(init)
	agg := windowing.Aggregate[T, A]{First: func(v T) A { return f(fresh(), v) }, Add: f}
	if o.merge != nil {
		var ok bool
		if agg.Merge, ok = o.merge.(func(a, b A) A); !ok {
			w.keyed.env.fail(fmt.Errorf("%v: weir.Merge is given a %T, want a %T", id, o.merge, agg.Merge))
		}
	}
	return aggregateWindows(w, id, o, agg, result)
}

// Aggregate is Fold with an init and a merge function; see Merge.
// Options: Named, Parallelism, NoPreAggregation.
func (w *Windowed[K, T]) Aggregate[A, U any](uid string, init func() A, add func(A, T) A, merge func(a, b A) A,
	result func(K, window.Span, A) U, opts ...Option,
) *Stream[U] {
	id, o := w.declare(uid, "aggregate", opts, optDirect)
	w.keyed.env.given(id, init != nil && add != nil && merge != nil && result != nil)
	return aggregateWindows(w, id, o,
		windowing.Aggregate[T, A]{First: func(v T) A { return add(init(), v) }, Add: add, Merge: merge}, result)
}

// Process runs a function of all elements of a window: factory makes one for each subtask,
// and is called when the job is planned too. Options: Named, Parallelism.
func (w *Windowed[K, T]) Process[B any, P WindowProcessor[K, T, B]](uid string, factory func(*Setup) P, opts ...Option) *Stream[B] {
	id, o := w.declare(uid, "process", opts)
	e := w.keyed.env
	if !e.given(id, factory != nil) || w.err != nil {
		return e.streamOf[B](e.declare(declaration{identity: id, opts: o}))
	}
	return declareKeyed(w.keyed, id, o, func(s *Setup) Processor[K, T, B] {
		if w.plan.Merging() {
			s.MergingWindows()
		}
		p := factory(s)
		if err := checkWindowProcessor[K, B](p); err != nil {
			e.fail(wrapMistake(id, err))
			return nil
		}
		contents := windowing.NewCollected(s, w.plan.Evictor, p.Process)
		return &windowFunction[K, T, B]{windowsOf(w, s, contents), p}
	})
}

// Reduce is Windowed.Reduce.
func (a *WindowedAll[T]) Reduce[F ~func(a, b T) T](uid string, f F, opts ...Option) *Stream[T] {
	return a.w.Reduce(uid, f, append(opts, Parallelism(1))...)
}

// Fold is Windowed.Fold.
func (a *WindowedAll[T]) Fold[A, U any](uid string, init A, f func(A, T) A, result func(window.Span, A) U, opts ...Option) *Stream[U] {
	return a.w.Fold(uid, init, f, withoutKey(result), append(opts, Parallelism(1))...)
}

// Aggregate is Windowed.Aggregate.
func (a *WindowedAll[T]) Aggregate[A, U any](uid string, init func() A, add func(A, T) A, merge func(a, b A) A,
	result func(window.Span, A) U, opts ...Option,
) *Stream[U] {
	return a.w.Aggregate(uid, init, add, merge, withoutKey(result), append(opts, Parallelism(1))...)
}

// Process is Windowed.Process; the key is 0.
func (a *WindowedAll[T]) Process[B any, P WindowProcessor[uint8, T, B]](uid string, factory func(*Setup) P, opts ...Option) *Stream[B] {
	return a.w.Process[B, P](uid, factory, append(opts, Parallelism(1))...)
}

func withoutKey[A, U any](result func(window.Span, A) U) func(uint8, window.Span, A) U {
	if result == nil {
		return nil
	}
	return func(_ uint8, w window.Span, a A) U { return result(w, a) }
}

// declare names an operator on the windows and notes their mistakes.
func (w *Windowed[K, T]) declare(uid, verb string, opts []Option, allowed ...string) (identity, options) {
	e := w.keyed.env
	id := e.identify(uid, verb, w.keyed.from)
	if w.err == nil {
		w.err = windowing.Check[T](w.plan)
	}
	a := w.plan.Assigner
	if w.err == nil && needsTime(a) {
		w.err = e.needTime(a.String(), ", or ProcessingTime windows", w.keyed.from)
	}
	e.fail(wrapMistake(id, w.err))
	return id, e.options(id, opts, allowed...)
}

// needsTime reports whether windows go by event time.
func needsTime(a window.Assigner) bool { return a.Kind() != window.Whole && !a.InProcessingTime() }

// needTime refuses streams without event time. or is what else can be done.
func (e *Env) needTime(what, or string, streams ...[]upstream) error {
	for _, u := range slices.Concat(streams...) {
		if !e.timed[u.from] {
			return fmt.Errorf("%s needs event time, and the records of %q have none: use EventTime before it%s",
				what, e.plan.Operators[u.from].Uid, or)
		}
	}
	return nil
}

func wrapMistake(id identity, err error) error {
	if err != nil {
		err = fmt.Errorf("%v: %w", id, err)
	}
	return err
}

// aggregateWindows declares an operator with an incremental result: the machine that fits.
func aggregateWindows[K comparable, T, A, U any](w *Windowed[K, T], id identity, o options, agg windowing.Aggregate[T, A],
	result func(K, window.Span, A) U,
) *Stream[U] {
	k, p := w.keyed, w.plan
	if w.err == nil && p.Merging() && agg.Merge == nil {
		w.err = fmt.Errorf("%v: sessions become one, so a fold needs weir.Merge", p.Assigner)
		k.env.fail(wrapMistake(id, w.err))
	}
	switch {
	case w.err != nil:
		return k.env.streamOf[U](k.env.declare(declaration{identity: id, opts: o}))
	case p.Sliced(agg.Merge != nil) && agg.Merge != nil && !o.direct && !w.sides:
		keys := keyCodec[K](k.env)
		if keys == nil {
			break
		}
		from := declarePartials(k, keys, id, p, agg)
		return declareKeyedOn(k.env, id, o, keyOfPartial[K, A],
			func(codec.Key[K]) []input { return from },
			func(s *Setup) Processor[K, windowing.Partial[K, A], U] {
				return windowing.NewSlicedPartials(s, p, agg.Merge, windowing.Result[K, A, U](result))
			})
	case p.Sliced(agg.Merge != nil):
		return declareKeyed(k, id, o, func(s *Setup) Processor[K, T, U] {
			return windowing.NewSliced(s, p, agg, windowing.Result[K, A, U](result), w.side(s))
		})
	case p.Evictor.Evicts():
		return declareKeyed(k, id, o, func(s *Setup) Processor[K, T, U] {
			return windowsOf(w, s, windowing.NewCollected(s, p.Evictor, windowing.Folding[K](agg, windowing.Result[K, A, U](result))))
		})
	}
	return declareKeyed(k, id, o, func(s *Setup) Processor[K, T, U] {
		return windowsOf(w, s, windowing.NewAggregated(s, agg, windowing.Result[K, A, U](result)))
	})
}

// windowsOf makes the operator for any windows.
func windowsOf[K comparable, T, U any](w *Windowed[K, T], s *Setup, contents windowing.Contents[K, T, U]) *windowing.Windows[K, T, U] {
	return windowing.NewWindows(s, w.plan, contents, w.side(s))
}

func keyOfPartial[K comparable, A any](p windowing.Partial[K, A]) K { return p.Key }

// declarePartials declares, in the subtasks of each producer of k, the operator that folds
// records before the shuffle, and returns the inputs of the one behind it.
func declarePartials[K comparable, T, A any](k *Keyed[K, T], keys codec.Key[K], id identity, p windowing.Plan, agg windowing.Aggregate[T, A]) []input {
	e := k.env
	all := make([]input, len(k.from))
	for i, u := range k.from {
		uid := id.uid + partialsSuffix
		if i > 0 {
			uid = fmt.Sprintf("%s-%d", uid, i+1)
		}
		u.dist = metapb.Distribution_DISTRIBUTION_FORWARD
		index := e.declare(declaration{
			identity: identity{uid, id.auto, "partials"}, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM,
			opts:   options{name: "partials of " + id.uid, parallelism: int(e.plan.Operators[u.from].Parallelism)},
			inputs: (&Stream[T]{env: e, from: []upstream{u}}).inputs(),
			link: func(l *task.Linker) error {
				out := task.Out[windowing.Partial[K, A]](l)
				r := windowing.NewPreAggregator(l.Runtime(), l.Number(), p, agg, k.key, measured(keys), out)
				task.In(l, r)
				l.Lifecycle(r)
				return nil
			},
		})
		all[i] = input{
			upstream:   upstream{from: index, dist: metapb.Distribution_DISTRIBUTION_HASH},
			recordType: reflect.TypeFor[windowing.Partial[K, A]](),
			edge: func() (exchange.AnyEdge, []byte, error) {
				return edgeOf(e, &exchange.Edge[windowing.Partial[K, A]]{
					Hash: func(v windowing.Partial[K, A]) uint64 { return keys.Hash(v.Key) }, HasTimes: e.timed[index],
				})
			},
		}
	}
	return all
}

// measured returns the hash of keys, and how long they are if that differs.
func measured[K any](keys codec.Key[K]) func(K) (hash uint64, bytes int) {
	if keys.WordWidth() > 0 {
		return func(k K) (uint64, int) { return keys.Hash(k), 0 }
	}
	const most = 64 << 10 // of scratch memory that is kept
	var buf []byte
	return func(k K) (uint64, int) {
		b, hash := keys.AppendHash(buf[:0], k)
		if len(b) <= most {
			buf = b
		}
		return hash, len(b)
	}
}

// windowFunction is Windowed.Process in a subtask.
type windowFunction[K comparable, T, B any] struct {
	*windowing.Windows[K, T, B]
	p any
}

// inner is what has optional methods.
func (f *windowFunction[K, T, B]) inner() any { return f.p }

// checkWindowProcessor is checkHooks for functions of windows.
func checkWindowProcessor[K comparable, B any](p any) error {
	if err := notNil(p); err != nil {
		return err
	}
	t := reflect.TypeOf(p)
	if _, has := t.MethodByName("OnTimer"); has {
		return fmt.Errorf("method OnTimer of %v is never called: windows have triggers", t)
	}
	if _, ok := p.(operator.Committer); ok {
		return fmt.Errorf("method Commit of %v is never called: a function of windows can't publish with checkpoints", t)
	}
	return checkHooks[K, B](p, true)
}
