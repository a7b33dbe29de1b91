package jobmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// operation is what a client was promised. It is on record before anything is done
// for it, is resumed by the next leader, and its end is on record before anybody is
// told.
//
//	recording ──▶ taking ──taken──▶ copying ──copied──▶ ending ──▶ ended
//	                │ refused          │ fails             ▲
//	                └──────────────────┴───────────────────┘
//
// A checkpoint and a rescale have no copy. A stop whose copy is made waits in ending
// until the job's result is on record.
type operation struct {
	rec     *metapb.Operation
	phase   operationPhase
	record  *metapb.JobRecord         // to be recorded with its end
	pointer *metapb.CheckpointPointer // from copying on
	intent  *metapb.Intent            // to be recorded with its end
}

type operationPhase uint8

const (
	opTaking operationPhase = iota + 1
	opCopying
	opFinishing // a stop: the copy is made, the job has not ended
	opEnding    // its end is being put on record
	opEnded
)

// keptOperations is how many ended operations of a job stay on record.
const keptOperations = 16

// ErrRunning says that another operation excludes this one.
var ErrRunning = errors.New("another operation is under way")

// operationWanted: a client asks for something long. It is answered when the promise
// is on record.
type operationWanted struct {
	rec   *metapb.Operation
	reply chan<- error
}

func (e *operationWanted) abandon() { e.reply <- ErrNotLeader }

func (e *operationWanted) apply(m *JobMaster) {
	if o := m.ops[e.rec.TriggerId]; o != nil {
		if o.rec.Kind != e.rec.Kind {
			e.reply <- fmt.Errorf("%w: the trigger id %s is that of a %s", ErrRunning, e.rec.TriggerId, operationName(o.rec.Kind))
			return
		}
		e.reply <- nil // the same request again
		return
	}
	if err := m.refuses(e.rec); err != nil {
		e.reply <- err
		return
	}
	e.rec.State = metapb.Operation_STATE_IN_PROGRESS
	e.rec.RequestedAtMs = m.loop.Now().UnixMilli()
	o := &operation{rec: e.rec, phase: opTaking}
	m.ops[e.rec.TriggerId] = o
	rec := proto.CloneOf(o.rec)
	m.enqueue(write{abandon: e.abandon, run: func(ctx context.Context) masterEvent {
		return &operationRecorded{o, e.reply, certain(ctx, func() error { return m.d.jobs.PutOperation(ctx, m.id, rec) })}
	}})
}

// refuses says why an operation can't be begun now, or nil.
func (m *JobMaster) refuses(rec *metapb.Operation) error {
	if rec.Kind == metapb.Operation_KIND_RESCALE {
		if _, err := graphOf(m.plan, m.settings.Parallelism, rescaledRecord(m.record, rec)); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	st, _ := m.graph.State()
	switch {
	case m.ending != "":
		return fmt.Errorf("%w: job %s is %s", ErrEnded, m.id, m.ending)
	case st == execgraph.Cancelling || st == execgraph.Failing || m.cancelled():
		return fmt.Errorf("%w: job %s is %s", ErrEnded, m.id, st)
	}
	for _, o := range m.operations() {
		if o.phase == opEnded {
			continue
		}
		last := o.rec.Kind == metapb.Operation_KIND_STOP || o.rec.Kind == metapb.Operation_KIND_CANCEL
		if last || o.rec.Kind == rec.Kind && rec.Kind == metapb.Operation_KIND_RESCALE {
			return fmt.Errorf("%w: a %s of job %s (%s)", ErrRunning, operationName(o.rec.Kind), m.id, o.rec.TriggerId)
		}
	}
	return nil
}

// operations in order of their trigger ids.
func (m *JobMaster) operations() []*operation {
	var all []*operation
	for _, id := range slices.Sorted(maps.Keys(m.ops)) {
		all = append(all, m.ops[id])
	}
	return all
}

type operationRecorded struct {
	o     *operation
	reply chan<- error
	err   error
}

func (e *operationRecorded) abandon() { e.reply <- ErrNotLeader }

func (e *operationRecorded) apply(m *JobMaster) {
	if e.err != nil {
		delete(m.ops, e.o.rec.TriggerId)
		if errors.Is(e.err, ha.ErrConflict) {
			e.err = fmt.Errorf("%w: job %s is %s", ErrEnded, m.id, m.ending)
		} else {
			m.fenced(e.err)
		}
		e.reply <- e.err
		return
	}
	m.log.Info("operation begins", "kind", operationName(e.o.rec.Kind), "trigger", e.o.rec.TriggerId, "target", e.o.rec.Target)
	m.recordOperations()
	if m.loaded { // else it is begun when the job is taken over
		m.begin(e.o)
	}
	e.reply <- nil
}

// begin carries an operation out that is on record.
func (m *JobMaster) begin(o *operation) {
	w := coordinator.CheckpointWanted{TriggerID: o.rec.TriggerId}
	switch o.rec.Kind {
	case metapb.Operation_KIND_CHECKPOINT:
		w.Kind = stream.CheckpointBarrier
		if o.rec.Full {
			w.Kind = stream.FullBarrier
		}
	case metapb.Operation_KIND_SAVEPOINT, metapb.Operation_KIND_CANCEL:
		w.Kind = stream.SavepointBarrier
	case metapb.Operation_KIND_STOP:
		w.Kind, w.Drain = stream.StopBarrier, o.rec.Drain
	case metapb.Operation_KIND_RESCALE:
		m.rescale(o)
		return
	default:
		m.failOperation(o, "UNKNOWN_OPERATION", fmt.Sprintf("this version of weir does not know operations of kind %d", o.rec.Kind))
		return
	}
	m.forCoord(w)
}

// know takes over what is on record of operations.
func (m *JobMaster) know(recorded []*metapb.Operation) {
	for _, rec := range recorded {
		m.ops[rec.TriggerId] = &operation{rec: rec, phase: opTaking}
		if rec.State != metapb.Operation_STATE_IN_PROGRESS {
			m.ops[rec.TriggerId].phase = opEnded
		}
	}
}

// resume goes on with the operations that an earlier leader has begun.
func (m *JobMaster) resume() {
	for _, o := range m.operations() {
		rec := o.rec
		i := slices.IndexFunc(m.state.Pointers, func(p *metapb.CheckpointPointer) bool { return slices.Contains(p.Pins, rec.TriggerId) })
		switch {
		case o.phase == opEnded:
			if i >= 0 { // a stop without a copy: its checkpoint is all there is
				m.forCoord(coordinator.Unpinned{ID: streamID(m.state.Pointers[i].CheckpointId), TriggerID: rec.TriggerId, Keep: true})
			}
		case i >= 0:
			m.copySnapshot(o, m.state.Pointers[i])
		case m.state.Result != nil:
			m.failOperation(o, "JOB_ENDED", "the job is "+m.state.Result.State)
		default:
			m.begin(o)
		}
	}
}

// taken: the checkpoint of an operation is complete.
func (m *JobMaster) taken(f coordinator.CheckpointTaken) {
	if f.TriggerID == ownRescale {
		m.forGraph(execgraph.RescaleNow{})
		return
	}
	o := m.ops[f.TriggerID]
	switch {
	case o == nil || o.phase != opTaking:
	case o.rec.Kind == metapb.Operation_KIND_RESCALE:
		m.rescaleNow(o)
	case o.rec.Kind == metapb.Operation_KIND_CHECKPOINT:
		o.rec.CheckpointId, o.rec.Location, o.rec.Bytes = f.Pointer.CheckpointId, f.Pointer.Path, f.Pointer.StateBytes
		m.endOperation(o, metapb.Operation_STATE_COMPLETED)
	default:
		m.copySnapshot(o, f.Pointer)
	}
}

// refused: there will be no checkpoint for an operation.
func (m *JobMaster) refused(f coordinator.Refused) {
	if f.TriggerID == ownRescale { // it restarts from an older one
		m.forGraph(execgraph.RescaleNow{})
		return
	}
	o := m.ops[f.TriggerID]
	switch {
	case o == nil || o.phase != opTaking:
	case o.rec.Kind == metapb.Operation_KIND_RESCALE: // it restarts from an older one
		m.rescaleNow(o)
	default:
		m.failOperation(o, "CHECKPOINT_FAILED", f.Reason)
	}
}

// copySnapshot makes the savepoint of an operation out of a completed checkpoint that
// is pinned for it. The job does not wait for it.
func (m *JobMaster) copySnapshot(o *operation, p *metapb.CheckpointPointer) {
	o.phase, o.pointer = opCopying, p
	o.rec.CheckpointId = p.CheckpointId
	from, to, kind := p.Path, o.rec.Target, o.rec.Type
	m.loop.Go("copy savepoint", func(ctx context.Context) masterEvent {
		bytes, err := m.d.manager.copySnapshot(ctx, from, to, kind)
		return &snapshotCopied{o, bytes, err}
	})
}

type snapshotCopied struct {
	o     *operation
	bytes uint64
	err   error
}

func (e *snapshotCopied) apply(m *JobMaster) {
	o := e.o
	if e.err != nil {
		reason := fmt.Sprintf("write savepoint %s: %v", o.rec.Target, e.err)
		if o.rec.Kind == metapb.Operation_KIND_STOP {
			reason += fmt.Sprintf("; the job has stopped, and its state is kept in %s", o.pointer.Path)
		}
		m.failOperation(o, "SAVEPOINT_FAILED", reason)
		return
	}
	o.rec.Location, o.rec.Bytes = o.rec.Target, e.bytes
	switch {
	case o.rec.Kind == metapb.Operation_KIND_STOP && m.state.Result == nil:
		o.phase = opFinishing
		return
	case o.rec.Kind == metapb.Operation_KIND_CANCEL && m.ending == "":
		o.intent = &metapb.Intent{Kind: metapb.Intent_KIND_CANCEL, TriggerId: o.rec.TriggerId, RequestedAtMs: m.loop.Now().UnixMilli()}
	}
	m.endOperation(o, metapb.Operation_STATE_COMPLETED)
}

// jobOver ends what waited for the job's result.
func (m *JobMaster) jobOver() {
	for _, o := range m.operations() {
		switch {
		case o.phase == opFinishing:
			m.endOperation(o, metapb.Operation_STATE_COMPLETED)
		case o.phase == opTaking && o.rec.Kind == metapb.Operation_KIND_RESCALE:
			m.failOperation(o, "JOB_ENDED", "the job is "+m.state.Result.State)
		}
	}
}

func (m *JobMaster) failOperation(o *operation, code, reason string) {
	o.rec.Code, o.rec.Failure = code, reason
	m.log.Warn("operation failed", "kind", operationName(o.rec.Kind), "trigger", o.rec.TriggerId, "cause", reason)
	m.endOperation(o, metapb.Operation_STATE_FAILED)
}

// endOperation puts the end of an operation on record, and lets its checkpoint go.
func (m *JobMaster) endOperation(o *operation, state metapb.Operation_State) {
	o.phase = opEnding
	o.rec.State, o.rec.EndedAtMs = state, m.loop.Now().UnixMilli()
	end := ha.OperationEnd{Operation: proto.CloneOf(o.rec), Intent: o.intent, Record: o.record, Forget: m.forgettable()}
	unpinned := coordinator.Unpinned{TriggerID: o.rec.TriggerId}
	if o.pointer != nil {
		unpinned.ID = streamID(o.pointer.CheckpointId)
		unpinned.Keep = state == metapb.Operation_STATE_FAILED && o.rec.Kind == metapb.Operation_KIND_STOP
		if !unpinned.Keep { // else the pin says so to the next leader
			end.Pointer = proto.CloneOf(o.pointer)
			end.Pointer.Pins = slices.DeleteFunc(end.Pointer.Pins, func(pin string) bool { return pin == o.rec.TriggerId })
		}
	}
	m.write(0, func(ctx context.Context) masterEvent {
		return &operationEnded{o, unpinned, end.Forget, certain(ctx, func() error { return m.d.jobs.EndOperation(ctx, m.id, end) })}
	})
}

// forgettable are the operations that ended long ago, beyond those that are kept.
func (m *JobMaster) forgettable() []string {
	var ended []*operation
	for _, o := range m.operations() {
		if o.phase == opEnded {
			ended = append(ended, o)
		}
	}
	slices.SortStableFunc(ended, func(a, b *operation) int { return cmp.Compare(a.rec.EndedAtMs, b.rec.EndedAtMs) })
	var ids []string
	for i := 0; i < len(ended)-keptOperations+1; i++ {
		if ended[i].rec.State == metapb.Operation_STATE_FAILED && ended[i].rec.Kind == metapb.Operation_KIND_STOP {
			continue // says that its checkpoint is to be kept
		}
		ids = append(ids, ended[i].rec.TriggerId)
	}
	return ids
}

type operationEnded struct {
	o        *operation
	unpinned coordinator.Unpinned
	forget   []string
	err      error
}

func (e *operationEnded) apply(m *JobMaster) {
	o := e.o
	o.phase = opEnded
	if e.err != nil {
		m.log.Warn("the end of an operation is not on record", "kind", operationName(o.rec.Kind), "trigger", o.rec.TriggerId, "cause", e.err)
		m.fenced(e.err)
		m.maybeCleaned()
		return
	}
	for _, id := range e.forget {
		delete(m.ops, id)
	}
	m.log.Info("operation ended", "kind", operationName(o.rec.Kind), "trigger", o.rec.TriggerId, "state", o.rec.State.String(), "location", o.rec.Location)
	m.recordOperations()
	if o.record != nil {
		m.state.Record = o.record
	}
	if e.unpinned.ID != 0 {
		m.forCoord(e.unpinned)
	}
	if o.intent != nil {
		m.state.Intent = o.intent
		m.forGraph(execgraph.CancelJob{})
	}
	m.maybeCleaned()
}

// recordOperations brings what is known of the records up to date.
func (m *JobMaster) recordOperations() {
	m.state.Operations = nil
	for _, o := range m.operations() {
		m.state.Operations = append(m.state.Operations, o.rec)
	}
}

// busy reports whether an operation still goes on.
func (m *JobMaster) busy() bool {
	for _, o := range m.ops {
		if o.phase != opEnded {
			return true
		}
	}
	return false
}

var operationNames = map[metapb.Operation_Kind]string{
	metapb.Operation_KIND_CHECKPOINT: "checkpoint", metapb.Operation_KIND_SAVEPOINT: "savepoint", metapb.Operation_KIND_STOP: "stop",
	metapb.Operation_KIND_CANCEL: "cancel with savepoint", metapb.Operation_KIND_RESCALE: "rescale",
}

func operationName(k metapb.Operation_Kind) string { return operationNames[k] }

// ---- how an operation goes, for people ----

// operationLook asks how an operation goes; the answer is nil if there is none of that
// id. Without an answer the channel is closed.
type operationLook struct {
	trigger string
	reply   chan<- *api.Operation
}

func (e *operationLook) abandon() { close(e.reply) }

func (e *operationLook) apply(m *JobMaster) {
	o := m.ops[e.trigger]
	if o == nil {
		e.reply <- nil
		return
	}
	if o.phase == opEnded {
		e.reply <- operationView(o.rec)
		return
	}
	e.reply <- api.InProgress(m.progress(o))
}

func (m *JobMaster) progress(o *operation) api.OperationProgress {
	switch {
	case o.phase == opCopying:
		return api.OperationProgress{Phase: api.PhaseCopy, Bytes: o.pointer.StateBytes}
	case o.phase == opFinishing:
		return api.OperationProgress{Phase: api.PhaseStop}
	case o.rec.Kind == metapb.Operation_KIND_RESCALE && o.phase == opTaking && m.rescaling:
		return api.OperationProgress{Phase: api.PhaseDeploy}
	}
	p := api.OperationProgress{Phase: api.PhaseCheckpoint}
	if n, of, ok := m.coord.Progress(o.rec.TriggerId); ok {
		p.Acked, p.Subtasks = n, of
	}
	return p
}

// operationView is what the record of an ended operation says.
func operationView(rec *metapb.Operation) *api.Operation {
	if rec.State == metapb.Operation_STATE_FAILED {
		return api.FailedOperation(api.NewError(api.ErrConflict, rec.Code, rec.Failure))
	}
	return api.Completed(api.OperationResult{Location: rec.Location, CheckpointID: rec.CheckpointId})
}
