package weir

import (
	"fmt"
	"reflect"

	"github.com/weirstream/weir/operator"
)

// Optional methods of operators whose signatures depend on the operator's types;
// the others are in package operator.
type (
	timerHook[K comparable, B any] interface {
		OnTimer(c *Ctx[K], out *Collector[B]) error
	}
	endHook[B any] interface {
		EndOfInput(out *Collector[B]) error
	}
)

// CheckOperator reports what planning a job refuses in an operator that emits B,
// apart from its declarations. For weirtest.
func CheckOperator[K comparable, B any](p any, keyed bool) error {
	if err := notNil(p); err != nil {
		return err
	}
	return checkHooks[K, B](p, keyed)
}

// checkHooks refuses an operator that has a method with the name of an optional one
// and another signature: it would silently never be called.
func checkHooks[K comparable, B any](p any, keyed bool) error {
	if err := checkCommonHooks(p); err != nil {
		return err
	}
	t := reflect.TypeOf(p)
	if m, has := t.MethodByName("EndOfInput"); has {
		_, withOut := p.(endHook[B])
		if _, plain := p.(operator.Ender); !withOut && !plain {
			return wrongHook(m, "func(*weir.Collector[%v]) error", reflect.TypeFor[B]())
		}
	}
	if m, has := t.MethodByName("OnTimer"); has {
		if !keyed {
			return fmt.Errorf("method OnTimer of %v is never called: only keyed streams have timers; use KeyBy before Process", t)
		}
		if _, ok := p.(timerHook[K, B]); !ok {
			return wrongHook(m, "func(*weir.Ctx[%v], *weir.Collector[%v]) error", reflect.TypeFor[K](), reflect.TypeFor[B]())
		}
	}
	return nil
}

// checkWriterHooks is checkHooks for the writer of a sink.
func checkWriterHooks(w any) error {
	if err := checkCommonHooks(w); err != nil {
		return err
	}
	if m, has := reflect.TypeOf(w).MethodByName("EndOfInput"); has {
		if _, ok := w.(operator.Ender); !ok {
			return wrongHook(m, "func() error")
		}
	}
	return nil
}

// checkCommonHooks looks at the methods that operators and writers share. The names
// are constants on purpose: a variable one would keep every exported method of every
// type in the binary.
func checkCommonHooks(p any) error {
	t := reflect.TypeOf(p)
	if err := checkReach(t); err != nil {
		return err
	}
	if m, has := t.MethodByName("Open"); has {
		if _, ok := p.(operator.Opener); !ok {
			return wrongHook(m, "func() error")
		}
	}
	if m, has := t.MethodByName("Close"); has {
		if _, ok := p.(operator.Closer); !ok {
			return wrongHook(m, "func() error")
		}
	}
	if m, has := t.MethodByName("Snapshot"); has {
		if _, ok := p.(operator.Snapshotter); !ok {
			return wrongHook(m, "func(stream.CheckpointID) error")
		}
	}
	if m, has := t.MethodByName("Prepare"); has {
		if _, ok := p.(operator.Preparer); !ok {
			return wrongHook(m, "func(stream.CheckpointID) error")
		}
	}
	if m, has := t.MethodByName("Commit"); has {
		if _, ok := p.(operator.Committer); !ok {
			return wrongHook(m, "func(stream.CheckpointID) error")
		}
	}
	return nil
}

// checkReach refuses an operator that is given by value although methods belong to its
// pointer: the optional ones would silently never be called.
func checkReach(t reflect.Type) error {
	if t.Kind() == reflect.Pointer || reflect.PointerTo(t).NumMethod() == t.NumMethod() {
		return nil
	}
	return fmt.Errorf("%v is given by value, so its methods with a pointer receiver would never be called; return a *%v", t, t)
}

func wrongHook(m reflect.Method, want string, types ...any) error {
	return fmt.Errorf("method %s of %v would never be called: it is %v with its receiver, want %s",
		m.Name, m.Type.In(0), m.Type, fmt.Sprintf(want, types...))
}
