// Package statebackend is the contract of keyed state: what a state is
// (Descriptor, StateID), what a snapshot of a subtask's keyed state hands back
// (Snapshot, Result) and what a restore is given (Restored).
//
// The run list is the truth; working state is a cache of it (invariants A1–A3 of
// the design review, I12, I17): a snapshot is an ordered list of runs, newer ones
// shadow older ones, and the list in an ack is always whole.
//
// It does no I/O and starts no goroutine. Implementations: statebackend/heap (a
// table alone) and statebackend/pebble (a table with a cold tier). The table is
// statebackend/table, the runs are statebackend/run.
//
// Read state.go first, then snapshot.go.
package statebackend
