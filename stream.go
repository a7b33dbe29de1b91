package weir

import (
	"errors"
	"fmt"
	"iter"
	"reflect"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
)

// Stream is a stream of records of type T, as a program describes it. It may be
// consumed any number of times; each consumer gets every record.
//
// Options of its methods are Named and Parallelism. A consumer of the same
// parallelism setting runs in the subtask of its producer, by direct calls;
// otherwise records are rebalanced.
type Stream[T any] struct {
	env  *Env
	from []upstream // several after Union
}

// Map turns each record into another by f.
func (s *Stream[T]) Map[U any](uid string, f func(T) U, opts ...Option) *Stream[U] {
	return transform[T, U](s, uid, "map", f != nil, opts, func(l *task.Linker, out *operator.Collector[U]) operator.Receiver[T] {
		return &mapper[T, U]{runs: runsIn(l), f: f, out: out}
	})
}

// Filter keeps the records for which keep returns true.
func (s *Stream[T]) Filter(uid string, keep func(T) bool, opts ...Option) *Stream[T] {
	return transform[T, T](s, uid, "filter", keep != nil, opts, func(l *task.Linker, out *operator.Collector[T]) operator.Receiver[T] {
		return &filter[T]{runs: runsIn(l), keep: keep, out: out}
	})
}

// FlatMap turns each record into any number of others: f emits them. An error of f
// fails the attempt, unless the option DeadLetters is given.
func (s *Stream[T]) FlatMap[U any](uid string, f func(T, *Collector[U]) error, opts ...Option) *Stream[U] {
	e := s.env
	id := e.identify(uid, "flatmap", s.from)
	o := e.options(id, opts, optDeadLetters)
	e.given(id, f != nil)
	tag, sorts := deadLetters[T](e, id, o)
	setup := operator.PlanSetup(id.uid, operator.KeyInfo{})
	if sorts {
		setup.Side(tag)
		e.fail(setup.Err())
	}
	return e.streamOf[U](e.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, opts: o, inputs: s.inputs(), planned: planned{sides: setup.Sides()},
		link: func(l *task.Linker) error {
			m := &flatMapper[T, U]{runs: runsIn(l), f: f, out: task.Out[U](l)}
			if sorts {
				m.dead = linkLetters(l, l.Setup(operator.KeyInfo{}), tag, sorts)
			}
			task.In(l, m)
			return nil
		},
	}))
}

// FlatMapSeq is FlatMap for functions that return an iterator. It costs about
// 150 ns and a few allocations a record more.
func (s *Stream[T]) FlatMapSeq[U any](uid string, f func(T) iter.Seq[U], opts ...Option) *Stream[U] {
	emit := func(v T, out *Collector[U]) error {
		for u := range f(v) {
			out.Emit(u)
		}
		return nil
	}
	if f == nil {
		emit = nil
	}
	return s.FlatMap(uid, emit, opts...)
}

// Process runs an operator of the user's own: factory makes one for each subtask.
// It is called when the job is planned too, to learn what state it declares.
func (s *Stream[T]) Process[B any, P StreamProcessor[T, B]](uid string, factory func(*Setup) P, opts ...Option) *Stream[B] {
	id := s.env.identify(uid, "process", s.from)
	o := s.env.options(id, opts, optDeadLetters)
	if !s.env.given(id, factory != nil) {
		return s.env.streamOf[B](s.env.declare(declaration{identity: id, opts: o}))
	}
	return declareProcess(s, id, o, func(s *Setup) StreamProcessor[T, B] { return factory(s) })
}

// Union joins s and others into one stream, in no particular order.
func (s *Stream[T]) Union(others ...*Stream[T]) *Stream[T] {
	all := &Stream[T]{env: s.env, from: append([]upstream(nil), s.from...)}
	for _, o := range others {
		if o.env != s.env {
			s.env.fail(errors.New("union of streams of two different programs: a stream was kept from another call of build"))
			continue
		}
		all.from = append(all.from, o.from...)
	}
	return all
}

// Rebalance deals the records out to the subtasks of the next operator in turn,
// batch by batch, instead of keeping them where they are.
func (s *Stream[T]) Rebalance() *Stream[T] {
	return &Stream[T]{env: s.env, from: distributed(s.from, metapb.Distribution_DISTRIBUTION_REBALANCE)}
}

// KeyBy groups the records by key: those of one key are processed in order by one
// subtask, and state is kept for each key. key must be a pure function. A key is a
// scalar, string, time or a struct or array of them.
func (s *Stream[T]) KeyBy[K comparable](key func(T) K) *Keyed[K, T] {
	if key == nil {
		s.env.fail(fmt.Errorf("KeyBy after %q: the function of the key is nil", s.env.plan.Operators[s.from[0].from].Uid))
	}
	return &Keyed[K, T]{
		env: s.env, key: key,
		from: distributed(s.from, metapb.Distribution_DISTRIBUTION_HASH),
	}
}

// To ends the stream in sink. Options: Named, Parallelism.
func (s *Stream[T]) To(uid string, sink operator.Sink[T], opts ...Option) {
	id := s.env.identify(uid, "sink", s.from)
	declareSink(s, id, sink, s.env.options(id, opts))
}

// Print writes each record on a line of its own to standard output, in the form of
// fmt's %v; where several subtasks print, their number stands before it. After a
// failure records may be printed again.
func (s *Stream[T]) Print() {
	declareSink(s, s.env.identify("", "print", s.from), printSink[T]{}, options{})
}

func distributed(from []upstream, dist metapb.Distribution) []upstream {
	all := make([]upstream, len(from))
	for i, u := range from {
		all[i] = upstream{u.from, dist, u.side}
	}
	return all
}

// inputs describes s as the inputs of an operator.
func (s *Stream[T]) inputs() []input {
	all := make([]input, len(s.from))
	for i, u := range s.from {
		all[i] = input{upstream: u, recordType: reflect.TypeFor[T](), edge: func() (exchange.AnyEdge, []byte, error) {
			return edgeOf(s.env, &exchange.Edge[T]{HasTimes: s.env.timed[u.from]})
		}}
	}
	return all
}

// transform declares an operator without state.
func transform[T, U any](s *Stream[T], uid, verb string, given bool, opts []Option,
	receiver func(*task.Linker, *operator.Collector[U]) operator.Receiver[T],
) *Stream[U] {
	id := s.env.identify(uid, verb, s.from)
	s.env.given(id, given)
	index := s.env.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM,
		opts: s.env.options(id, opts), inputs: s.inputs(),
		link: func(l *task.Linker) error {
			task.In(l, receiver(l, task.Out[U](l)))
			return nil
		},
	})
	return s.env.streamOf[U](index)
}

// streamOf is the output of the operator with the given index.
func (e *Env) streamOf[T any](index int) *Stream[T] {
	return &Stream[T]{env: e, from: []upstream{{from: index, dist: metapb.Distribution_DISTRIBUTION_FORWARD}}}
}
