// Package cluster is the proof with real processes: JobManagers and TaskManagers as
// `weir` runs them, embedded or external etcd, job binaries built as users build them,
// and kill -9. Its tests say of each promise to a user (a job that loses a TaskManager,
// a worker, the leader; each mistake and each damage) what the command prints, its exit
// code, and that nothing is lost.
//
// It never looks inside a process: it starts, signals and asks by command and REST.
// Everything listens on loopback, on ports that were free, and is ended by the test;
// a process whose test is killed dies with it (Pdeathsig). Of a test that fails the
// folder of logs is kept and named. A test asserts that it took its path: that the
// job was restarted, and from what it was restored.
//
// Read harness_test.go (processes, Cluster) first, then wordcount_test.go.
package cluster
