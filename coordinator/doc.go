// Package coordinator is the life of a job's checkpoints: when one is triggered,
// whose acks it waits for, when it is complete, what sinks are told, and which
// objects of the checkpoint store may be deleted.
//
// It is a pure step function. The JobMaster's loop hands in events (a time, an ack,
// a lost attempt, the result of a write) and carries out the effects that Step
// appends, in their order, feeding their results back as events. Nothing here does
// I/O, starts a goroutine, reads a clock, or depends on the order of a map.
//
// Two state machines, one file each:
//
//	phase.go       the coordinator: starting, running, ending, committing, finished, …
//	checkpoint.go  one checkpoint: pending, storing, committing, …, completed, subsumed
//
// and registry.go, which knows what objects snapshots refer to. Who asks for a checkpoint
// out of turn, a savepoint or a stop is answered by want.go; source.go says when the
// snapshot that the job was started from is not needed any more, orphans.go finds what
// nobody lists.
//
// Invariants: I4 (an unknown result is read back; nothing is deleted before),
// I5 (Restore names the newest completed checkpoint, and waits for one whose pointer
// is being committed), I7 (ids come from ranges that were made durable first), I10
// (complete exactly when all acks of that id and those attempts are in; late,
// duplicate and unknown ones change nothing), I11 (a failed checkpoint never
// prevents the next), I12 and I13 (the registry), I24 (NotifyCompleted only for what
// the pointer says is complete), I25 (notifications may be lost or repeated).
//
// Read event.go and effect.go first, then step.go.
package coordinator
