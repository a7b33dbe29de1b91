// Package execgraph decides how the subtasks of a job are deployed, watched,
// cancelled and restarted: executions with their attempts, failover regions, the
// job's state, and the restart strategy.
//
// It is pure: Step takes a time and an event and appends effects to the caller's
// slice. It touches no network, file, clock or lock, and what it does depends on
// nothing but the events it was given. The JobMaster carries the effects out and
// feeds their results back.
//
// A region is a connected component of the graph: its subtasks start, fail and
// restart together, the others go on. A region's new attempt is deployed only when
// every goroutine of the old one has returned or its process is gone (I2).
//
// Invariants: I2 (at most one live attempt of a subtask), I6 (a terminal state is
// never left), I32 (the failure of one worker touches only the regions it ran).
//
// Read graph.go (states and their tables), then event.go, effect.go, step.go (slots,
// workers, deployment), fail.go (failing, cancelling, the end) and rescale.go (another
// parallelism).
package execgraph
