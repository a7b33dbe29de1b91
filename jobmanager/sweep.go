package jobmanager

import (
	"bytes"
	"cmp"
	"context"
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
		d.loop.Go("forget job", func(ctx context.Context) event {
			return &forgotten{s, d.jobs.Forget(ctx, job.ID(s.Record.JobId))}
		})
	}
}

// objectInUse reports whether a job still names an object; "" counts as in use.
func (d *Dispatcher) objectInUse(sum []byte) bool {
	names := func(r *metapb.JobRecord) bool {
		return bytes.Equal(r.BinarySha256, sum) || bytes.Equal(r.PlanSha256, sum)
	}
	for _, m := range d.masters {
		if names(m.accepted) {
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

// forgotten: the record is gone, or is not; the bytes that it named go now, unless
// another job has come to name them meanwhile.
type forgotten struct {
	s   *ha.JobState
	err error
}

func (e *forgotten) handle(d *Dispatcher) {
	r := e.s.Record
	if e.err != nil { // tried again at the next sweep
		d.log.Warn("ended job stays on record", "job", r.JobId, "cause", e.err)
		d.ended[job.ID(r.JobId)] = e.s
		return
	}
	objects := [][]byte{r.BinarySha256}
	if r.Plan == nil { // a large plan
		objects = append(objects, r.PlanSha256)
	}
	for _, sum := range objects {
		if d.objectInUse(sum) {
			continue
		}
		if err := d.manager.objects.Remove(sum); err != nil {
			d.log.Warn("an object of a forgotten job stays", "job", r.JobId, "cause", err)
		}
	}
}
