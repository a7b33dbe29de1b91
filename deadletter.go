package weir

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/taskmanager/task"
)

// DeadLetter is a record that an operator could not process, and why.
type DeadLetter[T any] struct {
	Record   T
	Error    string
	Operator string // uid
	// Position is where the operator's source reads ("file a.txt, byte 17"), if it runs in
	// the same subtask; else "".
	Position string
}

// DeadLetters has an operator send each record that it fails on to a side output instead
// of failing the job: its function returned an error, or panicked. What the operator did
// for the record before, emissions and changes of state, stays. Errors of anything but a
// record (of state, timers, the end of the input) fail the job all the same.
func DeadLetters[T any](tag Tag[DeadLetter[T]]) Option {
	return optionFunc{optDeadLetters, func(o *options) { o.dead = tag }}
}

// deadLetters is the tag of an operator that takes records of T, if it has one.
func deadLetters[T any](e *Env, id identity, o options) (tag Tag[DeadLetter[T]], given bool) {
	if o.dead == nil {
		return tag, false
	}
	tag, ok := o.dead.(Tag[DeadLetter[T]])
	if !ok {
		var v T
		e.fail(fmt.Errorf("%v takes records of %T, but its option DeadLetters has a %T", id, v, o.dead))
	}
	return tag, ok
}

// letters is where the dead letters of an operator go. A nil one fails the job.
type letters[T any] struct {
	out      *operator.Collector[DeadLetter[T]]
	uid      string
	position func() string
}

// linkLetters makes where the dead letters of an operator go, which its Setup declares; nil
// if it has no such option.
func linkLetters[T any](l *task.Linker, s *Setup, tag Tag[DeadLetter[T]], given bool) *letters[T] {
	if !given {
		return nil
	}
	return &letters[T]{out: s.Side(tag), uid: l.UID(), position: l.Position()}
}

// sort sends v to the dead letters if err is one that it is to blame for.
func (d *letters[T]) sort(rt *operator.Runtime, v T, err error) {
	switch {
	case err == nil:
	case d == nil || operator.IsFatal(err):
		rt.Fail(err)
	default:
		d.out.Emit(DeadLetter[T]{Record: v, Error: err.Error(), Operator: d.uid, Position: d.position()})
	}
}

var errPanic = errors.New("panic")

// caught makes an error of a panic in an operator's function.
func caught(err *error) {
	p := recover()
	if p == nil {
		return
	}
	text := fmt.Sprint(p)
	if strings.HasPrefix(text, "weir: BUG") { // not the record's fault
		panic(p)
	}
	*err = fmt.Errorf("%w: %s", errPanic, text)
}
