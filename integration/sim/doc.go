// Package sim is the first tier of proof (T1): the pure cores — coordinator,
// coordinator/restore, coordinator/metadata, jobmanager/operations, jobmanager/adoption and taskmanager/align —
// with a model of
// everything around them in one seeded event loop, and faults on top: workers and
// JobManagers that crash, hang and come back, messages that are lost or late, store
// results that are unknown, leaders that do not know that they are deposed.
//
// When a JobManager is lost its subtasks go on; the next one adopts them, or starts them
// again.
//
// The job reads records from two sources, counts them by key at a parallelism that
// changes with each restart, and writes the counts to a sink that commits with
// checkpoints. In every other run barriers overtake records, which are kept in the
// checkpoint and taken first after a restart. State is kept as run lists in a model object store, so a run deleted
// too early is found.
//
// After each step the invariants are checked that the step could have broken: I4 and
// I12 (what a pointer names exists), I5, I7, I8 (the cut is consistent), I9, I10,
// I24; at the end I11 (it comes to an end once the faults stop), I13 (nothing is left
// over) and the oracle: the sink's output is that of a run without faults.
//
// One goroutine, no clock: the same seed gives the same trace, down to its hash.
// Mutants (mutant.go) are mistakes built in on purpose, which must be found.
//
// Read world.go (loop and faults), then leader.go, adopt.go, subtask.go, overtake.go, store.go, check.go.
package sim
