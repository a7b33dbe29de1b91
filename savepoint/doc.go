// Package savepoint treats snapshots as data: it copies, verifies, describes,
// compares and deletes savepoints and retained checkpoints, and reads, transforms
// and writes what is in them, without a cluster.
//
// A snapshot is a folder with a _metadata (package coordinator/metadata). Of a
// checkpoint, {dir}/{job-id}/chk-N, the runs lie in the job's folder above, shared with
// other checkpoints. A savepoint is self-contained: runs and _metadata lie in one folder,
// by relative names, and the folder can be moved. Copy makes the one into the other:
// native takes the runs as they are, canonical merges them into one run for each
// subtask, without tombstones and without what is shadowed. Any backend reads both.
//
// Everything here streams: what is held in memory is _metadata, a block of each run
// that is read, and what Writer sorts at a time (sortMemory).
//
// Nothing is trusted: names in a _metadata are refused if they lead out of its folder,
// every file is compared with the size and digests that _metadata has, and what is
// wrong is said by the name of the operator, subtask and file (*Problem).
//
// A snapshot is written in one go: the _metadata comes last. A folder without one is no
// snapshot. Copy may be called again after a crash, with the same target.
//
// It never decides what is retained (that is the coordinator's) and knows no job that
// runs: who deletes a snapshot asks the cluster before. Goroutines: Copy and Verify read
// several files at a time and return when all have ended; nothing outlives a call. A
// Snapshot may be used by several goroutines; a Writer belongs to one.
//
// Invariants: I3 (bytes before _metadata), I4, I12, I14 (a source is never written), I15
// (a moved savepoint restores), I16, I17.
//
// Read snapshot.go first, then copy.go, verify.go and describe.go; for data read.go,
// write.go and transform.go.
package savepoint
