package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/proto/metapb"
)

// keptDisposals is how many that ended stay on record.
const keptDisposals = 100

// operate is one step of the disposals, and what follows from it.
func (d *Dispatcher) operate(e operations.Event) {
	for _, f := range d.disposals.Step(time.Now(), e, nil) {
		d.doDisposal(f)
	}
}

// doDisposal carries out an effect of the disposals.
func (d *Dispatcher) doDisposal(f operations.Effect) {
	switch f := f.(type) {
	case operations.Answer:
		d.asked.answer(f.Request, f.Problem)
	case operations.Record:
		d.loop.Go("record disposal", func(ctx context.Context) event {
			err := certain(ctx, func() error { return d.jobs.PutDisposal(ctx, f.Operation) })
			return &disposalStep{operations.Recorded{Trigger: f.Operation.TriggerId, Problem: err}, err}
		})
	case operations.Dispose:
		d.loop.Go("delete savepoint", func(ctx context.Context) event {
			e := operations.Disposed{Trigger: f.Trigger}
			if err := d.users.Dispose(ctx, f.Path, f.Again); err != nil {
				e.Failure = reasonOf(err)
			}
			return &disposalStep{e, nil} // not handled if the leadership has ended: the next one goes on
		})
	case operations.End:
		d.log.Info("disposal ended", "path", f.Operation.Target, "state", f.Operation.State.String(), "cause", f.Operation.Failure)
		d.loop.Go("record the end of a disposal", func(ctx context.Context) event {
			err := certain(ctx, func() error { return d.jobs.EndDisposal(ctx, f.Operation, f.Forget) })
			return &disposalStep{operations.EndRecorded{Trigger: f.Operation.TriggerId, Problem: err}, err}
		})
	default:
		panic(fmt.Sprintf("weir: BUG: effect %T of a disposal", f))
	}
}

// disposalStep is a result for the disposals; err is that of the transaction.
type disposalStep struct {
	e   operations.Event
	err error
}

func (e *disposalStep) handle(d *Dispatcher) {
	if errors.Is(e.err, ha.ErrFenced) {
		(leadershipLost{}).handle(d)
	}
	d.operate(e.e)
}

// disposeWanted: a client wants a savepoint deleted.
type disposeWanted struct {
	trigger, path string
	reply         chan<- error
}

func (e *disposeWanted) abandon() { e.reply <- ErrNotLeader }

func (e *disposeWanted) handle(d *Dispatcher) {
	d.operate(operations.Requested{Request: d.asked.add(e.reply), Operation: &metapb.Operation{
		Kind: metapb.Operation_KIND_DISPOSAL, TriggerId: e.trigger, Target: e.path,
	}})
}

// Dispose implements rest.Cluster.
func (a API) Dispose(ctx context.Context, r api.DisposalRequest) (string, error) {
	if err := chooseTrigger(&r.TriggerID); err != nil {
		return "", err
	}
	if r.Path == "" {
		return "", api.NewError(api.ErrInvalid, "NO_SNAPSHOT", "the request names no savepoint")
	}
	d := a.m.leader()
	reply := make(chan error, 1)
	if d == nil || d.loop.Post(&disposeWanted{r.TriggerID, r.Path, reply}) != nil {
		return "", apiError(ErrNotLeader)
	}
	select {
	case err := <-reply:
		return r.TriggerID, apiError(err)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// disposalLook asks how a disposal goes. Without an answer the channel is closed.
type disposalLook struct {
	trigger string
	reply   chan<- *api.Operation
}

func (e *disposalLook) abandon() { close(e.reply) }

func (e *disposalLook) handle(d *Dispatcher) {
	switch v, known := d.disposals.Look(e.trigger); {
	case !known:
		e.reply <- nil
	case v.Phase == operations.Ended:
		e.reply <- operationView(v.Record)
	default:
		e.reply <- api.InProgress(api.OperationProgress{})
	}
}

// Disposal implements rest.Cluster.
func (a API) Disposal(ctx context.Context, trigger string) (*api.Operation, error) {
	d := a.m.leader()
	reply := make(chan *api.Operation, 1)
	if d == nil || d.loop.Post(&disposalLook{trigger, reply}) != nil {
		return nil, apiError(ErrNotLeader)
	}
	select {
	case o, answered := <-reply:
		switch {
		case !answered:
			return nil, apiError(ErrNotLeader)
		case o == nil:
			return nil, api.NewError(api.ErrNotFound, "OPERATION_NOT_FOUND", fmt.Sprintf("no savepoint is being deleted under %.80q, or that ended long ago", trigger))
		}
		return o, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
