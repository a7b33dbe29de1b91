package operations

import (
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/proto/metapb"
)

// Effect is what the shell has to do, in order. The types of this file implement it.
type Effect interface{ operationsEffect() }

// Answer tells a client that its operation is promised, or why not.
type Answer struct {
	Request uint64
	Problem error // nil: it is on record
}

// Record puts an operation on record, of a job that lives. Answered by Recorded.
type Record struct{ Operation *metapb.Operation }

// TakeCheckpoint is for the coordinator. Answered by Taken or Refused.
type TakeCheckpoint struct{ Wanted coordinator.CheckpointWanted }

// Copy makes the savepoint of an operation out of a completed checkpoint that is pinned
// for it. Answered by Copied; what an earlier try left is no hindrance.
type Copy struct {
	Trigger  string
	From, To string
	Type     metapb.SnapshotType
}

// Rescale has slots and workers got ready for the parallelism that an operation asks for.
// Answered by RescaleReady or RescaleFailed, and by Rescaled if there is nothing to do.
type Rescale struct{ Operation *metapb.Operation }

// RescaleNow: the checkpoint of a rescale is taken, or there will be none. Answered by
// Rescaled.
type RescaleNow struct{}

// Dispose deletes the snapshot at Path, unless a job needs it. Answered by Disposed. Again:
// an earlier leader may have deleted it, or a part of it.
type Dispose struct {
	Trigger string
	Path    string
	Again   bool
}

// End puts the end of an operation on record, of a job that has ended too, in one
// transaction. Answered by EndRecorded.
type End struct {
	Operation *metapb.Operation
	Pointer   *metapb.CheckpointPointer // without its pin; nil = stays as it is
	Intent    *metapb.Intent            // to cancel the job; nil = none
	Rescaled  bool                      // the job's record is to have the operation's parallelism
	Forget    []string                  // trigger ids of operations that ended long ago
}

// Unpin is for the coordinator: the copy is made, or never will be.
type Unpin struct{ Unpinned coordinator.Unpinned }

// CancelJob follows the end of a cancel with a savepoint, whose Intent is on record.
type CancelJob struct{ Intent *metapb.Intent }

func (Answer) operationsEffect()         {}
func (Record) operationsEffect()         {}
func (TakeCheckpoint) operationsEffect() {}
func (Copy) operationsEffect()           {}
func (Rescale) operationsEffect()        {}
func (RescaleNow) operationsEffect()     {}
func (Dispose) operationsEffect()        {}
func (End) operationsEffect()            {}
func (Unpin) operationsEffect()          {}
func (CancelJob) operationsEffect()      {}
