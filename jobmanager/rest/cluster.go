package rest

import (
	"context"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

// Cluster is what the API needs of a JobManager. All methods may be called from many
// goroutines. Errors carry a mark of package api, or are internal ones.
//
// Leader and Ready are answered by every JobManager, the others by the leader only;
// one that has stopped leading in between answers api.ErrUnavailable.
type Cluster interface {
	// Leader says who leads, as far as this JobManager knows; api.ErrUnavailable if
	// nobody does.
	Leader(ctx context.Context) (api.Leader, error)
	// Ready lists what must hold for this JobManager to do its work (that of a standby
	// is to stand by): store reachable, folder writable, ….
	Ready(ctx context.Context) []api.Check

	Overview(ctx context.Context) (api.Overview, error)
	// Jobs returns all jobs, those that have ended included, newest submission first.
	Jobs(ctx context.Context) ([]*api.Job, error)
	// Job returns one job, or api.ErrNotFound.
	Job(ctx context.Context, id job.ID) (*api.Job, error)
	TaskManagers(ctx context.Context) ([]api.TaskManager, error)

	// Submit stores the binary and accepts the job. When it returns, the job is recorded
	// and outlives every process. Submitting the same ID again is no error.
	Submit(ctx context.Context, s *api.Submission) (api.Submitted, error)
	// Cancel records that the job shall be cancelled and returns; it does not wait. A
	// job that is being cancelled or is CANCELED already is no error; one that is
	// FINISHED or FAILED is api.ErrConflict.
	Cancel(ctx context.Context, id job.ID) error

	// Savepoint, Stop, Checkpoint and Rescale record an operation and return its trigger
	// id; they do not wait for its end, and change nothing under an id that was used.
	Savepoint(ctx context.Context, id job.ID, r api.SavepointRequest) (trigger string, err error)
	Stop(ctx context.Context, id job.ID, r api.StopRequest) (trigger string, err error)
	Checkpoint(ctx context.Context, id job.ID, r api.CheckpointRequest) (trigger string, err error)
	Rescale(ctx context.Context, id job.ID, r api.RescaleRequest) (trigger string, err error)
	// Operation tells how an operation of a job goes, or api.ErrNotFound.
	Operation(ctx context.Context, id job.ID, trigger string) (*api.Operation, error)
	// Dispose begins to delete a savepoint; Disposal tells how that goes.
	Dispose(ctx context.Context, r api.DisposalRequest) (trigger string, err error)
	Disposal(ctx context.Context, trigger string) (*api.Operation, error)

	// CheckpointConfig is how a job is checkpointed.
	CheckpointConfig(ctx context.Context, id job.ID) (api.CheckpointConfig, error)
	// CheckpointDetails is one checkpoint of the history with what each subtask did.
	CheckpointDetails(ctx context.Context, id job.ID, checkpoint uint64) (*api.CheckpointDetails, error)
}
