package weir

import (
	"errors"
	"fmt"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/taskmanager/task"
)

// CoProcessor is an operator on two keyed streams: records of both that have one key are
// processed in one subtask, which keeps state for the key. It may have the optional
// methods of Processor.
type CoProcessor[K comparable, L, R, B any] interface {
	ProcessLeft(c *Ctx[K], v L, out *Collector[B]) error
	ProcessRight(c *Ctx[K], v R, out *Collector[B]) error
}

// BroadcastProcessor is an operator on a keyed stream and a broadcast one. Its
// BroadcastMaps may be changed by OnBroadcast alone, which every subtask calls for every
// broadcast record, in the same order. It may have the optional methods of Processor.
type BroadcastProcessor[K comparable, T, R, B any] interface {
	Process(c *Ctx[K], v T, out *Collector[B]) error
	OnBroadcast(v R, out *Collector[B]) error
}

// Broadcast is a stream of which every subtask of the next operator gets every record.
type Broadcast[T any] struct{ s *Stream[T] }

// Broadcast sends every record to every subtask of the operator that it is connected to.
func (s *Stream[T]) Broadcast() *Broadcast[T] {
	return &Broadcast[T]{&Stream[T]{env: s.env, from: distributed(s.from, metapb.Distribution_DISTRIBUTION_BROADCAST)}}
}

// Connect runs an operator of the user's own on k and another stream that is keyed alike:
// factory makes one for each subtask, and is called when the job is planned too.
// Options: Named, Parallelism.
func (k *Keyed[K, T]) Connect[R, B any, P CoProcessor[K, T, R, B]](uid string, other *Keyed[K, R], factory func(*Setup) P, opts ...Option) *Stream[B] {
	e := k.env
	id := e.identify(uid, "connect", k.from)
	o := e.options(id, opts)
	if !e.given(id, factory != nil) || other == nil || other.env != e {
		if other == nil || other.env != e {
			e.fail(fmt.Errorf("%v: %w", id, errOtherProgram))
		}
		return e.streamOf[B](e.declare(declaration{identity: id, opts: o}))
	}
	return declareConnected(k, other, id, o, func(s *Setup) CoProcessor[K, T, R, B] { return factory(s) })
}

// declareConnected declares an operator on two streams that are keyed alike.
func declareConnected[K comparable, L, R, B any](left *Keyed[K, L], right *Keyed[K, R], id identity, o options,
	factory func(*Setup) CoProcessor[K, L, R, B],
) *Stream[B] {
	return declareTwo(left, id, o, func(keys codec.Key[K]) []input { return atPort(1, right.inputs(keys)) }, factory,
		func(p CoProcessor[K, L, R, B], r *twoInputs[K, B], l *task.Linker) {
			task.InKeyed(l, &keyedInput[K, L, B]{r, left.key, p.ProcessLeft})
			task.InPort(l, 1, operator.KeyedReceiver[R](&keyedInput[K, R, B]{r, right.key, p.ProcessRight}))
		})
}

// ConnectBroadcast runs an operator of the user's own on k and a broadcast stream.
// Options: Named, Parallelism.
func (k *Keyed[K, T]) ConnectBroadcast[R, B any, P BroadcastProcessor[K, T, R, B]](uid string, other *Broadcast[R], factory func(*Setup) P, opts ...Option) *Stream[B] {
	e := k.env
	id := e.identify(uid, "connect", k.from)
	o := e.options(id, opts)
	if !e.given(id, factory != nil) || other == nil || other.s.env != e {
		if other == nil || other.s.env != e {
			e.fail(fmt.Errorf("%v: %w", id, errOtherProgram))
		}
		return e.streamOf[B](e.declare(declaration{identity: id, opts: o}))
	}
	return declareTwo(k, id, o, func(codec.Key[K]) []input { return atPort(1, other.s.inputs()) },
		func(s *Setup) BroadcastProcessor[K, T, R, B] { return factory(s) },
		func(p BroadcastProcessor[K, T, R, B], r *twoInputs[K, B], l *task.Linker) {
			task.InKeyed(l, &keyedInput[K, T, B]{r, k.key, p.Process})
			task.InPort(l, 1, operator.Receiver[R](&fromBroadcast[R, B]{runs: r.runs, setup: r.setup, out: r.out, on: p.OnBroadcast}))
		})
}

var errOtherProgram = errors.New("the stream it is connected to is nil, or of another call of build")

// atPort puts inputs on another port than the first stream's.
func atPort(port uint32, inputs []input) []input {
	for i := range inputs {
		inputs[i].port = port
	}
	return inputs
}

// declareTwo declares an operator on a keyed stream and another.
func declareTwo[K comparable, T, B, P any](k *Keyed[K, T], id identity, o options, second func(codec.Key[K]) []input,
	factory func(*Setup) P, connect func(p P, r *twoInputs[K, B], l *task.Linker),
) *Stream[B] {
	e := k.env
	keys := keyCodec[K](e)
	if keys == nil {
		return e.streamOf[B](e.declare(declaration{identity: id, opts: o}))
	}
	info := operator.KeyInfoOf(keys)
	planned := planStates(e, id, info,
		func(s *Setup) (P, error) { return factory(s), nil },
		func(s *Setup, p P) error {
			if _, ok := any(p).(timerHook[K, B]); ok {
				s.Timers()
				s.EventTimers()
			}
			return checkHooks[K, B](p, true)
		})
	return e.streamOf[B](e.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, opts: o,
		inputs: append(k.inputs(keys), second(keys)...), planned: planned, key: keys.Schema(),
		link: func(l *task.Linker) error {
			setup := l.Setup(info)
			p := factory(setup)
			hook, timed := any(p).(timerHook[K, B])
			r := &twoInputs[K, B]{runs: runsIn(l), setup: setup, cursor: operator.NewKeyCursor(setup, keys, timed), out: task.Out[B](l)}
			connect(p, r, l)
			if timed {
				onTimer(l, r.cursor, r.runs, hook, r.out)
			}
			lifecycle(l, p, r.out)
			return nil
		},
	}))
}

// onTimer has hook called for each timer that is due.
func onTimer[K comparable, B any](l *task.Linker, cursor *operator.KeyCursor[K], r runs, hook timerHook[K, B], out *operator.Collector[B]) {
	l.OnTimer(func(t table.Timer, d operator.TimeDomain) error {
		if err := cursor.SetTimer(t, d); err != nil {
			return err
		}
		r.enter()
		defer cursor.EndTimer()
		return hook.OnTimer(cursor.Ctx(), out)
	})
}

// twoInputs is what the receivers of a connected operator share.
type twoInputs[K comparable, B any] struct {
	runs
	setup  *Setup
	cursor *operator.KeyCursor[K]
	out    *operator.Collector[B]
}

// keyedInput is one keyed input of a connected operator.
type keyedInput[K comparable, T, B any] struct {
	*twoInputs[K, B]
	key     func(T) K
	process func(*Ctx[K], T, *operator.Collector[B]) error
}

// Warm implements operator.Warmer.
func (s *keyedInput[K, T, B]) Warm(hashes []uint64, values []T) {
	warm(s.runs, s.cursor, s.key, hashes, values)
}

// ReceiveKeyed implements operator.KeyedReceiver.
func (s *keyedInput[K, T, B]) ReceiveKeyed(hash uint64, v T) {
	s.enter()
	if !s.cursor.Set(hash, s.key(v)) {
		return
	}
	if err := s.process(s.cursor.Ctx(), v, s.out); err != nil {
		s.rt.Fail(err)
	}
}

// fromBroadcast is the broadcast input of a connected operator.
type fromBroadcast[R, B any] struct {
	runs
	setup *Setup
	out   *operator.Collector[B]
	on    func(R, *operator.Collector[B]) error
}

// Receive implements operator.Receiver.
func (b *fromBroadcast[R, B]) Receive(v R) {
	b.enter()
	b.setup.Broadcasting(true)
	if err := b.on(v, b.out); err != nil {
		b.rt.Fail(err)
	}
	b.setup.Broadcasting(false)
}
