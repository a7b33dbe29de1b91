package operations

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// OwnRescale is the trigger id of the checkpoint before a rescale that nobody asked for; no
// client can choose it.
const OwnRescale = ":scale-up"

// step is one call of Step.
type step struct {
	*Core
	now     time.Time
	effects []Effect
}

// Step takes in what happened at now and appends to effects what is to be done.
func (c *Core) Step(now time.Time, event Event, effects []Effect) []Effect { //lint:step
	s := &step{c, now, effects}
	switch e := event.(type) {
	case Loaded:
		s.load(e)
	case Requested:
		s.request(e)
	case Recorded:
		s.recorded(e)
	case Taken:
		s.taken(e)
	case Refused:
		s.refused(e)
	case Copied:
		s.copied(e)
	case RescaleReady:
		s.rescaleReady(e.Own)
	case RescaleFailed:
		if o := s.rescaling(); o != nil {
			s.fail(o, Failure{Code: e.Code, Reason: e.Reason})
		}
	case Rescaled:
		if o := s.rescaling(); !e.Own && o != nil {
			s.end(o, metapb.Operation_STATE_COMPLETED)
		}
	case Disposed:
		s.disposed(e)
	case JobEnding:
		s.ending = e.State
	case JobEnded:
		s.jobEnded(e.State)
	case EndRecorded:
		s.endRecorded(e)
	default:
		panic(fmt.Sprintf("weir: BUG: operations get unknown event %T", event))
	}
	return s.effects
}

func (s *step) do(e Effect) { s.effects = append(s.effects, e) }

// in is the operation of that id, if it is in phase p.
func (s *step) in(p Phase, trigger string) *operation {
	if o := s.byTrigger[trigger]; o != nil && o.phase == p {
		return o
	}
	return nil
}

// ---- the beginning ----

func (s *step) request(e Requested) {
	trigger := e.Operation.TriggerId
	if o := s.byTrigger[trigger]; o != nil {
		switch {
		case o.rec.Kind != e.Operation.Kind:
			s.do(Answer{e.Request, fmt.Errorf("%w: the trigger id %s is that of a %s", ErrRunning, trigger, Name(o.rec.Kind))})
		case o.phase == Recording: // the same request again
			o.asked = append(o.asked, e.Request)
		default:
			s.do(Answer{e.Request, nil})
		}
		return
	}
	if err := s.refuses(e); err != nil {
		s.do(Answer{e.Request, err})
		return
	}
	o := &operation{rec: proto.CloneOf(e.Operation), phase: Recording, asked: []uint64{e.Request}}
	o.rec.State, o.rec.RequestedAtMs = metapb.Operation_STATE_IN_PROGRESS, s.now.UnixMilli()
	s.byTrigger[trigger] = o
	s.do(Record{proto.CloneOf(o.rec)})
}

// refuses says why an operation can't be begun now, or nil.
func (s *step) refuses(e Requested) error {
	if e.JobState != "" {
		return s.endedAs(e.JobState)
	}
	if s.ending != "" {
		return s.endedAs(s.ending)
	}
	for _, o := range s.all() {
		if o.phase == Ended {
			continue
		}
		last := o.rec.Kind == metapb.Operation_KIND_STOP || o.rec.Kind == metapb.Operation_KIND_CANCEL
		if last || o.rec.Kind == e.Operation.Kind && o.rec.Kind == metapb.Operation_KIND_RESCALE {
			return fmt.Errorf("%w: a %s of %s (%s)", ErrRunning, Name(o.rec.Kind), s.whose, o.rec.TriggerId)
		}
	}
	return nil
}

func (s *step) endedAs(state string) error {
	return fmt.Errorf("%w: %s is %s", ErrEnded, s.whose, state)
}

func (s *step) recorded(e Recorded) {
	o := s.in(Recording, e.Trigger)
	if o == nil {
		return
	}
	if e.Problem != nil {
		delete(s.byTrigger, e.Trigger)
	} else {
		o.enter(Waiting)
	}
	for _, request := range o.asked {
		s.do(Answer{request, e.Problem})
	}
	o.asked = nil
	if e.Problem == nil && s.loaded { // else it is begun when the job is taken over
		s.begin(o)
	}
}

// begin carries an operation out that is on record.
func (s *step) begin(o *operation) {
	if s.result != "" && o.rec.Kind != metapb.Operation_KIND_DISPOSAL {
		s.fail(o, Failure{Code: "JOB_ENDED", Reason: "the job is " + s.result})
		return
	}
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
		o.enter(Preparing)
		s.do(Rescale{proto.CloneOf(o.rec)})
		return
	case metapb.Operation_KIND_DISPOSAL:
		o.enter(Deleting)
		s.do(Dispose{Trigger: o.rec.TriggerId, Path: o.rec.Target, Again: o.resumed})
		return
	default:
		s.fail(o, Failure{Code: "UNKNOWN_OPERATION", Reason: fmt.Sprintf("this version of weir does not know operations of kind %d", o.rec.Kind)})
		return
	}
	o.enter(Taking)
	s.do(TakeCheckpoint{w})
}

// load goes on with the operations that an earlier leader has begun.
func (s *step) load(e Loaded) {
	s.loaded, s.result, s.ending = true, e.Result, e.Result
	for _, o := range s.all() {
		at := slices.IndexFunc(e.Pointers, func(p *metapb.CheckpointPointer) bool { return slices.Contains(p.Pins, o.rec.TriggerId) })
		switch {
		case o.phase == Ended && at >= 0: // a stop without a copy
			s.do(Unpin{coordinator.Unpinned{ID: stream.CheckpointID(e.Pointers[at].CheckpointId), TriggerID: o.rec.TriggerId, Keep: true}})
		case o.phase != Waiting:
		case at >= 0:
			s.copy(o, e.Pointers[at])
		default:
			s.begin(o)
		}
	}
}

// ---- checkpoint and copy ----

func (s *step) taken(e Taken) {
	if e.Trigger == OwnRescale {
		s.do(RescaleNow{})
		return
	}
	o := s.in(Taking, e.Trigger)
	switch {
	case o == nil:
	case o.rec.Kind == metapb.Operation_KIND_RESCALE:
		s.deploy(o)
	case o.rec.Kind == metapb.Operation_KIND_CHECKPOINT:
		o.rec.CheckpointId, o.rec.Location, o.rec.Bytes = e.Pointer.CheckpointId, e.Pointer.Path, e.Pointer.StateBytes
		s.end(o, metapb.Operation_STATE_COMPLETED)
	default:
		s.copy(o, e.Pointer)
	}
}

func (s *step) refused(e Refused) {
	if e.Trigger == OwnRescale { // it restarts from an older one
		s.do(RescaleNow{})
		return
	}
	o := s.in(Taking, e.Trigger)
	switch {
	case o == nil:
	case o.rec.Kind == metapb.Operation_KIND_RESCALE: // it restarts from an older one
		s.deploy(o)
	default:
		s.fail(o, Failure{Code: "CHECKPOINT_FAILED", Reason: e.Reason})
	}
}

// copy makes the savepoint of an operation out of the checkpoint that is pinned for it.
func (s *step) copy(o *operation, p *metapb.CheckpointPointer) {
	o.enter(Copying)
	o.pointer = p
	o.rec.CheckpointId = p.CheckpointId
	s.do(Copy{Trigger: o.rec.TriggerId, From: p.Path, To: o.rec.Target, Type: o.rec.Type})
}

func (s *step) copied(e Copied) {
	o := s.in(Copying, e.Trigger)
	if o == nil {
		return
	}
	if e.Problem != "" {
		f := Failure{Code: "SAVEPOINT_FAILED", Reason: fmt.Sprintf("write savepoint %s: %s", o.rec.Target, e.Problem)}
		if o.rec.Kind == metapb.Operation_KIND_STOP {
			f.Reason += fmt.Sprintf("; the job has stopped, and its state is kept in %s", o.pointer.Path)
		}
		s.fail(o, f)
		return
	}
	o.rec.Location, o.rec.Bytes = o.rec.Target, e.Bytes
	switch {
	case o.rec.Kind == metapb.Operation_KIND_STOP && s.result == "":
		o.enter(Finishing)
		return
	case o.rec.Kind == metapb.Operation_KIND_CANCEL && s.ending == "":
		o.intent = &metapb.Intent{Kind: metapb.Intent_KIND_CANCEL, TriggerId: o.rec.TriggerId, RequestedAtMs: s.now.UnixMilli()}
	}
	s.end(o, metapb.Operation_STATE_COMPLETED)
}

// ---- rescale ----

// rescaling is the rescale under way, or nil.
func (s *step) rescaling() *operation {
	for _, o := range s.all() {
		if o.rec.Kind == metapb.Operation_KIND_RESCALE && (o.phase == Preparing || o.phase == Taking || o.phase == Deploying) {
			return o
		}
	}
	return nil
}

// rescaleReady takes a checkpoint, so that little is done twice.
func (s *step) rescaleReady(own bool) {
	trigger := OwnRescale
	if o := s.rescaling(); !own && o != nil && o.phase == Preparing {
		o.enter(Taking)
		trigger = o.rec.TriggerId
	}
	s.do(TakeCheckpoint{coordinator.CheckpointWanted{TriggerID: trigger, Kind: stream.CheckpointBarrier}})
}

// deploy: the checkpoint is taken, or there will be none.
func (s *step) deploy(o *operation) {
	o.enter(Deploying)
	s.do(RescaleNow{})
}

// ---- disposal ----

func (s *step) disposed(e Disposed) {
	switch o := s.in(Deleting, e.Trigger); {
	case o == nil:
	case e.Failure != nil:
		s.fail(o, *e.Failure)
	default:
		s.end(o, metapb.Operation_STATE_COMPLETED)
	}
}

// ---- the end ----

// jobEnded ends what waited for the job's result.
func (s *step) jobEnded(state string) {
	s.ending, s.result = state, state
	for _, o := range s.all() {
		switch {
		case o.phase == Finishing:
			s.end(o, metapb.Operation_STATE_COMPLETED)
		case o == s.rescaling():
			s.fail(o, Failure{Code: "JOB_ENDED", Reason: "the job is " + state})
		}
	}
}

func (s *step) fail(o *operation, f Failure) {
	o.rec.Code, o.rec.Failure, o.rec.FailureKind, o.rec.Hints = f.Code, f.Reason, f.Kind, f.Hints
	s.end(o, metapb.Operation_STATE_FAILED)
}

// end puts the end of an operation on record, and lets its checkpoint go.
func (s *step) end(o *operation, state metapb.Operation_State) {
	forget := s.forgettable()
	o.enter(Ending)
	o.rec.State, o.rec.EndedAtMs = state, s.now.UnixMilli()
	o.forget, o.kept = forget, keepsState(o.rec)
	end := End{
		Operation: proto.CloneOf(o.rec), Intent: o.intent, Forget: forget,
		Rescaled: o.rec.Kind == metapb.Operation_KIND_RESCALE && state == metapb.Operation_STATE_COMPLETED,
	}
	if o.pointer != nil && !o.kept { // else the pin says so to the next leader
		end.Pointer = proto.CloneOf(o.pointer)
		end.Pointer.Pins = s.Pins(o.pointer)
	}
	s.do(end)
}

func (s *step) endRecorded(e EndRecorded) {
	o := s.in(Ending, e.Trigger)
	if o == nil {
		return
	}
	o.enter(Ended)
	if e.Problem != nil {
		return // the next leader goes on with it
	}
	for _, id := range o.forget {
		delete(s.byTrigger, id)
	}
	if o.pointer != nil {
		s.do(Unpin{coordinator.Unpinned{ID: stream.CheckpointID(o.pointer.CheckpointId), TriggerID: e.Trigger, Keep: o.kept}})
	}
	if o.intent != nil {
		s.do(CancelJob{o.intent})
	}
}
