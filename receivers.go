package weir

import (
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/taskmanager/task"
)

// runs is what every receiver begins with: it notes whose code runs, for the report
// of a panic, and takes errors.
type runs struct {
	rt *operator.Runtime
	op int32
}

func runsIn(l *task.Linker) runs { return runs{l.Runtime(), l.Number()} }

func (r *runs) enter() { r.rt.Operator = r.op }

// mapper is Map in a subtask.
type mapper[T, U any] struct {
	runs
	f   func(T) U
	out *operator.Collector[U]
}

// Receive implements operator.Receiver.
func (m *mapper[T, U]) Receive(v T) {
	m.enter()
	m.out.Emit(m.f(v))
}

// filter is Filter in a subtask.
type filter[T any] struct {
	runs
	keep func(T) bool
	out  *operator.Collector[T]
}

// Receive implements operator.Receiver.
func (f *filter[T]) Receive(v T) {
	f.enter()
	if f.keep(v) {
		f.out.Emit(v)
	}
}

// flatMapper is FlatMap in a subtask.
type flatMapper[T, U any] struct {
	runs
	f    func(T, *operator.Collector[U]) error
	out  *operator.Collector[U]
	dead *letters[T]
}

// Receive implements operator.Receiver.
func (m *flatMapper[T, U]) Receive(v T) {
	m.enter()
	if m.dead != nil {
		m.dead.sort(m.rt, v, m.safely(v))
		return
	}
	if err := m.f(v, m.out); err != nil {
		m.rt.Fail(err)
	}
}

func (m *flatMapper[T, U]) safely(v T) (err error) {
	defer caught(&err)
	return m.f(v, m.out)
}

// processor is a StreamProcessor in a subtask.
type processor[T, B any] struct {
	runs
	p    StreamProcessor[T, B]
	out  *operator.Collector[B]
	dead *letters[T]
}

// Receive implements operator.Receiver.
func (r *processor[T, B]) Receive(v T) {
	r.enter()
	if r.dead != nil {
		r.dead.sort(r.rt, v, r.safely(v))
		return
	}
	if err := r.p.Process(v, r.out); err != nil {
		r.rt.Fail(err)
	}
}

func (r *processor[T, B]) safely(v T) (err error) {
	defer caught(&err)
	return r.p.Process(v, r.out)
}

// writer is a sink in a subtask.
type writer[T any] struct {
	runs
	w operator.Writer[T]
}

// Receive implements operator.Receiver.
func (r *writer[T]) Receive(v T) {
	r.enter()
	if err := r.w.Write(v); err != nil {
		r.rt.Fail(err)
	}
}
