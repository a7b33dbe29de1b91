// Package objstore keeps durable immutable objects: runs, _metadata, binaries,
// plans. Store is the contract that a file system, S3 and HDFS can all keep; FS
// (this file system) and Memory are here, and storetest is the test that every
// implementation passes. Package errstore wraps a Store with faults.
//
// The contract, beyond the method comments:
//   - An object appears whole, at Commit, or not at all. Its bytes never change.
//   - A name is written once: a second Commit of it fails with ErrExists, whoever
//     wins a race. Names are chosen by callers and never derived from content.
//   - When Commit has returned nil the object survives a power cut.
//   - An error that wraps ErrUnknown says that the operation may have taken effect:
//     read back (Open) before deciding. Every other error of Commit or Delete
//     means that nothing was written (of Delete: that something may be left).
//   - Delete is idempotent and need not be durable: after a power cut a deleted
//     object may be back, and who deletes must be ready to delete it again.
//
// It never decides what is garbage (that is the JobManager's), knows nothing of
// what the bytes mean and starts no goroutine. All methods may be called from any
// goroutine; a Writer and a Reader belong to one caller, except that ReadAt may be
// called in parallel.
//
// Invariants: I3 (bytes durable before the pointer), I4 (an unknown result is not a
// failure), I12 (one name = one content, ever).
//
// Read store.go first, then fs.go.
package objstore
