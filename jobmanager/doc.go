// Package jobmanager runs the control side of a cluster: it campaigns for the
// leadership, and while it leads accepts jobs (Dispatcher), keeps their binaries,
// gives slots, and runs one JobMaster for each job.
//
// A JobMaster is a loop around two pure cores, jobmanager/execgraph (how subtasks
// are deployed, watched and restarted) and coordinator (the life of checkpoints).
// It carries their effects out, RPCs and writes, and hands results back as events.
// Neither core does I/O; this package decides nothing about protocols.
//
// # Goroutines
//
//   - Run: campaigns, starts and stops the leader's Dispatcher.
//   - Dispatcher: one loop (internal/loop) that owns the jobs, the TaskManagers'
//     streams and the slot pool.
//   - JobMaster: one loop for each job that owns both cores. Writes to etcd and to
//     the checkpoint store leave the loop through loop.Go; one goroutine after the
//     other for each JobMaster writes to etcd, so transactions keep their order.
//   - one goroutine for each TaskManager stream reads it, one sends to it.
//
// The loops talk by posting events; none ever waits for another.
//
// # Operations
//
// What a client asks for that takes long (operations.go: a savepoint, a stop, a
// checkpoint, a rescale) is on record under its trigger id before anything is done for
// it, is resumed by the next leader, and its end is on record before anybody is told. A
// savepoint is a completed checkpoint that is pinned until package savepoint has copied
// it; the job does not wait.
//
// Invariants: I1 (everything is written through ha.Jobs under this leader's key),
// I2 (leader epoch on every command, attempt and incarnation on every answer), I6
// (a terminal state is on record before anything of the job is cleaned up).
//
// It never touches a record, runs user code, or imports a state backend.
//
// Read jobmanager.go, dispatcher.go, takeover.go, then jobmaster.go; for what jobs start
// from source.go, for changes of parallelism rescale.go.
package jobmanager
