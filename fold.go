package weir

import (
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
)

// keyWalker is how Fold and Reduce go through their keys when the input has ended:
// step by step, so that the outputs are not flooded.
type keyWalker[K comparable, B any] interface {
	endOfInputStep(cursor *operator.KeyCursor[K], out *Collector[B]) (done bool, err error)
}

// walk goes through all keys of a state, a bundle at a time.
type walk struct{ bundle int }

// everyKey calls f for each key of the next bundle that has a value.
func everyKey[V any](w *walk, v *Value[V], f func(table.Key, V) error) (done bool, err error) {
	if w.bundle < v.Bundles() {
		err = v.Each(w.bundle, f)
		w.bundle++
	}
	return w.bundle == v.Bundles(), err
}

// reducer is Reduce in a subtask.
type reducer[K comparable, T any] struct {
	value *Value[T]
	f     func(a, b T) T
	atEnd bool
	walk  walk
}

// Process implements Processor.
func (r *reducer[K, T]) Process(_ *Ctx[K], v T, out *Collector[T]) error {
	if old, ok := r.value.Get(); ok {
		v = r.f(old, v)
	}
	r.value.Set(v)
	if !r.atEnd {
		out.Emit(v)
	}
	return nil
}

// endOfInputStep emits each key's value, if it has not been.
func (r *reducer[K, T]) endOfInputStep(_ *operator.KeyCursor[K], out *Collector[T]) (bool, error) {
	if !r.atEnd {
		return true, nil
	}
	return everyKey(&r.walk, r.value, func(_ table.Key, v T) error {
		out.Emit(v)
		return nil
	})
}

// folder is Fold in a subtask.
type folder[K comparable, T, A, U any] struct {
	value  *Value[A]
	init   func() A
	f      func(A, T) A
	result func(K, A) U
	atEnd  bool
	walk   walk
}

// Process implements Processor.
func (f *folder[K, T, A, U]) Process(c *Ctx[K], v T, out *Collector[U]) error {
	a, ok := f.value.Get()
	if !ok {
		a = f.init()
	}
	a = f.f(a, v)
	f.value.Set(a)
	if !f.atEnd {
		out.Emit(f.result(c.Key(), a))
	}
	return nil
}

// endOfInputStep emits what each key has come to, if it has not been.
func (f *folder[K, T, A, U]) endOfInputStep(cursor *operator.KeyCursor[K], out *Collector[U]) (bool, error) {
	if !f.atEnd {
		return true, nil
	}
	return everyKey(&f.walk, f.value, func(k table.Key, a A) error {
		if err := cursor.SetKey(k); err != nil {
			return err
		}
		out.Emit(f.result(cursor.Ctx().Key(), a))
		return nil
	})
}
