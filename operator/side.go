package operator

import (
	"fmt"
	"reflect"
)

// Tag names a side output: records of type T that an operator emits beside its output.
type Tag[T any] struct{ name string }

// NewTag returns the tag of a side output. Its name is one of a kind in its operator.
func NewTag[T any](name string) Tag[T] { return Tag[T]{name} }

// Name is the tag's.
func (t Tag[T]) Name() string { return t.name }

// Side is a side output that an operator has declared.
type Side struct {
	Name string
	Type reflect.Type
	// Bind connects it with the receivers of its records, each a Receiver of Type. It
	// returns the index of the first that is none, or -1.
	Bind func(rt *Runtime, op int32, receivers []any) (wrong int)
	// Collect has its records handed to f, for a test.
	Collect func(rt *Runtime, f func(v any))
}

// collecting hands records to a function.
type collecting[T any] func(v any)

// Receive implements Receiver.
func (c collecting[T]) Receive(v T) { c(v) }

// Side declares a side output and returns where its records are emitted. What nobody
// reads is dropped.
func (s *Setup) Side[T any](tag Tag[T]) *Collector[T] {
	out := NewCollector[T](s.o.Runtime, 0, Discard[T]{})
	if tag.name == "" || len(tag.name) > maxStateName {
		s.fail(fmt.Errorf("operator %q: the name of a side output must have 1 to %d bytes, %q has %d", s.o.UID, maxStateName, tag.name, len(tag.name)))
		return out
	}
	for _, d := range s.sides {
		if d.Name == tag.name {
			s.fail(fmt.Errorf("operator %q declares the side output %q twice", s.o.UID, tag.name))
			return out
		}
	}
	s.sides = append(s.sides, Side{Name: tag.name, Type: reflect.TypeFor[T](), Bind: func(rt *Runtime, op int32, receivers []any) int {
		var next FanOut[T]
		for i, r := range receivers {
			receiver, ok := r.(Receiver[T])
			if !ok {
				return i
			}
			next = append(next, receiver)
		}
		*out = *NewCollector(rt, op, next.Whole())
		return -1
	}, Collect: func(rt *Runtime, f func(any)) { *out = *NewCollector[T](rt, 0, collecting[T](f)) }})
	return out
}

// Sides lists the side outputs declared so far.
func (s *Setup) Sides() []Side { return s.sides }
