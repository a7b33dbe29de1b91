package client

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

// Find returns the job that ref names: by its id, its name, or a beginning of either
// that only one job has. Of several jobs of one name the one that has not ended is
// meant; if all have, the newest.
func (c *Client) Find(ctx context.Context, ref string) (*api.Job, error) {
	if job.ID(ref).Validate() == nil {
		return c.Job(ctx, ref)
	}
	jobs, err := c.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	return pick(jobs, ref)
}

// pick finds ref among jobs, which are newest first.
func pick(jobs []*api.Job, ref string) (*api.Job, error) {
	match := func(fits func(*api.Job) bool) (found []*api.Job) {
		for _, j := range jobs {
			if fits(j) {
				found = append(found, j)
			}
		}
		return found
	}
	named := match(func(j *api.Job) bool { return j.Name == ref })
	if len(named) == 0 && ref != "" {
		byID := match(func(j *api.Job) bool { return strings.HasPrefix(j.ID, ref) })
		named = match(func(j *api.Job) bool { return strings.HasPrefix(j.Name, ref) })
		all := append(byID, named...)
		for _, j := range all {
			if len(byID) > 0 && j != all[0] || j.Name != all[0].Name {
				return nil, ambiguous(ref, all)
			}
		}
		named = all
	}
	var live []*api.Job
	for _, j := range named {
		if !api.Terminal(j.State) && !slices.Contains(live, j) {
			live = append(live, j)
		}
	}
	switch {
	case len(named) == 0:
		return nil, api.NewError(api.ErrNotFound, "JOB_NOT_FOUND", fmt.Sprintf("no job is called %q", ref), "weir list")
	case len(live) == 1:
		return live[0], nil
	case len(live) > 1:
		return nil, ambiguous(ref, live)
	}
	return named[0], nil
}

func ambiguous(ref string, jobs []*api.Job) error {
	var hints []string
	for _, j := range jobs[:min(len(jobs), 5)] {
		hints = append(hints, fmt.Sprintf("%s  %s  %s", j.ID, j.Name, j.State))
	}
	return api.NewError(api.ErrInvalid, "JOB_AMBIGUOUS", fmt.Sprintf("%q may be any of %d jobs; give an id", ref, len(jobs)), hints...)
}
