// Package jobmanager runs the control side of a cluster: it campaigns for the
// leadership, and while it leads accepts jobs (Dispatcher), keeps their binaries,
// gives slots, and runs one JobMaster for each job.
//
// A JobMaster is a loop around pure cores: jobmanager/execgraph (how subtasks
// are deployed, watched and restarted), coordinator (the life of checkpoints),
// jobmanager/operations (what clients were promised) and jobmanager/adoption (what becomes
// of what a new leader finds).
// It carries their effects out, RPCs and writes, and hands results back as events.
// No core does I/O; this package decides nothing about protocols.
//
// # Goroutines
//
//   - Run: campaigns, starts and stops the leader's Dispatcher.
//   - Dispatcher: one loop (internal/loop) that owns the jobs, the registered
//     TaskManagers and the slot pool.
//   - JobMaster: one loop for each job that owns both cores. Writes to etcd and to
//     the checkpoint store leave the loop through loop.Go; one goroutine after the
//     other for each JobMaster writes to etcd, so transactions keep their order.
//   - those of each TaskManager's stream (jobmanager/session).
//
// The loops talk by posting events; none ever waits for another.
//
// # Operations
//
// What a client asks for that takes long (a savepoint, a stop, a checkpoint, a rescale, a
// disposal) is an operation: the pure core jobmanager/operations decides, operations.go
// carries its effects out for a job, disposal.go for those of no job.
//
// Invariants: I1 (everything is written through ha.Jobs under this leader's key),
// I2 (leader epoch on every command, attempt and incarnation on every answer), I6
// (a terminal state is on record before anything of the job is cleaned up).
//
// It never touches a record, runs user code, or imports a state backend.
//
// # Taking over
//
// A new leader goes on with what an earlier one has left: takeover.go reads what is on
// record, adopt.go hands what TaskManagers report to the pure core jobmanager/adoption and
// begins with what that decides. The receipt is in receipt.go.
//
// Read jobmanager.go, dispatcher.go, taskmanagers.go, takeover.go, adopt.go, then jobmaster.go; for what jobs start
// from source.go.
package jobmanager
