package weir

import (
	"fmt"
	"reflect"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
)

// Tag names a side output: records of type T that an operator emits beside its output.
// The operator declares it with Setup.Side.
type Tag[T any] = operator.Tag[T]

// NewTag returns the tag of a side output. Its name is one of a kind in its operator.
func NewTag[T any](name string) Tag[T] { return operator.NewTag[T](name) }

// BroadcastMap is operator state that is the same in every subtask; see Setup.BroadcastMap.
type BroadcastMap[K comparable, V any] = operator.BroadcastMap[K, V]

// Side is the side output that the operator behind s declares under tag.
func (s *Stream[T]) Side[U any](tag Tag[U]) *Stream[U] {
	side := &Stream[U]{env: s.env}
	for _, u := range s.from {
		if err := s.env.checkSide(u.from, tag.Name(), reflect.TypeFor[U]()); err != nil {
			s.env.fail(err)
		}
		side.from = append(side.from, upstream{from: u.from, dist: metapb.Distribution_DISTRIBUTION_FORWARD, side: tag.Name()})
	}
	return side
}

// checkSide reports why an operator has no such side output.
func (e *Env) checkSide(index int, name string, want reflect.Type) error {
	var names []string
	for _, s := range e.sides[index] {
		if s.Name == name && s.Type == want {
			return nil
		}
		if s.Name == name {
			return fmt.Errorf("side output %q of operator %q has records of %v, not %v", name, e.plan.Operators[index].Uid, s.Type, want)
		}
		names = append(names, s.Name)
	}
	return fmt.Errorf("operator %q has no side output %q, it declares %q: its factory calls Setup.Side", e.plan.Operators[index].Uid, name, names)
}
