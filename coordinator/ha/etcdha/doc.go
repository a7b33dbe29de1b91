// Package etcdha keeps a cluster's records in etcd, embedded or external. It is
// the only package that imports etcd.
//
// A leader's election key is created by etcd's concurrency.Election; its create
// revision is the leader's epoch, and every Commit is one Txn that compares it
// (I1). An election alone is no fence: a lease may expire while its owner sleeps.
//
// The embedded member runs with 10 ms ticks and 100 ms elections and compacts
// itself. Whoever holds the data folder's lock deletes the leader key that its
// predecessor left, so a restart does not wait for the dead lease.
//
// Goroutines: those of the etcd client, of one session (lease keep-alive) for each
// campaign, and of the embedded server. All end with Close.
//
// Read store.go, then embedded.go.
package etcdha
