// Package task runs one subtask attempt: it links the operators of a chain, takes
// records from the gate or a source reader, aligns barriers, takes snapshots, fires
// timers, and commits when a checkpoint has completed.
//
// It owns the mailbox loop and the phases of an attempt (phase.go). It never opens
// a connection, writes to a store (the keyed backend does) or decides what is done
// about a failure: it reports.
//
// # The loop
//
// One goroutine, the one that calls Task.Run, alone touches operators, state and
// timers. A turn: read the clock once; if Runtime.Attention is up, look into the
// mailbox and at the outputs; fire timers; push the backend's copying one slice on;
// flush what is due; then, if every output has room, one batch of records. What one
// call emits beyond the room of the outputs is queued (it may overdraw), so a turn
// never blocks and a barrier, an abort and a cancel are handled under back pressure
// too. With nothing to do the loop flushes and waits on one channel and one timer.
//
// # A checkpoint
//
// Barrier complete (align) → forwarded on all outputs → Prepare and Snapshot of the
// operators, operator state collected, backend frozen → records flow again, the
// frozen entries are copied out in slices → Snapshot.Finish in a goroutine of its own
// → ack with the whole run list. A barrier that has waited for longer than its alignment
// timeout overtakes (inflight.go): the records before it are captured, stored behind
// and part of the ack. What was in flight when the restored checkpoint was taken comes
// first, and is read as it is taken; the next checkpoint copies what is left of it. Aborts
// roll nothing back. While there is no leader every barrier that comes is cancelled. A completed checkpoint is
// committed; after the terminal one the attempt is FINISHED.
//
// # Goroutines
//
// The caller's, in Run; one while keyed state is being written, and one while records in
// flight are; none is left when Run has returned. Post, Counters and the wake-ups are called from
// anywhere. Reporter's methods are called by the loop and must not block.
//
// Invariants: A3 (an ack lists every run), A5 (one goroutine), B5 (no subtask
// finishes alone), B8 (forward, then freeze), I9 (see align), I10 (what is committed
// has completed).
//
// Read program.go first, then linker.go, task.go, phase.go, loop.go (records of a
// gate), source.go and assignment.go (of a source), checkpoint.go.
package task
