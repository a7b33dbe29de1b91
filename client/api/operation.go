package api

import "fmt"

// An operation is something long that the cluster does for a client: a savepoint, a
// stop, a checkpoint on demand, a rescale, a disposal. A POST (or PATCH) starts it and
// is answered at once with 202 and Triggered; a GET of the same path and the request's
// id tells how it goes. Closing the connection, or the client, changes nothing about it.
//
// The client chooses the id (TriggerID): the same request under the same id starts
// nothing anew, so it may be sent again when no answer came. The last 16 of a job stay
// known, across leaders, as long as the job is. Names and forms are Flink's; what Flink
// has not stands beside them.
//
//	POST  /jobs/{id}/savepoints       SavepointRequest    GET /jobs/{id}/savepoints/{trigger}
//	POST  /jobs/{id}/stop             StopRequest         GET /jobs/{id}/savepoints/{trigger}
//	POST  /jobs/{id}/checkpoints      CheckpointRequest   GET /jobs/{id}/checkpoints/{trigger}
//	PATCH /jobs/{id}/rescaling        RescaleRequest      GET /jobs/{id}/rescaling/{trigger}
//	POST  /savepoint-disposal         DisposalRequest     GET /savepoint-disposal/{trigger}

// Formats of a savepoint.
const (
	FormatCanonical = "CANONICAL" // merged into one sorted run for each operator and range
	FormatNative    = "NATIVE"    // the runs as they are
)

// Kinds of a checkpoint on demand.
const (
	// CheckpointConfigured writes what changed, as the job's own checkpoints do.
	CheckpointConfigured = "CONFIGURED"
	// CheckpointFull refers to nothing that older checkpoints wrote.
	CheckpointFull = "FULL"
)

// SavepointRequest asks for a savepoint of a running job.
type SavepointRequest struct {
	TriggerID       string `json:"triggerId,omitempty"`        // letters, digits and dashes, at most 64; "" = the cluster chooses
	TargetDirectory string `json:"target-directory,omitempty"` // path or URL; "" = execution.checkpointing.savepoint-dir
	FormatType      string `json:"formatType,omitempty"`       // FormatCanonical (default) or FormatNative
	// CancelJob cancels the job when the savepoint is complete: `cancel -s`. A savepoint
	// that fails leaves the job running.
	CancelJob bool `json:"cancel-job,omitempty"`
}

// StopRequest asks for a savepoint after which the job is FINISHED. One that fails
// leaves the job running.
type StopRequest struct {
	TriggerID       string `json:"triggerId,omitempty"`
	TargetDirectory string `json:"targetDirectory,omitempty"` // as in SavepointRequest, whose name for it is another one in Flink too
	FormatType      string `json:"formatType,omitempty"`
	// Drain has the job end as if its input had ended: timers fire, EndOfInput is
	// called, before the savepoint. A job must not be resumed from it.
	Drain bool `json:"drain,omitempty"`
}

// CheckpointRequest asks for a checkpoint now.
type CheckpointRequest struct {
	TriggerID      string `json:"triggerId,omitempty"`
	CheckpointType string `json:"checkpointType,omitempty"` // CheckpointConfigured (default) or CheckpointFull
}

// RescaleRequest gives a running job another parallelism.
type RescaleRequest struct {
	TriggerID string `json:"triggerId,omitempty"`
	// Parallelism of every operator that sets none itself; 0 = unchanged. Flink's query
	// parameter of this name counts too.
	Parallelism int `json:"parallelism,omitempty"`
	// Operators have a parallelism of their own from now on, by uid.
	Operators map[string]int `json:"operators,omitempty"`
}

// DisposalRequest has a savepoint deleted.
type DisposalRequest struct {
	TriggerID string `json:"triggerId,omitempty"`
	Path      string `json:"savepoint-path"` // its folder or its _metadata
}

// Triggered is the answer to all of these.
type Triggered struct {
	RequestID string `json:"request-id"` // the TriggerID
}

// States of an operation, in Flink's words. One that failed is COMPLETED with a
// failure.
const (
	OperationInProgress = "IN_PROGRESS"
	OperationCompleted  = "COMPLETED"
)

// Operation is how an operation goes.
type Operation struct {
	Status   OperationStatus   `json:"status"`
	Result   *OperationResult  `json:"operation"` // null while it is in progress
	Progress OperationProgress `json:"progress"`
}

// OperationStatus is the state of an operation.
type OperationStatus struct {
	ID string `json:"id"` // OperationInProgress or OperationCompleted
}

// OperationResult is how an operation ended.
type OperationResult struct {
	Location     string        `json:"location,omitempty"`     // of a savepoint: its folder
	CheckpointID uint64        `json:"checkpointId,omitempty"` // of a checkpoint, and the one that a savepoint was made of
	FailureCause *FailureCause `json:"failure-cause,omitempty"`
	// CheckpointFailureCause is FailureCause under the name that Flink has for it where
	// the operation is a checkpoint; both are set there.
	CheckpointFailureCause *FailureCause `json:"failureCause,omitempty"`
}

// FailureCause is an Error in Flink's form as well.
type FailureCause struct {
	Class      string `json:"class"`       // Error.Code
	StackTrace string `json:"stack-trace"` // Error.Errors, a line each
	Error
}

// Phases of an operation, as people are told.
const (
	PhaseCheckpoint = "checkpoint" // subtasks are snapshotting
	PhaseCopy       = "copy"       // of the completed checkpoint's state into the savepoint
	PhaseStop       = "stop"       // subtasks end, or the job is cancelled
	PhaseDeploy     = "deploy"     // of a rescaled job
)

// OperationProgress is how far an operation is. Zero values are not known or not yet
// known.
type OperationProgress struct {
	Phase       string `json:"phase,omitempty"`
	Subtasks    int    `json:"subtasks,omitempty"` // that have to acknowledge
	Acked       int    `json:"acked,omitempty"`
	Bytes       uint64 `json:"bytes,omitempty"` // to be copied
	CopiedBytes uint64 `json:"copied-bytes,omitempty"`
}

// InProgress is an operation that has not ended.
func InProgress(p OperationProgress) *Operation {
	return &Operation{Status: OperationStatus{OperationInProgress}, Progress: p}
}

// Completed is an operation that has ended well.
func Completed(r OperationResult) *Operation {
	return &Operation{Status: OperationStatus{OperationCompleted}, Result: &r}
}

// FailedOperation is an operation that has ended with e.
func FailedOperation(e *Error) *Operation {
	cause := &FailureCause{Class: e.Code, Error: *e}
	for i, line := range e.Errors {
		if i > 0 {
			cause.StackTrace += "\n"
		}
		cause.StackTrace += line
	}
	return Completed(OperationResult{FailureCause: cause, CheckpointFailureCause: cause})
}

// Ended reports whether the operation is over, and how. A result that lacks is an
// error.
func (o *Operation) Ended() (*OperationResult, bool, error) {
	switch {
	case o.Status.ID == OperationInProgress:
		return nil, false, nil
	case o.Status.ID != OperationCompleted || o.Result == nil:
		return nil, true, fmt.Errorf("operation is in state %q without a result", o.Status.ID)
	}
	cause := o.Result.FailureCause
	if cause == nil {
		cause = o.Result.CheckpointFailureCause
	}
	if cause == nil {
		return o.Result, true, nil
	}
	e := cause.Error
	if len(e.Errors) == 0 {
		e.Errors = []string{cause.StackTrace}
	}
	return nil, true, &e
}
