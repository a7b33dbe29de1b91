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
		keep := d.binaryInUse(s.Record.BinarySha256)
		d.loop.Go("forget job", func(ctx context.Context) event { return d.forget(ctx, s, keep) })
	}
}

func (d *Dispatcher) binaryInUse(sum []byte) bool {
	for _, m := range d.masters {
		if bytes.Equal(m.record.BinarySha256, sum) {
			return true
		}
	}
	for _, s := range d.ended {
		if bytes.Equal(s.Record.BinarySha256, sum) {
			return true
		}
	}
	return false
}

// forget removes the record first, then the bytes that it named.
func (d *Dispatcher) forget(ctx context.Context, s *ha.JobState, keepBinary bool) event {
	err := d.jobs.Forget(ctx, job.ID(s.Record.JobId))
	if err == nil && !keepBinary && len(s.Record.BinarySha256) > 0 {
		err = d.manager.objects.remove(s.Record.BinarySha256)
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
