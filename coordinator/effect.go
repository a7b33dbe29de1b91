package coordinator

import (
	"time"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Effect is what the JobMaster has to do. The types of this file implement it.
// Effects of one Step are carried out in their order; those that say "answered by"
// may run in the background, and their answer is an event.
type Effect interface{ coordinatorEffect() }

// ReserveIDs makes durable that ids up to UpTo may be used (I7). Answered by
// IDsReserved.
type ReserveIDs struct {
	UpTo  stream.CheckpointID
	After time.Duration // wait so long first: an earlier try had no certain result
}

// Trigger injects the barrier into the root subtasks. Sending it is enough; a
// worker that does not get it lets the checkpoint expire.
type Trigger struct {
	Barrier stream.Barrier
	Roots   []Execution
}

// Abort tells the subtasks that checkpoints First to Last (both included) will not
// complete. It rolls nothing back.
type Abort struct {
	First, Last stream.CheckpointID
	To          []Execution
	Reason      string
}

// WriteMetadata encodes Metadata (coordinator/metadata) and makes it durable as
// Object, below the job's checkpoint folder. Answered by MetadataWritten.
type WriteMetadata struct {
	ID       stream.CheckpointID
	Object   string // "chk-7/_metadata"
	Metadata *metapb.CheckpointMetadata
}

// CommitPointer makes the checkpoint complete, by one guarded transaction. The
// JobMaster fills in Pointer.Path (its folder, absolute). Answered by
// PointerCommitted. The transaction is idempotent.
type CommitPointer struct {
	ID      stream.CheckpointID
	Pointer *metapb.CheckpointPointer
}

// ReadPointer looks, linearizably and After the given time, whether the pointer of ID
// is there. Answered by PointerRead.
type ReadPointer struct {
	ID    stream.CheckpointID
	After time.Duration
}

// NotifyCompleted tells subtasks that checkpoint ID has completed: sinks commit
// every prepared id ≤ ID. After a Terminal one they report Committed and finish.
type NotifyCompleted struct {
	ID       stream.CheckpointID
	Terminal bool
	To       []Target
}

// Target is a subtask to be notified, with the runs that its host's cache must keep.
type Target struct {
	Execution
	KeepRuns []string // run ids, sorted
}

// DeletePointers takes checkpoints out of the store. Answered by PointersDeleted.
// Bytes follow only after the answer.
type DeletePointers struct {
	IDs   []stream.CheckpointID
	After time.Duration
}

// DeleteObjects deletes objects below the job's checkpoint folder. Answered by
// ObjectsDeleted.
type DeleteObjects struct{ Names []string }

// ListObjects asks for the names of all objects below the job's checkpoint folder.
// Answered by ObjectsListed.
type ListObjects struct{}

// RestoreFrom answers RestoreWanted: start from this checkpoint, or empty (or from
// the snapshot given at submission) if Pointer is nil. Skipped are newer ones that are
// damaged: report them loudly. A Problem says that nothing can be restored although
// there was something, or only with somebody's consent: the job fails, it must not start
// empty. Its lines after the first are details.
type RestoreFrom struct {
	Pointer  *metapb.CheckpointPointer
	Metadata *metapb.CheckpointMetadata
	Skipped  []Completed
	Problem  string
}

// SetTimer asks for a Tick at At, replacing the earlier request; the zero time
// cancels it.
type SetTimer struct{ At time.Time }

// FailJob: too many checkpoints failed one after the other. The job fails over as
// after any failure.
type FailJob struct{ Reason string }

// Finished: the terminal checkpoint has been committed by everybody. The JobMaster
// persists the result, then hands in JobEnded.
type Finished struct {
	Results []*metapb.Result // merged, sorted by name
	Problem string           // why Results could not be merged
}

// CheckpointTaken answers CheckpointWanted.
type CheckpointTaken struct {
	TriggerID string
	Pointer   *metapb.CheckpointPointer
	Metadata  *metapb.CheckpointMetadata
}

// Refused answers CheckpointWanted: there will be none.
type Refused struct {
	TriggerID string
	Reason    string
}

// Pinned answers PinWanted: the checkpoint stays. The pin is to be put on record; if it
// can't be, Unpinned takes it back.
type Pinned struct {
	Pin     string
	Pointer *metapb.CheckpointPointer // with the pin
}

// PinRefused answers PinWanted: there is no such checkpoint, or soon there will be none.
type PinRefused struct {
	ID  stream.CheckpointID
	Pin string
}

// DrainSources has source subtasks end as if their input had. Sent again after a
// restart.
type DrainSources struct{ To []Execution }

// SourceReleased: nothing that the job may ever be restored from refers to the
// snapshot that it was started from.
type SourceReleased struct{}

// LeadershipLost: the store says that somebody else leads. No effect follows.
type LeadershipLost struct{}

// CleanedUp: everything that JobEnded asked for has been deleted. If Folder, nothing
// below the job's checkpoint folder is needed any more and all of it may go.
type CleanedUp struct{ Folder bool }

// Record is for the history, logs and metrics.
type Record struct{ Info Info }

func (ReserveIDs) coordinatorEffect()      {}
func (Trigger) coordinatorEffect()         {}
func (Abort) coordinatorEffect()           {}
func (WriteMetadata) coordinatorEffect()   {}
func (CommitPointer) coordinatorEffect()   {}
func (ReadPointer) coordinatorEffect()     {}
func (NotifyCompleted) coordinatorEffect() {}
func (DeletePointers) coordinatorEffect()  {}
func (DeleteObjects) coordinatorEffect()   {}
func (ListObjects) coordinatorEffect()     {}
func (RestoreFrom) coordinatorEffect()     {}
func (SetTimer) coordinatorEffect()        {}
func (FailJob) coordinatorEffect()         {}
func (Finished) coordinatorEffect()        {}
func (CheckpointTaken) coordinatorEffect() {}
func (Refused) coordinatorEffect()         {}
func (Pinned) coordinatorEffect()          {}
func (PinRefused) coordinatorEffect()      {}
func (DrainSources) coordinatorEffect()    {}
func (SourceReleased) coordinatorEffect()  {}
func (LeadershipLost) coordinatorEffect()  {}
func (CleanedUp) coordinatorEffect()       {}
func (Record) coordinatorEffect()          {}
