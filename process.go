package weir

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/task"
)

// planStates runs a factory with a Setup that only takes notes, checks what it
// makes, and returns the states that it declared.
func planStates[P any](e *Env, id identity, k operator.KeyInfo, factory func(*Setup) (P, error), check func(*Setup, P) error) planned {
	setup := operator.PlanSetupIn(id.uid, k, &e.types)
	p, err := factory(setup)
	if err == nil {
		err = notNil(p)
	}
	if err == nil {
		err = check(setup, p)
	}
	if err == nil {
		err = setup.Err()
	}
	if err != nil {
		e.fail(fmt.Errorf("%v: %w", id, err))
	}
	_, commits := any(p).(operator.Committer)
	return planned{setup.Declared(), commits, setup.Sides()}
}

// planned is what is known of an operator when the job is planned.
type planned struct {
	states  []*metapb.State
	commits bool // it publishes with checkpoints
	sides   []operator.Side
}

func notNil(p any) error {
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("it is nil")
	}
	return nil
}

// declareProcess declares an operator of the user's own on a stream without a key.
func declareProcess[T, B any](s *Stream[T], id identity, o options, factory func(*Setup) StreamProcessor[T, B]) *Stream[B] {
	e := s.env
	tag, sorts := deadLetters[T](e, id, o)
	planned := planStates(e, id, operator.KeyInfo{},
		func(s *Setup) (StreamProcessor[T, B], error) { return factory(s), nil },
		func(s *Setup, p StreamProcessor[T, B]) error {
			if sorts {
				s.Side(tag)
			}
			return checkHooks[string, B](p, false)
		})
	return e.streamOf[B](e.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, opts: o, inputs: s.inputs(), planned: planned,
		link: func(l *task.Linker) error {
			setup := l.Setup(operator.KeyInfo{})
			p := factory(setup)
			out := task.Out[B](l)
			task.In(l, &processor[T, B]{runs: runsIn(l), p: p, out: out, dead: linkLetters(l, setup, tag, sorts)})
			lifecycle(l, p, out)
			return nil
		},
	}))
}

// declareKeyed declares an operator on a keyed stream.
func declareKeyed[K comparable, T, B any](k *Keyed[K, T], id identity, o options,
	factory func(*Setup) Processor[K, T, B],
) *Stream[B] {
	return declareKeyedOn(k.env, id, o, k.key, k.inputs, factory)
}

// declareKeyedOn declares a keyed operator on inputs that carry hashes of their key.
func declareKeyedOn[K comparable, T, B any](e *Env, id identity, o options, key func(T) K, inputs func(codec.Key[K]) []input,
	factory func(*Setup) Processor[K, T, B],
) *Stream[B] {
	keys := keyCodec[K](e)
	if keys == nil { // a mistake; build goes on to its end
		return e.streamOf[B](e.declare(declaration{identity: id, opts: o}))
	}
	info := operator.KeyInfoOf(keys)
	tag, sorts := deadLetters[T](e, id, o)
	planned := planStates(e, id, info,
		func(s *Setup) (Processor[K, T, B], error) { return factory(s), nil },
		func(s *Setup, p Processor[K, T, B]) error {
			if sorts {
				s.Side(tag)
			}
			if _, ok := p.(timerHook[K, B]); ok {
				s.Timers()
				s.EventTimers()
			}
			return checkHooks[K, B](p, true)
		})
	return e.streamOf[B](e.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, opts: o,
		inputs: inputs(keys), planned: planned, key: keys.Schema(),
		link: func(l *task.Linker) error {
			setup := l.Setup(info)
			p := factory(setup)
			out := task.Out[B](l)
			dead := linkLetters(l, setup, tag, sorts)
			linkKeyed(l, setup, keys, &keyedProcessor[K, T, B]{runs: runsIn(l), key: key, p: p, out: out, dead: dead})
			return nil
		},
	}))
}

// linkKeyed connects r with its state, its timers and the linker.
func linkKeyed[K comparable, T, B any](l *task.Linker, setup *Setup, keys codec.Key[K], r *keyedProcessor[K, T, B]) {
	hook, timed := r.p.(timerHook[K, B])
	r.cursor = operator.NewKeyCursor(setup, keys, timed)
	r.ctx = r.cursor.Ctx()
	task.InKeyed(l, r)
	if timed {
		onTimer(l, r.cursor, r.runs, hook, r.out)
	}
	if w, ok := r.p.(keyWalker[K, B]); ok {
		l.Lifecycle(endOfInputStep(func() (bool, error) { return w.endOfInputStep(r.cursor, r.out) }))
	}
	lifecycle(l, r.p, r.out)
	if in, ok := r.p.(interface{ inner() any }); ok { // a function of windows
		lifecycle(l, in.inner(), r.out)
	}
}

// lifecycle registers the optional methods of p, EndOfInput with its output.
func lifecycle[B any](l *task.Linker, p any, out *operator.Collector[B]) {
	l.Lifecycle(p)
	if h, ok := p.(endHook[B]); ok {
		l.Lifecycle(endOfInput(func() error { return h.EndOfInput(out) }))
	}
}

// endOfInput makes a function an operator.Ender.
type endOfInput func() error

// EndOfInput implements operator.Ender.
func (f endOfInput) EndOfInput() error { return f() }

// endOfInputStep makes a function an operator.StepEnder.
type endOfInputStep func() (done bool, err error)

// EndOfInputStep implements operator.StepEnder.
func (f endOfInputStep) EndOfInputStep() (bool, error) { return f() }

// keyedProcessor is a Processor in a subtask.
type keyedProcessor[K comparable, T, B any] struct {
	runs
	key    func(T) K
	cursor *operator.KeyCursor[K]
	ctx    *operator.Ctx[K]
	p      Processor[K, T, B]
	out    *operator.Collector[B]
	dead   *letters[T]
}

// Warm implements operator.Warmer.
func (r *keyedProcessor[K, T, B]) Warm(hashes []uint64, values []T) {
	warm(r.runs, r.cursor, r.key, hashes, values)
}

// warm brings the state of records that come next nearer.
func warm[K comparable, T any](r runs, cursor *operator.KeyCursor[K], key func(T) K, hashes []uint64, values []T) {
	if !cursor.Warm(hashes) {
		return
	}
	r.enter() // for the report of a panic in key
	for i, v := range values {
		cursor.Ahead(hashes[i], key(v))
	}
	cursor.FetchAhead()
}

// ReceiveKeyed implements operator.KeyedReceiver.
func (r *keyedProcessor[K, T, B]) ReceiveKeyed(hash uint64, v T) {
	r.enter()
	if !r.cursor.Set(hash, r.key(v)) {
		return
	}
	if r.dead != nil {
		r.dead.sort(r.rt, v, r.safely(v))
		return
	}
	if err := r.p.Process(r.ctx, v, r.out); err != nil {
		r.rt.Fail(err)
	}
}

func (r *keyedProcessor[K, T, B]) safely(v T) (err error) {
	defer caught(&err)
	return r.p.Process(r.ctx, v, r.out)
}
