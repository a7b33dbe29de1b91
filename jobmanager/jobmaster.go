package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/internal/loop"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/adoption"
	"github.com/weirstream/weir/jobmanager/drift"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/history"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/session"
	"github.com/weirstream/weir/jobmanager/settings"
	"github.com/weirstream/weir/jobmanager/slots"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// JobMaster runs one job under one leader.
type JobMaster struct {
	// Immutable after newJobMaster.
	d        *Dispatcher
	id       job.ID
	accepted *metapb.JobRecord
	plan     *metapb.Plan
	settings settings.Job
	store    objstore.Store // the job's checkpoint folder
	log      *slog.Logger
	loop     *loop.Loop[masterEvent]
	secret   string
	workers  uint64        // ids of the job's workers lie above it
	over     chan struct{} // closed by the dispatcher when the job has ended

	// Owned by the loop.
	state        *ha.JobState      // as read at the start, and as written since
	record       *metapb.JobRecord // what was accepted, and changed since
	graph        *execgraph.Graph
	coord        *coordinator.Coordinator
	todo         []coreEvent // events for the cores, in order
	writes       []write     // to etcd, one at a time
	writing      bool
	gTimer       *loop.Timer
	cTimer       *loop.Timer
	stateIDs     restore.StateIDs
	snapshot     *coordinator.RestoreFrom // what the next deployment starts from
	restoreAsked uint64                   // number of the last RestoreSnapshot
	unusable     []coordinator.Damage     // found by subtasks
	passed       map[uint64]string        // damaged checkpoints passed over, and why, as last said
	restored     []restore.Subtask
	takeover     takeoverPhase
	adoption     *adoption.Core      // of what runs; nil: the job was never deployed, or has ended
	facts        []coordinator.Event // that subtasks have told of before they were adopted
	confirming   confirming
	ending       string         // terminal state that is being put on record; "" = none
	problem      string         // why the checkpoints can't be read, as last said
	pieces       session.Pieces // large acks on their way
	history      history.History
	counters     map[job.SubtaskID]*weirpb.Counters
	drift        drift.Watch
	ops          *operations.Core
	asked        requests            // for operations
	copies       map[string]*copying // of savepoints under way, by trigger id
	pins         pinRequests
	source       *snapshots.Source // snapshot that the job was started from; nil = none, or not needed
	// Its checkpoints are cleaned up; what is left waits for operations. nil: not yet.
	cleanedUp *coordinator.CleanedUp
}

// masterEvent is what a JobMaster's loop takes in.
type masterEvent interface{ apply(*JobMaster) }

// coreEvent is an event for one of the two cores.
type coreEvent struct {
	graph execgraph.Event   // or
	coord coordinator.Event // this
}

// write is a transaction; its result comes back as an event.
type write struct {
	after   time.Duration
	run     func(ctx context.Context) masterEvent
	abandon func() // if it does not run: answers whoever waits; may be nil
}

func newJobMaster(d *Dispatcher, s *ha.JobState, seq uint64) (*JobMaster, error) {
	plan, err := d.manager.loadPlan(s.Record)
	if err != nil {
		return nil, err
	}
	chosen, err := settings.OfRecord(s.Record)
	if err != nil {
		return nil, err
	}
	if r := s.Result; r != nil && terminalStates[r.State] == 0 {
		return nil, fmt.Errorf("its result is %q, which is no terminal state here", r.State)
	}
	id := job.ID(s.Record.JobId)
	store, err := d.manager.stores(chosen.CheckpointFolder(id))
	if err != nil {
		return nil, fmt.Errorf("checkpoint folder of job %s: %w", id, err)
	}
	m := &JobMaster{
		d: d, id: id, record: s.Record, accepted: s.Record, plan: plan, settings: chosen, store: store, state: s,
		log: d.log.With("job", string(id), "name", s.Record.Name), secret: randomHex(16),
		workers: d.epoch()<<40 | seq<<20, over: make(chan struct{}), counters: map[job.SubtaskID]*weirpb.Counters{}, passed: map[uint64]string{},
		ops: operations.New("job "+string(id), keptOperations, s.Operations), copies: map[string]*copying{}, pins: pinRequests{},
	}
	m.history.Load(s)
	m.ending = s.Result.GetState() // an earlier leader left the clean-up undone
	g, err := settings.Graph(plan, chosen.Parallelism, s.Record)
	if err != nil {
		return nil, err
	}
	start := execgraph.Start{Graph: g}
	if inc := s.Incarnation; inc != nil {
		if start.Deployed, err = job.NewGraphOf(plan, inc.Vertices); err != nil {
			return nil, err
		}
		start.Incarnation, start.Attempt, start.Restarts = job.Incarnation(inc.Number), inc.Attempt, int(inc.Restarts)
		m.stateIDs = restore.StateIDs{IDs: inc.StateIds, Next: inc.NextStateId}
	}
	m.graph = execgraph.New(execgraph.Config{
		Epoch: d.epoch(), WorkerIDs: m.workers, Restart: chosen.Restart, SlotWait: chosen.SlotWait,
	}, start)
	if inc := s.Incarnation; inc != nil && s.Result == nil {
		m.adoption = adoption.New(adoption.RecordOf(m.graph.Regions(), inc), time.Now().Add(d.manager.cfg.AdoptionTimeout))
	}
	m.coord = coordinator.New(chosen.CheckpointOf(plan), coordinator.Identity{
		ClusterID: d.manager.cfg.ClusterID, JobID: id, JobName: s.Record.Name, Epoch: d.epoch(), PlanSHA256: s.Record.PlanSha256,
	})
	m.loop = loop.New(loop.Options[masterEvent]{Name: "jobmaster " + string(id), Drop: dropMasterEvent})
	return m, nil
}

func dropMasterEvent(e masterEvent) {
	if a, ok := e.(interface{ abandon() }); ok {
		a.abandon()
	}
}

func (m *JobMaster) post(e masterEvent) {
	if m.loop.Post(e) != nil {
		dropMasterEvent(e)
	}
}

// run is the JobMaster's life: until the job has ended and is cleaned up, or the
// leadership ends.
func (m *JobMaster) run(ctx context.Context) {
	m.startLoad()
	m.loop.Run(ctx, func(e masterEvent) {
		e.apply(m)
		m.settle()
	})
	for _, w := range m.writes {
		if w.abandon != nil {
			w.abandon()
		}
	}
	m.asked.abandon()
	m.pins.abandon()
}

func (m *JobMaster) forGraph(e execgraph.Event)   { m.todo = append(m.todo, coreEvent{graph: e}) }
func (m *JobMaster) forCoord(e coordinator.Event) { m.todo = append(m.todo, coreEvent{coord: e}) }

// settle feeds the cores until nothing is left to do now. Effects are carried out
// in order; what they lead to comes after everything that is already waiting.
func (m *JobMaster) settle() {
	for len(m.todo) > 0 {
		e := m.todo[0]
		m.todo = m.todo[1:]
		now := m.loop.Now()
		if e.graph != nil {
			for _, f := range m.graph.Step(now, e.graph, nil) {
				m.doGraph(f)
			}
			continue
		}
		for _, f := range m.coord.Step(now, e.coord, nil) {
			m.doCoord(f)
		}
	}
}

// ---- writes to etcd, in order ----

func (m *JobMaster) write(after time.Duration, run func(ctx context.Context) masterEvent) {
	m.enqueue(write{after: after, run: run})
}

func (m *JobMaster) enqueue(w write) {
	m.writes = append(m.writes, w)
	m.nextWrite()
}

func (m *JobMaster) nextWrite() {
	if m.writing || len(m.writes) == 0 {
		return
	}
	w := m.writes[0]
	m.writing = m.loop.Go("etcd", func(ctx context.Context) masterEvent {
		if w.after > 0 {
			pause(ctx, w.after)
		}
		return &written{w.run(ctx)}
	})
	if m.writing {
		m.writes = m.writes[1:]
	}
}

type written struct{ result masterEvent }

func (e *written) apply(m *JobMaster) {
	m.writing = false
	e.result.apply(m)
	m.nextWrite()
}

func (e *written) abandon() { dropMasterEvent(e.result) }

// toCoord is a result that goes to the coordinator.
type toCoord struct{ e coordinator.Event }

func (e *toCoord) apply(m *JobMaster) { m.forCoord(e.e) }

// toGraph is a result that goes to the execution graph.
type toGraph struct{ e execgraph.Event }

func (e *toGraph) apply(m *JobMaster) { m.forGraph(e.e) }

// outcomeOf sorts the result of a transaction by what may be concluded from it.
func outcomeOf(err error) (coordinator.Outcome, string) {
	switch {
	case err == nil:
		return coordinator.OK, ""
	case errors.Is(err, ha.ErrFenced):
		return coordinator.Fenced, err.Error()
	case errors.Is(err, ha.ErrUnknown), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return coordinator.Unknown, err.Error()
	}
	return coordinator.Failed, err.Error()
}

// ---- from the dispatcher ----

type slotsGranted struct{ grant slots.Grant }

func (e *slotsGranted) apply(m *JobMaster) {
	m.forGraph(execgraph.SlotsGranted{Number: e.grant.Number, TaskManagers: e.grant.TaskManagers, Free: e.grant.Free})
}

type taskManagerLost struct{ id, reason string }

func (e *taskManagerLost) apply(m *JobMaster) {
	if m.adopting() {
		m.adopt(adoption.Lost{TaskManager: e.id})
		return
	}
	m.forGraph(execgraph.TaskManagerLost{TaskManager: e.id, Reason: e.reason})
}

// cancelWanted: a client wants the job gone. The intent is on record before the
// first RPC, and the client is answered then.
type cancelWanted struct{ reply chan<- error }

func (e *cancelWanted) apply(m *JobMaster) {
	switch st, _ := m.graph.State(); {
	case m.ending == execgraph.Canceled.String(), st == execgraph.Cancelling && m.ending == "":
		e.reply <- nil
		return
	case m.ending != "":
		e.reply <- fmt.Errorf("%w: job %s is %s", ErrEnded, m.id, m.ending)
		return
	}
	in := &metapb.Intent{Kind: metapb.Intent_KIND_CANCEL, TriggerId: randomHex(16), RequestedAtMs: m.loop.Now().UnixMilli()}
	m.enqueue(write{abandon: e.abandon, run: func(ctx context.Context) masterEvent {
		// An intent that may be on record is carried out by the next leader: the client must
		// not be told that nothing happened.
		return &cancelRecorded{in, e.reply, certain(ctx, func() error { return m.d.jobs.PutIntent(ctx, m.id, in) })}
	}})
}

func (e *cancelWanted) abandon() { e.reply <- ErrNotLeader }

type cancelRecorded struct {
	in    *metapb.Intent
	reply chan<- error
	err   error
}

func (e *cancelRecorded) apply(m *JobMaster) {
	switch {
	case e.err == nil:
		m.state.Intent = e.in
		if m.takeover == takeoverOver { // else it is found when the job is taken over
			m.forGraph(execgraph.CancelJob{})
		}
	case errors.Is(e.err, ha.ErrConflict): // its result was on record first
		e.err = fmt.Errorf("%w: job %s is %s", ErrEnded, m.id, m.ending)
	default:
		m.fenced(e.err)
	}
	e.reply <- e.err
}

func (e *cancelRecorded) abandon() { e.reply <- ErrNotLeader }

// ---- from TaskManagers ----

type fromTaskManager struct {
	tm *session.TaskManager
	m  *weirpb.FromTaskManager
}

func (e *fromTaskManager) apply(m *JobMaster) {
	id := e.tm.ID()
	if x := adoption.EventOf(id, e.m); x != nil && m.adopting() {
		m.adopt(x)
	}
	switch msg := e.m.Message.(type) {
	case *weirpb.FromTaskManager_WorkerStarted:
		w := msg.WorkerStarted
		m.forGraph(execgraph.WorkerStarted{
			TaskManager: id, ID: w.WorkerId, Data: w.DataAddress, Unix: w.UnixAddress, Host: e.tm.Hello.Host, Machine: e.tm.Hello.Machine,
			PID: w.Pid, HostPID: e.tm.Hello.Pid,
		})
	case *weirpb.FromTaskManager_WorkerExited:
		w := msg.WorkerExited
		e := execgraph.WorkerExited{TaskManager: id, ID: w.WorkerId, Reason: w.Reason, UserError: w.UserError}
		for _, s := range w.Stuck {
			e.Stuck = append(e.Stuck, subtaskOf(s))
		}
		m.forGraph(e)
	case *weirpb.FromTaskManager_FromSubtasks:
		m.fromSubtasks(id, msg.FromSubtasks)
	}
}

func (m *JobMaster) fromSubtasks(taskManager string, f *weirpb.FromSubtasks) {
	inc := job.Incarnation(f.Incarnation)
	exec := func(s *weirpb.SubtaskRef, a *weirpb.Attempt) coordinator.Execution { return executionOf(s, a, inc) }
	switch e := f.Event.(type) {
	case *weirpb.FromSubtasks_Status:
		m.damaged(e.Status)
		if s, ok := statusOf(e.Status, inc); ok {
			m.forGraph(s)
		}
	case *weirpb.FromSubtasks_Ack:
		m.acked(e.Ack, inc)
	case *weirpb.FromSubtasks_AckChunk:
		if x, ok := m.graph.Execution(subtaskOf(e.AckChunk.Subtask)); !ok || x.Incarnation != inc {
			return // of an attempt that was replaced: it must not disturb the present one's
		}
		switch ack, err := m.pieces.Add(e.AckChunk); {
		case err != nil:
			m.log.Warn("ack in pieces makes no sense; the checkpoint will expire", "checkpoint", e.AckChunk.CheckpointId, "cause", err)
		case ack != nil:
			m.acked(ack, inc)
		}
	case *weirpb.FromSubtasks_Adopted:
		if e.Adopted.LeaderEpoch == m.d.epoch() {
			m.confirmed(taskManager, inc)
		}
	case *weirpb.FromSubtasks_Decline:
		m.forCoord(coordinator.Declined{ID: stream.CheckpointID(e.Decline.CheckpointId), Execution: exec(e.Decline.Subtask, e.Decline.Attempt), Reason: e.Decline.Reason})
	case *weirpb.FromSubtasks_Committed:
		m.fact(coordinator.Committed{ID: stream.CheckpointID(e.Committed.CheckpointId), Execution: exec(e.Committed.Subtask, e.Committed.Attempt)})
	case *weirpb.FromSubtasks_SourceEnded:
		m.fact(coordinator.SourceEnded{Execution: exec(e.SourceEnded.Subtask, e.SourceEnded.Attempt)})
	case *weirpb.FromSubtasks_Counters:
		m.counters[subtaskOf(e.Counters.Subtask)] = e.Counters
		for _, to := range m.drift.Look(m.counters, m.graph.Execution) {
			m.toSubtasks(to.TaskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Align{Align: to.Align}})
		}
	}
}

// damaged notes the checkpoint that an attempt could not start from.
func (m *JobMaster) damaged(s *weirpb.SubtaskStatus) {
	id := stream.CheckpointID(s.DamagedCheckpoint)
	if id == 0 || slices.ContainsFunc(m.unusable, func(d coordinator.Damage) bool { return d.ID == id }) {
		return
	}
	if m.source != nil && id == streamID(m.source.Metadata.CheckpointId) {
		m.source.Problem = s.Failure
		return
	}
	m.unusable = append(m.unusable, coordinator.Damage{ID: id, Reason: s.Failure})
}

func subtaskOf(s *weirpb.SubtaskRef) job.SubtaskID {
	return job.SubtaskID{Vertex: job.VertexID(s.GetVertex()), Index: int(s.GetSubtask())}
}

func executionOf(s *weirpb.SubtaskRef, a *weirpb.Attempt, inc job.Incarnation) coordinator.Execution {
	return coordinator.Execution{Subtask: subtaskOf(s), Attempt: attemptOf(a), Incarnation: inc}
}

func attemptOf(a *weirpb.Attempt) job.Attempt { return job.Attempt{Epoch: a.GetEpoch(), N: a.GetN()} }

var statusStates = map[weirpb.SubtaskStatus_State]execgraph.ExecutionState{
	weirpb.SubtaskStatus_STATE_INITIALIZING: execgraph.Initializing,
	weirpb.SubtaskStatus_STATE_RUNNING:      execgraph.TaskRunning,
	weirpb.SubtaskStatus_STATE_FINISHED:     execgraph.TaskFinished,
	weirpb.SubtaskStatus_STATE_CANCELED:     execgraph.TaskCanceled,
	weirpb.SubtaskStatus_STATE_FAILED:       execgraph.TaskFailed,
}

func statusOf(s *weirpb.SubtaskStatus, inc job.Incarnation) (execgraph.Status, bool) {
	state, ok := statusStates[s.State]
	return execgraph.Status{
		Subtask: subtaskOf(s.Subtask), Attempt: attemptOf(s.Attempt), Incarnation: inc, State: state,
		Failure: s.Failure, Detail: s.FailureDetail, UID: s.FailedUid, Fatal: s.Fatal,
	}, ok
}

func (m *JobMaster) acked(a *weirpb.CheckpointAck, inc job.Incarnation) {
	t := a.GetTimings()
	m.forCoord(coordinator.Acked{
		ID:        stream.CheckpointID(a.CheckpointId),
		Execution: coordinator.Execution{Subtask: subtaskOf(a.Subtask), Attempt: attemptOf(a.Attempt), Incarnation: inc},
		Operators: a.Operators, StillReads: a.StillReads, NewBytes: a.NewBytes,
		Timings: coordinator.Timings{
			StartDelay: t.GetStartDelayNs(), Alignment: t.GetAlignmentNs(), Sync: t.GetSyncNs(), Async: t.GetAsyncNs(), LongestStall: t.GetLongestStallNs(),
			Unaligned: t.GetUnaligned(), ProcessedBytes: t.GetProcessedBytes(),
		},
	})
}
