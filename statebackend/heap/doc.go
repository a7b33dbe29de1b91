// Package heap is the state backend that keeps all keyed state in memory: a table
// without a cold tier. Snapshots are incremental all the same: each adds the run of
// its cut to the run list. Over its memory budget the job fails, and the error names
// the state and its bytes.
//
// Goroutines: the mailbox goroutine of the subtask, except Snapshot.Finish, which
// runs anywhere. Invariants: A1, A3, I17 (restore ∘ snapshot = identity).
package heap
