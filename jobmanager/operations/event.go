package operations

import (
	"github.com/weirstream/weir/proto/metapb"
)

// Event is what happened. The types of this file implement it.
type Event interface{ operationsEvent() }

// Loaded: what the store holds of the job is known. Operations go on, or begin, from here.
type Loaded struct {
	Pointers []*metapb.CheckpointPointer // retained
	Result   string                      // the job's terminal state; "" = it lives
}

// Requested: a client asks for an operation. Answered with Answer under Request, when the
// promise is on record or refused. Asking again under the same trigger id is answered like
// the first time.
type Requested struct {
	Operation *metapb.Operation
	Request   uint64 // number of the request
	// JobState says why the job takes no operation ("CANCELLING"); "" = it does.
	JobState string
}

// Recorded answers Record.
type Recorded struct {
	Trigger string
	Problem error // nil: on record
}

// Taken: the checkpoint of an operation is complete.
type Taken struct {
	Trigger string
	Pointer *metapb.CheckpointPointer
}

// Refused: there will be no checkpoint for an operation.
type Refused struct {
	Trigger string
	Reason  string
}

// Copied answers Copy.
type Copied struct {
	Trigger string
	Bytes   uint64 // that were written
	Problem string // "" = the savepoint is complete
}

// RescaleReady: slots and workers are there. Own: for a rescale that nobody asked for.
type RescaleReady struct{ Own bool }

// RescaleFailed: the job runs on as it was.
type RescaleFailed struct{ Code, Reason string }

// Rescaled: every subtask runs with the new parallelism.
type Rescaled struct{ Own bool }

// Disposed answers Dispose.
type Disposed struct {
	Trigger string
	Failure *Failure // nil: it is deleted
}

// Failure is why an operation failed, for its record.
type Failure struct {
	Code   string // stable
	Reason string
	Kind   string // by which clients tell failures apart; "" = conflict
	Hints  []string
}

// JobEnding: the job's terminal state is being put on record.
type JobEnding struct{ State string }

// JobEnded: the job's terminal state is on record.
type JobEnded struct{ State string }

// EndRecorded answers End.
type EndRecorded struct {
	Trigger string
	Problem error // nil: on record
}

func (Loaded) operationsEvent()        {}
func (Requested) operationsEvent()     {}
func (Recorded) operationsEvent()      {}
func (Taken) operationsEvent()         {}
func (Refused) operationsEvent()       {}
func (Copied) operationsEvent()        {}
func (RescaleReady) operationsEvent()  {}
func (RescaleFailed) operationsEvent() {}
func (Rescaled) operationsEvent()      {}
func (Disposed) operationsEvent()      {}
func (JobEnding) operationsEvent()     {}
func (JobEnded) operationsEvent()      {}
func (EndRecorded) operationsEvent()   {}
