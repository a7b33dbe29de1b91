// Package snapshots is what jobs and clients do with snapshots that are not a job's own
// checkpoints: a job is started from one (Source), a client has one deleted (Users.Dispose),
// a savepoint is copied out of a checkpoint (Copy). It knows which jobs need which files of
// the file system (Users), so that nobody deletes them.
//
// It reads and deletes through package savepoint, and never decides when a snapshot is
// needed no more: the coordinator of the job does. No goroutines; Users may be used by
// many.
//
// Invariants: I14 (what is somebody else's is not deleted; what a job has claimed has one
// owner).
//
// Read users.go, then source.go.
package snapshots
