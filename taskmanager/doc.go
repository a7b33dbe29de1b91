// Package taskmanager is the agent of one host: it offers slots to the leading
// JobManager, starts and supervises one worker for each job that has slots here,
// relays control between the JobManager and the workers, and caches job binaries.
// It runs no user code and never touches a record.
//
// # Goroutines
//
// One goroutine, Run, owns every field of TaskManager (the loop). Around it:
//
//   - the session reads one gRPC stream from the JobManager (session.go) and
//     reconnects for ever; it posts what arrives and what broke;
//   - each attached worker has one goroutine that reads its stream (attach.go);
//     sends to a worker go through a queue with a goroutine of its own, so a worker
//     that does not read cannot hold up the loop;
//   - each worker process has one goroutine that waits for its exit (process.go),
//     and all are forked from one goroutine locked to its thread: Pdeathsig is sent
//     when the forking *thread* ends.
//
// # Failure
//
// When the JobManager's stream breaks, workers go on; each is told at once that
// the leader is lost, so it cancels the checkpoints that it has not acked
// (without that ack they can't complete). When the agent dies, its workers die
// with it (Pdeathsig). A worker's exit is reported at once with its reason.
//
// The agent keeps what a leader has to know of its workers: the last state of each
// subtask, ended sources, last commits, and exits that no leader has heard of. It says all
// that as it registers, and whatever is said while it does follows the registration, so
// the next leader misses nothing. A JobManager that does not answer a registration is left
// for the next in the list.
//
// Invariants: I2 (a command of a lower leader epoch than the highest seen is
// refused), I32 (a job's worker dies alone).
//
// Read taskmanager.go, then worker.go.
package taskmanager
