// Package adoption decides what becomes of the attempts that a new leader finds.
//
// TaskManagers and workers go on while nobody leads. The next leader knows from the
// records which incarnation of each failover region was deployed last, and where; the
// TaskManagers say, as they register, what runs. A region is adopted when every subtask
// of it reports the recorded attempt as RUNNING (or FINISHED, behind a terminal
// checkpoint). It is restarted, whole, as soon as something says that this will not come
// to be (a subtask failed, was cancelled or never deployed, its worker ended, another attempt
// runs in its place), or when the window is over. The job is settled when each of its regions is.
//
//	region   waiting ──all run──▶ found       (and back, while others wait)
//	            │  ╲
//	            │   └─ contradicted ─▶ lost
//	            └───── window over ──▶ lost
//
// Core is a pure step function: no I/O, goroutine or clock. The JobMaster hands in what
// the records and the TaskManagers say and, once Settled comes, starts its execution
// graph and its coordinator from it.
//
// # What a new leader knows, and from where
//
//	graph, settings, snapshot started from    etcd, jobs/{id}/graph
//	parallelism, state ids, restarts so far   etcd, jobs/{id}/incarnation
//	incarnation and attempt of each region    etcd, jobs/{id}/incarnation
//	completed checkpoints, their run lists    etcd, jobs/{id}/checkpoints, and their _metadata
//	next checkpoint id                        etcd, jobs/{id}/checkpoint-id: the next never reserved
//	promises: savepoints, stops, rescales     etcd, jobs/{id}/operations
//	cancel                                    etcd, jobs/{id}/intent
//	failures and statistics, for people       etcd, jobs/{id}/failures, …/statistics
//	attempts, their states, where they run    registrations
//	sources that have ended, last commits     registrations: the agent keeps them
//	why a worker has ended meanwhile          registrations
//	counters                                  the workers, each second
//	split enumerators                         nowhere: they run on, as subtasks of their sources
//	checkpoints under way                     nowhere: they are aborted
//	back-off of the restart strategy          nowhere: it begins anew
//
// Invariants: I2 (a region is restarted only when what was found of it is stopped first).
//
// Read event.go, then core.go.
package adoption
