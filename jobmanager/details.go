package jobmanager

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/history"
)

// detailsLook asks what the subtasks did for a checkpoint; the answer is nil if the
// history does not have it. Without an answer the channel is closed.
type detailsLook struct {
	checkpoint uint64
	reply      chan<- *api.CheckpointDetails
}

func (e *detailsLook) abandon() { close(e.reply) }

func (e *detailsLook) apply(m *JobMaster) { e.reply <- m.details(e.checkpoint) }

func (m *JobMaster) details(id uint64) *api.CheckpointDetails {
	for _, c := range m.view().Checkpoints.History {
		if c.ID != id {
			continue
		}
		parts := m.history.Parts(id)
		if parts == nil {
			parts = m.coord.Parts(streamID(id))
		}
		return history.Details(c, parts, m.graph.Job())
	}
	return nil
}

// CheckpointDetails implements rest.Cluster.
func (a API) CheckpointDetails(ctx context.Context, id job.ID, checkpoint uint64) (*api.CheckpointDetails, error) {
	f, err := a.m.find(ctx, id)
	if err != nil {
		return nil, apiError(err)
	}
	unknown := api.NewError(api.ErrNotFound, "CHECKPOINT_NOT_FOUND", fmt.Sprintf("the history of job %s does not have checkpoint %d", id, checkpoint))
	if f.view != nil {
		for _, c := range f.view.Checkpoints.History {
			if c.ID == checkpoint {
				return &api.CheckpointDetails{Checkpoint: c, Vertices: []api.CheckpointVertex{}}, nil
			}
		}
		return nil, unknown
	}
	reply := make(chan *api.CheckpointDetails, 1)
	f.master.post(&detailsLook{checkpoint, reply})
	select {
	case d, answered := <-reply:
		switch {
		case !answered: // the job has just ended, or the leadership has
			if err := f.master.gone(ctx); err != nil {
				return nil, err
			}
			return a.CheckpointDetails(ctx, id, checkpoint)
		case d == nil:
			return nil, unknown
		}
		return d, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
