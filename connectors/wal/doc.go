// Package wal is a sink that keeps results in the checkpoint until it completes and then
// writes them to another system: a write-ahead log, for systems that have neither
// transactions that outlive a process nor files that can be renamed.
//
//	counts.To("counts", wal.Sink(func(s *weir.Setup) (wal.Target[Count], error) { return openTable(dsn) }))
//
// What a subtask is given between two checkpoints is a Batch. It is written to files of the
// task's own beside the job's checkpoints (operator.Owned, taskowned/), and named in the
// sink's state. When the checkpoint has completed, and after a restore from it, the batch
// is handed to the Target, in order, by the subtask that has it in its state; then the
// files go, once a checkpoint has completed that does not name them.
//
// A Target is told a batch again if the process died before a later checkpoint has
// completed. If it notes the batch's ID in the same transaction as the records, and
// Committed answers from there, each result is written exactly once; if not, at least once.
//
// A job that is started from a savepoint goes on with its batches. One of which neither the
// files are there nor the Target knows fails the job: its results would be lost.
//
// Each writer has at most one file on its way, in a goroutine that ends with it. The package
// holds I24 (only what a completed checkpoint names is written out).
//
// The layout of a file is in batch.go. Read sink.go first.
package wal
