// Package weirtest runs operators in tests of jobs: one subtask, its state and its
// clock, without a cluster.
//
//	h := weirtest.Keyed(t, newIdle, Order.UserID)
//	h.Push(t0, Order{User: "ann", Cents: 2000})
//	h.Restore(h.Snapshot()) // every test can cross a failure
//	h.Advance(time.Hour)    // processing-time timers fire
//	got := h.Output()
//
// A Harness does what the subtask's loop does, with the same tables, codecs and
// cuts: state is really encoded at a Snapshot and decoded at a Restore, into a new
// instance of the operator. It checks as a job's planning does: an optional method
// with a wrong signature, a state of a type without a codec, a key that cannot be
// one fail the test.
//
// The clock stands still unless Advance moves it. Nothing runs in another
// goroutine; a Harness belongs to its test's.
//
// Read harness.go first.
package weirtest
