// Package statetest holds the oracle of the state backends: ordered maps (Model),
// and a metamorphic test (Run) that drives several subtasks of a backend with
// random operations, cuts that complete, abort or fail, evictions, crashes and
// rescales, and compares every state of every key.
//
// Invariants held: I16 (ranges partition, a key stays with its group), I17
// (restore ∘ snapshot = identity for each kind and p → p′), I18 (a timer fires
// exactly once), A2 (eviction never overtakes a cut), A3 (an aborted checkpoint
// leaves no hole).
//
// Goroutines: some cuts are finished beside the operations, for the race detector. Read model.go first, then run.go.
package statetest
