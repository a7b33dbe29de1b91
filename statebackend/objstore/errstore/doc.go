// Package errstore wraps an objstore.Store with faults: scripted ones (the third
// Commit of shared/* fails after it was applied) and random ones from a seed.
//
// It is for tests and for the simulator; a fault is a value, not a build. What it
// returns obeys the contract of objstore: an operation that was applied although it
// failed says so with ErrUnknown, and so do, at random, some that were not.
//
// It starts no goroutine. Slow faults wait on a timer and end with the context, so
// they run on virtual time inside a synctest bubble. Same seed and same sequence of
// calls, same faults.
//
// Read errstore.go.
package errstore
