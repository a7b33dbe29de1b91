package invariants

import "fmt"

// Check panics with "weir: BUG: I10: …" when ok is false. The arguments are evaluated
// and may be boxed even when it holds: on the way of a record put the call under
// `if Enabled`. The format gives the values that would let a reader find the cause.
func Check(id string, ok bool, format string, args ...any) {
	if !ok {
		fail(id, format, args...)
	}
}

//go:noinline
func fail(id, format string, args ...any) {
	panic(fmt.Sprintf("weir: BUG: %s: %s", id, fmt.Sprintf(format, args...)))
}
