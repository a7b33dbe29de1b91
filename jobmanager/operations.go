package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/settings"
	"github.com/weirstream/weir/proto/metapb"
)

// keptOperations is how many ended operations of a job stay on record.
const keptOperations = 16

// requests are clients that wait to be told that their operation is promised.
type requests struct {
	last    uint64
	replies map[uint64]chan<- error
}

func (r *requests) add(reply chan<- error) uint64 {
	if r.replies == nil {
		r.replies = map[uint64]chan<- error{}
	}
	r.last++
	r.replies[r.last] = reply
	return r.last
}

func (r *requests) answer(request uint64, err error) {
	if reply := r.replies[request]; reply != nil {
		reply <- err
		delete(r.replies, request)
	}
}

// abandon answers everybody who still waits.
func (r *requests) abandon() {
	for request := range r.replies {
		r.answer(request, ErrNotLeader)
	}
}

// operate is one step of the job's operations, and what follows from it.
func (m *JobMaster) operate(e operations.Event) {
	for _, f := range m.ops.Step(m.loop.Now(), e, nil) {
		m.doOperation(f)
	}
	m.state.Operations = m.ops.Records()
	m.maybeCleaned()
}

// doOperation carries out an effect of the job's operations.
func (m *JobMaster) doOperation(f operations.Effect) {
	switch f := f.(type) {
	case operations.Answer:
		m.asked.answer(f.Request, f.Problem)
	case operations.Record:
		m.write(0, func(ctx context.Context) masterEvent {
			return &operationRecorded{f.Operation, certain(ctx, func() error { return m.d.jobs.PutOperation(ctx, m.id, f.Operation) })}
		})
	case operations.TakeCheckpoint:
		m.forCoord(f.Wanted)
	case operations.Copy:
		m.copySnapshot(f)
	case operations.Rescale:
		m.rescale(f.Operation)
	case operations.RescaleNow:
		m.forGraph(execgraph.RescaleNow{})
	case operations.End:
		m.endOperation(f)
	case operations.Unpin:
		m.forCoord(f.Unpinned)
	case operations.CancelJob:
		m.state.Intent = f.Intent
		m.forGraph(execgraph.CancelJob{})
	default:
		panic(fmt.Sprintf("weir: BUG: effect %T of the operations of a job", f))
	}
}

// operationWanted: a client asks for something long. It is answered when the promise
// is on record.
type operationWanted struct {
	rec   *metapb.Operation
	reply chan<- error
}

func (e *operationWanted) abandon() { e.reply <- ErrNotLeader }

func (e *operationWanted) apply(m *JobMaster) {
	if e.rec.Kind == metapb.Operation_KIND_RESCALE {
		if _, err := settings.Graph(m.plan, m.settings.Parallelism, settings.Rescaled(m.record, e.rec)); err != nil {
			e.reply <- fmt.Errorf("%w: %w", ErrRefused, err)
			return
		}
	}
	wanted := operations.Requested{Operation: e.rec, Request: m.asked.add(e.reply)}
	if st, _ := m.graph.State(); m.ending == "" && (st == execgraph.Cancelling || st == execgraph.Failing || m.cancelled()) {
		wanted.JobState = st.String()
	}
	m.operate(wanted)
}

type operationRecorded struct {
	rec *metapb.Operation
	err error
}

func (e *operationRecorded) apply(m *JobMaster) {
	switch {
	case e.err == nil:
		m.log.Info("operation begins", "kind", operations.Name(e.rec.Kind), "trigger", e.rec.TriggerId, "target", e.rec.Target)
	case errors.Is(e.err, ha.ErrConflict): // its result was on record first
		e.err = fmt.Errorf("%w: job %s is %s", ErrEnded, m.id, m.ending)
	default:
		m.fenced(e.err)
	}
	m.operate(operations.Recorded{Trigger: e.rec.TriggerId, Problem: e.err})
}

// copying is how far the copy of a savepoint is. The copy writes it, the loop reads it.
type copying struct{ done, all atomic.Uint64 }

// copySnapshot makes the savepoint of an operation. The job does not wait for it.
func (m *JobMaster) copySnapshot(f operations.Copy) {
	c := &copying{}
	m.copies[f.Trigger] = c
	m.loop.Go("copy savepoint", func(ctx context.Context) masterEvent {
		bytes, err := m.d.manager.copySnapshot(ctx, f.From, f.To, f.Type, func(done, all uint64) {
			c.done.Store(done)
			c.all.Store(all)
		})
		return &snapshotCopied{f.Trigger, bytes, err}
	})
}

type snapshotCopied struct {
	trigger string
	bytes   uint64
	err     error
}

func (e *snapshotCopied) apply(m *JobMaster) {
	delete(m.copies, e.trigger)
	c := operations.Copied{Trigger: e.trigger, Bytes: e.bytes}
	if e.err != nil {
		c.Problem = e.err.Error()
	}
	m.operate(c)
}

// endOperation puts the end of an operation on record.
func (m *JobMaster) endOperation(f operations.End) {
	rec := f.Operation
	if rec.State == metapb.Operation_STATE_FAILED {
		m.log.Warn("operation failed", "kind", operations.Name(rec.Kind), "trigger", rec.TriggerId, "cause", rec.Failure)
	}
	end := ha.OperationEnd{Operation: rec, Pointer: f.Pointer, Intent: f.Intent, Forget: f.Forget}
	if f.Rescaled {
		end.Record = settings.Rescaled(m.record, rec)
		m.record = end.Record // what is written next builds on it
	}
	m.write(0, func(ctx context.Context) masterEvent {
		return &operationEnded{rec, end.Record, certain(ctx, func() error { return m.d.jobs.EndOperation(ctx, m.id, end) })}
	})
}

type operationEnded struct {
	rec    *metapb.Operation
	record *metapb.JobRecord // changed with it, or nil
	err    error
}

func (e *operationEnded) apply(m *JobMaster) {
	if e.err != nil {
		m.log.Warn("the end of an operation is not on record", "kind", operations.Name(e.rec.Kind), "trigger", e.rec.TriggerId, "cause", e.err)
		m.fenced(e.err)
	} else {
		m.log.Info("operation ended", "kind", operations.Name(e.rec.Kind), "trigger", e.rec.TriggerId, "state", e.rec.State.String(), "location", e.rec.Location)
		if e.record != nil {
			m.state.Record = e.record
		}
	}
	m.operate(operations.EndRecorded{Trigger: e.rec.TriggerId, Problem: e.err})
}

// ---- how an operation goes, for people ----

// operationLook asks how an operation goes; the answer is nil if there is none of that
// id. Without an answer the channel is closed.
type operationLook struct {
	trigger string
	reply   chan<- *api.Operation
}

func (e *operationLook) abandon() { close(e.reply) }

func (e *operationLook) apply(m *JobMaster) {
	v, known := m.ops.Look(e.trigger)
	switch {
	case !known:
		e.reply <- nil
	case v.Phase == operations.Ended:
		e.reply <- operationView(v.Record)
	default:
		e.reply <- api.InProgress(m.progress(e.trigger, v))
	}
}

func (m *JobMaster) progress(trigger string, v operations.View) api.OperationProgress {
	switch v.Phase {
	case operations.Copying:
		p := api.OperationProgress{Phase: api.PhaseCopy, Bytes: v.Bytes}
		if c := m.copies[trigger]; c != nil && c.all.Load() > 0 {
			p.Bytes, p.CopiedBytes = c.all.Load(), c.done.Load()
		}
		return p
	case operations.Finishing:
		return api.OperationProgress{Phase: api.PhaseStop}
	case operations.Deploying:
		return api.OperationProgress{Phase: api.PhaseDeploy}
	}
	p := api.OperationProgress{Phase: api.PhaseCheckpoint}
	if n, of, ok := m.coord.Progress(trigger); ok {
		p.Acked, p.Subtasks = n, of
	}
	return p
}

// operationView is what the record of an ended operation says.
func operationView(rec *metapb.Operation) *api.Operation {
	if rec.State != metapb.Operation_STATE_FAILED {
		return api.Completed(api.OperationResult{Location: rec.Location, CheckpointID: rec.CheckpointId})
	}
	mark := api.MarkNamed(rec.FailureKind)
	if mark == nil {
		mark = api.ErrConflict
	}
	return api.FailedOperation(api.NewError(mark, rec.Code, rec.Failure, rec.Hints...))
}

// reasonOf is what the record says of a failure.
func reasonOf(e *api.Error) *operations.Failure {
	return &operations.Failure{Code: e.Code, Reason: e.Error(), Kind: e.Kind, Hints: e.Hints}
}

// rescale has slots and workers got ready for the parallelism that an operation asks for.
func (m *JobMaster) rescale(rec *metapb.Operation) {
	g, err := settings.Graph(m.plan, m.settings.Parallelism, settings.Rescaled(m.record, proto.CloneOf(rec)))
	if err != nil {
		m.operate(operations.RescaleFailed{Code: "RESCALE_FAILED", Reason: err.Error()})
		return
	}
	m.forGraph(execgraph.Rescale{Graph: g})
}
