package task

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend"
)

// Failure is what an attempt failed with.
type Failure struct {
	UID         string // of the operator whose code ran
	Subtask     int
	Parallelism int
	Key         string // "key 7 (key group 12)", or ""
	Position    string // of the source reader, or ""
	Stack       string // of a panic, the user's frame first
	Fatal       bool   // a restart will not help
	Damaged     bool   // the snapshot it was to start from can't be read
	Err         error
}

// Error is one line: who, where, what.
func (f *Failure) Error() string {
	var b strings.Builder
	if source := job.EnumeratorOf(f.UID); source != "" {
		fmt.Fprintf(&b, "enumerator of %q", source)
	} else {
		fmt.Fprintf(&b, "operator %q, subtask %d of %d", f.UID, f.Subtask, f.Parallelism)
	}
	if f.Key != "" {
		b.WriteString(", at " + f.Key)
	}
	if f.Position != "" {
		b.WriteString(", source at " + f.Position)
	}
	return b.String() + ": " + f.Err.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Detail is the failure with its stack.
func (f *Failure) Detail() string {
	if f.Stack == "" {
		return f.Error()
	}
	return f.Error() + "\n" + f.Stack
}

// panicError is a recovered panic.
type panicError struct {
	value any
	where string // the user's frame, "main.go:17 (main.parse)"
	stack string
}

func (e *panicError) Error() string {
	if e.where == "" {
		return fmt.Sprintf("panic: %v", e.value)
	}
	return fmt.Sprintf("panic: %v, at %s", e.value, e.where)
}

func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// guard calls f and turns a panic into an error.
func (t *Task) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			where, stack := panicStack()
			err = &panicError{v, where, stack}
		}
	}()
	return f()
}

// failure completes err with what is known about its circumstances.
func (t *Task) failure(err error) *Failure {
	number, ofUser := t.rt.Err()
	input := errors.As(err, new(*restoreError)) // not of a record, nor of whoever had the last one
	switch {
	case input:
		number = 0
	case ofUser == nil || !errors.Is(err, ofUser):
		number = t.rt.Operator
	}
	f := &Failure{
		UID: t.o.Graph.VertexUID(t.o.Subtask.Vertex), Err: err,
		Subtask: t.o.Subtask.Index, Parallelism: t.vertex.Parallelism,
	}
	if int(number) < len(t.chain) {
		f.UID = t.chain[number].plan.Uid
	}
	// Neither is mended by a restart. State that outgrows its memory is as large after it.
	f.Fatal = operator.IsFatal(err) || errors.Is(err, statebackend.ErrSchema) || errors.Is(err, operator.ErrKey) ||
		errors.Is(err, statebackend.ErrBudget)
	f.Damaged = (t.phase == initializing || input) && t.o.RestoredCheckpoint != 0 && notAsWritten(err)
	if p := (*panicError)(nil); errors.As(err, &p) {
		f.Stack = p.stack
	}
	// What follows asks code that may be the one that failed.
	_ = t.guard(func() error {
		if t.atKey && !input && t.chain[0].setup != nil {
			f.Key = t.chain[0].setup.CurrentKey()
		}
		return nil
	})
	_ = t.guard(func() error {
		if t.head != nil && t.phase != initializing {
			f.Position = t.head.position()
		}
		return nil
	})
	return f
}

// maxFrames bounds the stack of a report.
const maxFrames = 64

// panicStack describes the stack of the panic that is being recovered: where is the
// user's innermost frame, and stack begins with it; what lies above it (the runtime,
// Weir) follows at the end.
func panicStack() (where, stack string) {
	pcs := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var all []runtime.Frame
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "":
		case f.Function == "runtime.gopanic" || f.Function == "runtime.sigpanic":
			all = all[:0] // above it: the recovery
		default:
			all = append(all, f)
		}
		if !more {
			break
		}
	}
	first := -1
	for i, f := range all {
		if !strings.HasPrefix(f.Function, "runtime.") && !ours(f) {
			first = i
			break
		}
	}
	var b strings.Builder
	write := func(fs []runtime.Frame) {
		for _, f := range fs {
			fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		}
	}
	if first < 0 {
		write(all)
		return "", b.String()
	}
	f := all[first]
	write(all[first:])
	if first > 0 {
		b.WriteString("called by it:\n")
		write(all[:first])
	}
	return fmt.Sprintf("%s:%d (%s)", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line, f.Function), b.String()
}

// ours reports whether a frame is Weir's, which a user can't do anything about.
func ours(f runtime.Frame) bool {
	rest, ok := strings.CutPrefix(f.Function, "github.com/weirstream/weir")
	if !ok || strings.HasSuffix(f.File, "_test.go") {
		return false
	}
	return !strings.HasPrefix(rest, "/examples/") && !strings.HasPrefix(rest, "/bench")
}
