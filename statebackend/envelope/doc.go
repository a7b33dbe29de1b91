// Package envelope is the layout of a value in a run: its head, and the pieces of a list.
//
// A value says by itself which kind of state it is of and which schema it has, so that
// runs are merged, and lists joined, by whoever has no codecs: package run, and Pebble's
// merger. What follows the head belongs to the state's codec.
//
// It decides nothing and keeps nothing: functions of bytes, for any goroutine. What is not
// laid out as it says is a statebackend.ErrCorrupt.
//
// Invariants: I17 (restore ∘ snapshot = identity): a value is written again as it was read.
//
// Read format.go first, then list.go.
package envelope
