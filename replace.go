package weir

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/weirstream/weir/internal/replace"
	"github.com/weirstream/weir/proto/metapb"
)

// Replaced puts sources and sinks of a test in the place of those that build
// declares. For weirtest; it is an option of ProgramFor.
func Replaced(set *replace.Set) Option {
	return optionFunc{optReplaced, func(o *options) { o.replaced = set }}
}

// standIn is what replaces the source or sink id, declared if nothing does. S is
// operator.Source[T] or operator.Sink[T].
func standIn[S any](e *Env, id identity, declared S, kind metapb.OperatorKind) S {
	other, ok := e.standIns(kind)[id.uid]
	if !ok {
		return declared
	}
	s, ok := other.(S)
	if !ok {
		e.fail(fmt.Errorf("%v can't be replaced by a %T: its type must be %v", id, other, reflect.TypeFor[S]()))
		return declared
	}
	return s
}

// standIns is what there is to replace operators of a kind.
func (e *Env) standIns(kind metapb.OperatorKind) map[string]any {
	switch {
	case e.replaced == nil:
		return nil
	case kind == metapb.OperatorKind_OPERATOR_KIND_SOURCE:
		return e.replaced.Sources
	}
	return e.replaced.Sinks
}

// checkReplaced refuses a replacement of what the program does not have: the test
// would run with the real thing.
func (e *Env) checkReplaced() error {
	for _, kind := range []metapb.OperatorKind{metapb.OperatorKind_OPERATOR_KIND_SOURCE, metapb.OperatorKind_OPERATOR_KIND_SINK} {
		name := strings.ToLower(strings.TrimPrefix(kind.String(), "OPERATOR_KIND_"))
		var uids []string
		for _, op := range e.plan.Operators {
			if op.Kind == kind {
				uids = append(uids, strconv.Quote(op.Uid))
			}
		}
		for _, uid := range slices.Sorted(maps.Keys(e.standIns(kind))) {
			if !slices.Contains(uids, strconv.Quote(uid)) {
				return fmt.Errorf("the program has no %s %q to replace; it has %s", name, uid, cmp.Or(strings.Join(uids, ", "), "none"))
			}
		}
	}
	return nil
}
