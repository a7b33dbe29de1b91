package jobmanager

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// sweep looks over the ended jobs: the newest are kept for a while, what is older
// is forgotten, with its binary.
type sweep struct{}

func (e *sweep) handle(d *Dispatcher) {
	e.clean(d)
	d.loop.After(sweepInterval, &sweep{})
}

func (e *sweep) clean(d *Dispatcher) {
	var all []*ha.JobState
	for _, s := range d.ended {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *ha.JobState) int { // newest first
		return cmp.Or(cmp.Compare(b.Result.EndedAtMs, a.Result.EndedAtMs), cmp.Compare(a.Record.JobId, b.Record.JobId))
	})
	oldest := time.Now().Add(-d.manager.cfg.RetainFor).UnixMilli()
	for i, s := range all {
		if i < d.manager.cfg.RetainJobs && s.Result.EndedAtMs >= oldest {
			continue
		}
		delete(d.ended, job.ID(s.Record.JobId))
		delete(d.views, job.ID(s.Record.JobId))
		var objects [][]byte
		if !d.objectInUse(s.Record.BinarySha256) {
			objects = append(objects, s.Record.BinarySha256)
		}
		if s.Record.Plan == nil && !d.objectInUse(s.Record.PlanSha256) { // a large plan
			objects = append(objects, s.Record.PlanSha256)
		}
		d.loop.Go("forget job", func(ctx context.Context) event { return d.forget(ctx, s, objects) })
	}
}

// objectInUse reports whether a job still names an object; "" counts as in use.
func (d *Dispatcher) objectInUse(sum []byte) bool {
	names := func(r *metapb.JobRecord) bool {
		return bytes.Equal(r.BinarySha256, sum) || bytes.Equal(r.PlanSha256, sum)
	}
	for _, m := range d.masters {
		if names(m.record) {
			return true
		}
	}
	for _, s := range d.ended {
		if names(s.Record) {
			return true
		}
	}
	if len(sum) == 0 || len(d.broken) > 0 { // what those name is not known
		return true
	}
	return false
}

// forget removes the record first, then the bytes that it named.
func (d *Dispatcher) forget(ctx context.Context, s *ha.JobState, objects [][]byte) event {
	err := d.jobs.Forget(ctx, job.ID(s.Record.JobId))
	for _, sum := range objects {
		if err == nil {
			err = d.manager.objects.remove(sum)
		}
	}
	if err != nil {
		err = fmt.Errorf("forget ended job %s: %w", s.Record.JobId, err)
	}
	return &forgotten{s, err}
}

type forgotten struct {
	s   *ha.JobState
	err error
}

func (e *forgotten) handle(d *Dispatcher) {
	if e.err != nil { // tried again at the next sweep
		d.log.Warn("ended job stays on record", "job", e.s.Record.JobId, "cause", e.err)
		d.ended[job.ID(e.s.Record.JobId)] = e.s
	}
}
