// Package exit owns the exit codes of the weir command and the form of its errors: what
// and why, what to type, a stable code. It prints nothing and ends nothing: that is
// package main's. No goroutines, no state. There is one file.
package exit
