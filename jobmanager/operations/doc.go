// Package operations is the life of what clients ask for that takes long: a checkpoint, a
// savepoint, a stop, a cancel with a savepoint, a rescale, the disposal of a savepoint. An
// operation is on record under the client's trigger id before anything is done for it, is
// resumed by the next leader, and its end is on record before anybody is told.
//
// It is a pure step function. The JobMaster has one Core for its job, the Dispatcher one
// for disposals, which belong to no job. They hand in events (a request, the result of a
// write, a checkpoint that was taken) and carry out the effects, in their order; the
// results come back as events. Nothing here does I/O, starts a goroutine, reads a clock
// or depends on the order of a map.
//
// A savepoint is a completed checkpoint that is pinned under the trigger id until it is
// copied; the job does not wait for the copy. A rescale is a checkpoint and a new
// incarnation that starts from it. What a new leader does with an operation follows from
// the records alone: one that has ended is told of, one whose checkpoint is pinned is
// copied, every other one is begun again.
//
// Invariants: I4 (an operation whose record has no certain result is not begun), I6 (an
// ended one is never begun again), I27 (a stop is complete when the job's result is on
// record).
//
// Read phase.go (the states and their table), then event.go, effect.go and step.go.
package operations
