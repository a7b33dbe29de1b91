//go:build !linux

package savepoint

// gentle does nothing: only Linux has priorities of threads.
func gentle(f func(i int) error) func(i int) error { return f }
