package minicluster

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager"
	"github.com/weirstream/weir/proto/metapb"
)

// Run runs one job on a cluster of its own and returns its result. The end of ctx
// cancels the job; its result then says CANCELED.
func Run(ctx context.Context, o Options, plan *metapb.Plan, settings map[string]string) (*metapb.JobResult, error) {
	if o.Slots == 0 {
		n, err := jobmanager.SlotsNeeded(o.Settings, plan, settings)
		if err != nil {
			return nil, err
		}
		o.Slots = n
	}
	c, err := Start(o)
	if err != nil {
		return nil, err
	}
	r, err := c.runJob(ctx, plan, settings)
	if cerr := c.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("stop local mode: %w", cerr)
	}
	return r, err
}

func (c *Cluster) runJob(ctx context.Context, plan *metapb.Plan, settings map[string]string) (*metapb.JobResult, error) {
	id, err := c.Submit(ctx, plan, settings)
	if err != nil {
		return nil, err
	}
	r, err := c.manager.Wait(ctx, id)
	if err == nil || ctx.Err() == nil {
		return r, err
	}
	bg := context.WithoutCancel(ctx)
	if err := c.manager.Cancel(bg, id); err != nil {
		return nil, err
	}
	return c.manager.Wait(bg, id)
}

// Wait waits for the end of a job.
func (c *Cluster) Wait(ctx context.Context, id job.ID) (*metapb.JobResult, error) {
	return c.manager.Wait(ctx, id)
}
