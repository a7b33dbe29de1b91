package coordinator

import (
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Event is what happened. The types of this file implement it.
type Event interface{ coordinatorEvent() }

// Execution names one attempt of one subtask.
type Execution struct {
	Subtask     job.SubtaskID
	Attempt     job.Attempt
	Incarnation job.Incarnation
}

// Outcome is how a write ended.
type Outcome uint8

// Outcomes.
const (
	// OK: it is durable.
	OK Outcome = iota + 1
	// Failed: it certainly did not happen.
	Failed
	// Unknown: it may or may not have happened, or may still happen.
	Unknown
	// Fenced: somebody else leads. The coordinator stops and has no further effect.
	Fenced
)

// ---- from the JobMaster ----

// TookOver is the first event: what the store holds of the job. A job that was
// never checkpointed has the zero value.
type TookOver struct {
	// Reserved is the highest id recorded as perhaps used (JobState.CheckpointID).
	Reserved stream.CheckpointID
	// Completed are the retained checkpoints, ascending.
	Completed []Completed
	// Incarnation is the highest one recorded; 0 = none.
	Incarnation job.Incarnation
	// Source is whether the job still needs the snapshot that it was started from.
	Source SourceState
}

// Completed is a checkpoint that stands in the store.
type Completed struct {
	Pointer *metapb.CheckpointPointer
	// Metadata is what its _metadata says; nil if that could not be read or trusted.
	// Such a checkpoint is damaged: never restored from, and reported.
	Metadata *metapb.CheckpointMetadata
	Problem  string // why Metadata is nil
}

// Deployed says that the incarnation of a region (or of the whole job) has been
// persisted and Deploy is about to be sent: from now on only these attempts of its
// subtasks count. It replaces what was known of every subtask in Executions; the
// attempts replaced are dead: nobody will ever adopt them, and their acks are refused.
type Deployed struct {
	Graph      *job.Graph // with the parallelism deployed
	Executions []Execution
	StateIDs   []*metapb.StateID
	// NextStateID is the lowest id never given.
	NextStateID uint32
	// Restored is the checkpoint that they start from; 0 = none.
	Restored stream.CheckpointID
}

// Adopted says that a new leader found these attempts running and keeps them.
// Checkpoints above the newest completed one are aborted there, and the newest is
// notified again.
type Adopted struct {
	Graph       *job.Graph
	Executions  []Execution
	StateIDs    []*metapb.StateID
	NextStateID uint32
}

// SubtaskRunning: the attempt has restored its state and reads its input. When all
// of the job are running, checkpoints begin.
type SubtaskRunning struct{ Execution Execution }

// AttemptsLost: these attempts will never ack again: their region has failed or is
// being cancelled. Pending checkpoints are aborted.
type AttemptsLost struct {
	Executions []Execution
	Reason     string
}

// RestoreWanted asks for the snapshot to start from. It is answered with
// RestoreFrom as soon as no pointer is under way (I5), and not at all once the job has
// finished.
type RestoreWanted struct {
	// Unusable are checkpoints found damaged since TookOver (a digest did not match).
	Unusable []Damage
}

// Damage is what was found wrong with a checkpoint when a subtask started from it.
type Damage struct {
	ID     stream.CheckpointID
	Reason string // names the file
}

// Tick is a wake-up: SetTimer's time has come. Any event may come late or early.
type Tick struct{}

// CheckpointWanted asks for a checkpoint out of turn: CheckpointBarrier, FullBarrier,
// or SavepointBarrier and StopBarrier, whose checkpoint is pinned by TriggerID until
// Unpinned. Answered with CheckpointTaken or Refused, after the next restart if need
// be. Asking again under the same id changes nothing.
type CheckpointWanted struct {
	TriggerID string
	Kind      stream.BarrierKind
	Drain     bool // of a stop: sources end, and the terminal checkpoint is the answer
}

// Unpinned: the copy of a checkpoint is made, or never will be, and that is on record; or
// who has started from it needs it no more.
type Unpinned struct {
	ID        stream.CheckpointID
	TriggerID string
	Keep      bool // there is no copy: the checkpoints of this job are not deleted at its end
}

// PinWanted: somebody else is about to start from a checkpoint of this job, which must stay
// until Unpinned names the same pin. Answered at once, with Pinned or PinRefused.
type PinWanted struct {
	ID  stream.CheckpointID
	Pin string
}

// JobEnded: the job's terminal state has been persisted (I6). Checkpoints are now
// deleted or kept; CleanedUp follows.
type JobEnded struct{ State string } // FINISHED, FAILED or CANCELED

// Stop ends the coordinator without cleaning up: this process no longer leads, or
// is shutting down.
type Stop struct{}

// ---- from the subtasks ----

// Acked: a subtask's snapshot is durable.
type Acked struct {
	ID        stream.CheckpointID
	Execution Execution
	// Operators are the snapshots of the chain, each with exactly one subtask.
	Operators []*metapb.OperatorSnapshot
	// StillReads names objects that the working state reads although no run lists them:
	// relative to the job's checkpoint folder, or absolute for somebody else's.
	StillReads []string
	NewBytes   uint64
	Timings    Timings
}

// Timings of one subtask's part, in ns, and what it did meanwhile.
type Timings struct {
	StartDelay, Alignment, Sync, Async, LongestStall int64
	Unaligned                                        bool   // the barrier overtook records, here or upstream
	ProcessedBytes                                   uint64 // of records, between the first barrier and the last
}

// Declined: a subtask cannot take part.
type Declined struct {
	ID        stream.CheckpointID
	Execution Execution
	Reason    string
}

// SourceEnded: a source subtask will never have another record. Repeated after a
// restore of an ended source.
type SourceEnded struct{ Execution Execution }

// Committed: every committer of the subtask has committed all it prepared at or
// before ID.
type Committed struct {
	ID        stream.CheckpointID
	Execution Execution
}

// ---- results of effects ----

// IDsReserved answers ReserveIDs.
type IDsReserved struct {
	UpTo    stream.CheckpointID
	Outcome Outcome
}

// MetadataWritten answers WriteMetadata. Size and digest are those of the object.
type MetadataWritten struct {
	ID      stream.CheckpointID
	Outcome Outcome
	Size    uint64
	Digest  []byte
	Problem string
}

// PointerCommitted answers CommitPointer.
type PointerCommitted struct {
	ID      stream.CheckpointID
	Outcome Outcome
	Problem string
}

// PointerRead answers ReadPointer: OK and Found when the pointer is there, OK and
// not Found when it isn't, Failed or Unknown when the store could not be read.
type PointerRead struct {
	ID      stream.CheckpointID
	Outcome Outcome
	Found   bool
}

// PointersDeleted answers DeletePointers. Only OK makes the bytes deletable.
type PointersDeleted struct {
	IDs     []stream.CheckpointID
	Outcome Outcome
}

// ObjectsDeleted answers DeleteObjects. An object that was not there counts as
// deleted. Those that could not be deleted are tried again.
type ObjectsDeleted struct {
	Names   []string
	Outcome Outcome
}

// ObjectsListed answers ListObjects.
type ObjectsListed struct {
	Names   []string // below the job's checkpoint folder
	Outcome Outcome
}

func (ObjectsListed) coordinatorEvent()    {}
func (TookOver) coordinatorEvent()         {}
func (Deployed) coordinatorEvent()         {}
func (Adopted) coordinatorEvent()          {}
func (SubtaskRunning) coordinatorEvent()   {}
func (AttemptsLost) coordinatorEvent()     {}
func (RestoreWanted) coordinatorEvent()    {}
func (Tick) coordinatorEvent()             {}
func (CheckpointWanted) coordinatorEvent() {}
func (Unpinned) coordinatorEvent()         {}
func (PinWanted) coordinatorEvent()        {}
func (JobEnded) coordinatorEvent()         {}
func (Stop) coordinatorEvent()             {}
func (Acked) coordinatorEvent()            {}
func (Declined) coordinatorEvent()         {}
func (SourceEnded) coordinatorEvent()      {}
func (Committed) coordinatorEvent()        {}
func (IDsReserved) coordinatorEvent()      {}
func (MetadataWritten) coordinatorEvent()  {}
func (PointerCommitted) coordinatorEvent() {}
func (PointerRead) coordinatorEvent()      {}
func (PointersDeleted) coordinatorEvent()  {}
func (ObjectsDeleted) coordinatorEvent()   {}
