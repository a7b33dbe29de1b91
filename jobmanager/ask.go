package jobmanager

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/settings"
	"github.com/weirstream/weir/proto/metapb"
)

// ErrNoJob says that no job of that id is known.
var ErrNoJob = errors.New("no such job")

// ErrUnreadable says that a job is on record but can't be run by this version.
var ErrUnreadable = errors.New("the job is on record but this version of weir cannot run it")

// find asks the dispatcher for a job.
type find struct {
	id    job.ID
	reply chan<- found
}

type found struct {
	master *JobMaster   // of a job that lives
	ended  *ha.JobState // of one that has ended
	view   *api.Job     // of one that has ended
	err    error
}

func (e *find) handle(d *Dispatcher) {
	f := found{master: d.masters[e.id], ended: d.ended[e.id]}
	switch {
	case d.broken[e.id] != nil:
		f.err = fmt.Errorf("%w: %s: %w", ErrUnreadable, e.id, d.broken[e.id])
	case f.ended != nil:
		f.view = d.endedView(e.id, f.ended)
	case f.master == nil:
		f.err = fmt.Errorf("%w: %s", ErrNoJob, e.id)
	}
	e.reply <- f
}

func (e *find) abandon() { e.reply <- found{err: ErrNotLeader} }

func (m *JobManager) find(ctx context.Context, id job.ID) (found, error) {
	d := m.leader()
	if d == nil {
		return found{}, ErrNotLeader
	}
	reply := make(chan found, 1)
	if d.loop.Post(&find{id, reply}) != nil {
		return found{}, ErrNotLeader
	}
	select {
	case f := <-reply:
		return f, f.err
	case <-ctx.Done():
		return found{}, context.Cause(ctx)
	}
}

// Cancel records that a job shall be cancelled, and returns. A job that has ended
// can't be cancelled any more: ErrEnded.
func (m *JobManager) Cancel(ctx context.Context, id job.ID) error {
	f, err := m.find(ctx, id)
	if err != nil {
		return err
	}
	if f.ended != nil {
		if f.ended.Result.State == "CANCELED" {
			return nil
		}
		return fmt.Errorf("%w: job %s is %s", ErrEnded, id, f.ended.Result.State)
	}
	reply := make(chan error, 1)
	f.master.post(&cancelWanted{reply})
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ErrEnded says that the job has ended, ErrRunning that another operation excludes the one
// that was asked for.
var (
	ErrEnded   = operations.ErrEnded
	ErrRunning = operations.ErrRunning
)

// Wait waits until a job has ended and returns its result.
func (m *JobManager) Wait(ctx context.Context, id job.ID) (*metapb.JobResult, error) {
	for {
		f, err := m.find(ctx, id)
		if err != nil {
			return nil, err
		}
		if f.ended != nil {
			return f.ended.Result, nil
		}
		select {
		case <-f.master.over:
		case <-f.master.loop.Done(): // ended, or the leadership did
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// SlotsNeeded is the number of slots that a job would ask for.
func SlotsNeeded(cluster map[string]string, plan *metapb.Plan, submitted map[string]string) (int, error) {
	s, err := settings.Of(cluster, plan, submitted, "/") // folders do not matter here
	if err != nil {
		return 0, err
	}
	g, err := job.NewGraph(plan, s.Parallelism)
	if err != nil {
		return 0, err
	}
	return g.Slots(), nil
}

// randomHex is n random bytes in hexadecimal.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
