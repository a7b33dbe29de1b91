// Package demo is `weir demo`: a whole cluster of real processes on this machine, a
// keyed job with a transactional sink, and an auditor that recomputes the truth from
// the input while processes are killed.
//
// The demo process runs etcd (embedded), starts two JobManagers and three
// one-slot TaskManagers by executing itself, and submits itself as the job binary
// (job.go). The job has two slots, so one is spare. Killed processes are started
// again after two seconds. The auditor (audit.go) reads only what the sink has
// published, and knows nothing of the cluster.
//
// Goroutines: one for each child process, waiting for its end; one reads keys; the
// rest is the caller's. All children die with the demo.
//
// When the leader is killed the next one adopts what runs; the job writes down its pauses
// (pauses.go), which tell what its records have noticed.
//
// Read demo.go, then job.go, audit.go, pauses.go and processes.go.
package demo
