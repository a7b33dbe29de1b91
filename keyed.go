package weir

import (
	"reflect"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/taskmanager/exchange"
)

// Keyed is a stream whose records are grouped by a key: an operator sees those of
// one key in one subtask, in order, and keeps state for each key.
type Keyed[K comparable, T any] struct {
	env  *Env
	key  func(T) K
	from []upstream
}

// Process runs an operator of the user's own: factory makes one for each subtask,
// and is called when the job is planned too, to learn what state it declares.
// Options: Named, Parallelism, DeadLetters.
func (k *Keyed[K, T]) Process[B any, P Processor[K, T, B]](uid string, factory func(*Setup) P, opts ...Option) *Stream[B] {
	id := k.env.identify(uid, "process", k.from)
	o := k.env.options(id, opts, optDeadLetters)
	if !k.env.given(id, factory != nil) {
		return k.env.streamOf[B](k.env.declare(declaration{identity: id, opts: o}))
	}
	return declareKeyed(k, id, o, func(s *Setup) Processor[K, T, B] { return factory(s) })
}

// Reduce combines all records of a key into one by f, which must be associative,
// and emits it: every time it changes or, with AtEnd, once at the end. Options:
// Named, Parallelism, AtEnd.
func (k *Keyed[K, T]) Reduce(uid string, f func(a, b T) T, opts ...Option) *Stream[T] {
	id := k.env.identify(uid, "reduce", k.from)
	o := k.env.options(id, opts, optAtEnd)
	k.env.given(id, f != nil)
	return declareKeyed(k, id, o, func(s *Setup) Processor[K, T, T] {
		return &reducer[K, T]{value: s.Value[T]("value"), f: f, atEnd: o.atEnd}
	})
}

// Fold keeps one A for each key, at first init, takes each record in by f, and emits
// what result makes of it: every time it changes or, with AtEnd, once at the end.
// Each key gets a copy of init of its own.
// Options: Named, Parallelism, AtEnd.
func (k *Keyed[K, T]) Fold[A, U any](uid string, init A, f func(A, T) A, result func(K, A) U, opts ...Option) *Stream[U] {
	id := k.env.identify(uid, "fold", k.from)
	o := k.env.options(id, opts, optAtEnd)
	k.env.given(id, f != nil && result != nil)
	return declareKeyed(k, id, o, func(s *Setup) Processor[K, T, U] {
		return &folder[K, T, A, U]{value: s.Value[A]("value"), init: copier(init), f: f, result: result, atEnd: o.atEnd}
	})
}

// inputs describes k as the inputs of an operator: hash edges.
func (k *Keyed[K, T]) inputs(keys codec.Key[K]) []input {
	hash := hasher(keys, k.key)
	all := make([]input, len(k.from))
	for i, u := range k.from {
		all[i] = input{upstream: u, recordType: reflect.TypeFor[T](), edge: func() (exchange.AnyEdge, []byte, error) {
			return edgeOf(k.env, &exchange.Edge[T]{Hash: hash, HasTimes: k.env.timed[u.from]})
		}}
	}
	return all
}

// keyCodec is the codec of K; if there is none, that is the program's mistake.
func keyCodec[K any](e *Env) codec.Key[K] {
	c, err := codec.ForKey[K]()
	if err != nil {
		e.fail(err)
		return nil
	}
	return c
}

// hasher is the hash of a record's key, made by the producer.
func hasher[K, T any](keys codec.Key[K], key func(T) K) func(T) uint64 {
	return func(v T) uint64 { return keys.Hash(key(v)) }
}

// edgeOf completes an edge with the codec of its records.
func edgeOf[T any](env *Env, e *exchange.Edge[T]) (exchange.AnyEdge, []byte, error) {
	c, err := codec.In[T](&env.types)
	if err != nil {
		return nil, nil, err
	}
	e.Codec = c
	return e, c.Schema(), nil
}
