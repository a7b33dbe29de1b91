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
	Submit(ctx context.Context, s *api.Submission) (job.ID, error)
	// Cancel records that the job shall be cancelled and returns; it does not wait. A
	// job that is being cancelled or is CANCELED already is no error; one that is
	// FINISHED or FAILED is api.ErrConflict.
	Cancel(ctx context.Context, id job.ID) error
}
