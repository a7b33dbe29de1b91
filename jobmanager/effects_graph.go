package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/history"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
)

// doGraph carries out an effect of the execution graph.
func (m *JobMaster) doGraph(f execgraph.Effect) { //lint:step
	switch f := f.(type) {
	case execgraph.RequestSlots:
		_ = m.d.loop.Post(&slotsWanted{m.id, f.Number, f.N, f.Have, f.Wanted}) // a closed loop ends this one too
	case execgraph.ReleaseSlots:
		_ = m.d.loop.Post(&slotsReleased{m.id})
	case execgraph.StartWorker:
		m.d.command(f.TaskManager, &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_StartWorker{StartWorker: &weirpb.StartWorker{
			JobId: string(m.id), WorkerId: f.ID, BinarySha256: m.record.BinarySha256, Args: m.plan.Args, Params: m.plan.Params,
			Config: m.settings.Effective, Slots: uint32(f.Slots), JobName: m.record.Name, PlanSha256: planSum(m.plan), Plan: m.plan,
		}}})
	case execgraph.StopWorker:
		m.d.command(f.TaskManager, &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_StopWorker{StopWorker: &weirpb.StopWorker{
			JobId: string(m.id), WorkerId: f.ID, Reason: f.Reason, GraceMs: uint32(f.Grace / time.Millisecond),
		}}})
	case execgraph.RestoreSnapshot:
		m.restoreAsked = f.Number
		m.forCoord(coordinator.RestoreWanted{Unusable: m.unusable})
	case execgraph.PersistIncarnation:
		m.persistIncarnation(f)
	case execgraph.Deploy:
		m.deploy(f)
	case execgraph.Adopted:
		m.adopted(f)
	case execgraph.CancelAttempts:
		m.toSubtasks(f.TaskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Cancel{Cancel: &weirpb.CancelAttempts{
			Incarnation: uint64(f.Incarnation), Attempt: attemptPB(f.Attempt), Reason: f.Reason, GraceMs: uint32(f.Grace / time.Millisecond),
		}}})
	case execgraph.AttemptRunning:
		m.forCoord(coordinator.SubtaskRunning{Execution: coordExecution(f.Execution)})
	case execgraph.AttemptsLost:
		m.unconfirm(f.Executions)
		m.forCoord(coordinator.AttemptsLost{Executions: coordExecutions(f.Executions), Reason: f.Reason})
	case execgraph.StateChanged:
		m.log.Info("job state", "from", f.From.String(), "to", f.To.String())
	case execgraph.RegionFailed:
		m.failed(f)
		if tell := m.d.manager.cfg.RegionFailed; tell != nil {
			tell(m.id, f)
		}
		m.log.Warn("region failed", "cause", f.Failure.Cause, "uid", f.Failure.UID, "taskmanager", f.Failure.TaskManager, "restart_in", f.Delay, "given_up", f.GivenUp)
	case execgraph.WorkerKilled:
		m.failed(execgraph.RegionFailed{Failure: f.Failure})
		m.log.Warn("a cancel was ignored", "cause", f.Failure.Cause, "taskmanager", f.Failure.TaskManager)
	case execgraph.SetTimer:
		if m.gTimer != nil {
			m.gTimer.Stop()
			m.gTimer = nil
		}
		if !f.At.IsZero() {
			m.gTimer = m.loop.After(f.At.Sub(m.loop.Now()), &toGraph{execgraph.Tick{}})
		}
	case execgraph.RescaleReady:
		m.operate(operations.RescaleReady{Own: f.Own})
	case execgraph.RescaleFailed:
		m.operate(operations.RescaleFailed{Code: "NO_SLOTS", Reason: f.Reason})
	case execgraph.Rescaled:
		m.operate(operations.Rescaled{Own: f.Own})
	case execgraph.JobTerminal:
		m.persistResult(&metapb.JobResult{State: f.State.String(), Failure: history.Cause(f.Failure)})
	default:
		panic(fmt.Sprintf("weir: BUG: effect %T of the execution graph", f))
	}
}

// failed tells of a failure, and puts it on record: the next leader tells of it too.
func (m *JobMaster) failed(f execgraph.RegionFailed) {
	m.history.Fail(f, m.graph.Job())
	all := m.history.Failures()
	m.write(0, func(ctx context.Context) masterEvent {
		return &failuresWritten{all, certain(ctx, func() error { return m.d.jobs.PutFailures(ctx, m.id, all) })}
	})
}

type failuresWritten struct {
	all []*metapb.FailureRecord
	err error
}

func (e *failuresWritten) apply(m *JobMaster) {
	switch {
	case e.err == nil:
		m.state.Failures = e.all
	case !errors.Is(e.err, ha.ErrConflict): // else the job has ended, and its result says why
		m.log.Warn("a failure of the job is not on record", "cause", e.err)
		m.fenced(e.err)
	}
}

func planSum(p *metapb.Plan) []byte {
	sum := job.PlanHash(p)
	return sum[:]
}

func attemptPB(a job.Attempt) *weirpb.Attempt { return &weirpb.Attempt{Epoch: a.Epoch, N: a.N} }

func coordExecution(x execgraph.Execution) coordinator.Execution {
	return coordinator.Execution{Subtask: x.Subtask, Attempt: x.Attempt, Incarnation: x.Incarnation}
}

func coordExecutions(xs []execgraph.Execution) []coordinator.Execution {
	var out []coordinator.Execution
	for _, x := range xs {
		if x.Attempt != (job.Attempt{}) { // never deployed
			out = append(out, coordExecution(x))
		}
	}
	return out
}

// toSubtasks sends a command to the job's worker on a TaskManager.
func (m *JobMaster) toSubtasks(taskManager string, c *weirpb.ToSubtasks) {
	c.JobId = string(m.id)
	m.d.command(taskManager, &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_ToSubtasks{ToSubtasks: c}})
}

// restoreFrom takes the snapshot that the coordinator chose and divides it over
// the subtasks.
func (m *JobMaster) restoreFrom(f coordinator.RestoreFrom) {
	for _, s := range f.Skipped {
		if m.passed[s.Pointer.CheckpointId] == s.Problem {
			continue // said before
		}
		m.passed[s.Pointer.CheckpointId] = s.Problem
		m.log.Error("a damaged checkpoint is passed over; the job goes back further than it should",
			"checkpoint", s.Pointer.CheckpointId, "problem", s.Problem)
	}
	if f.Problem != "" { // every retained checkpoint is damaged: never start empty instead
		m.forGraph(execgraph.SnapshotReady{Number: m.restoreAsked, Problem: f.Problem})
		return
	}
	options := restore.Options{Folder: m.settings.CheckpointFolder(m.id)}
	if f.Metadata == nil && m.source != nil && m.source.Problem != "" {
		m.forGraph(execgraph.SnapshotReady{Number: m.restoreAsked, Problem: "the snapshot that the job was started from cannot be read: " + m.source.Problem})
		return
	}
	if f.Metadata == nil && m.source != nil { // nothing of its own yet
		f.Pointer, f.Metadata, options = m.source.Pointer(), m.source.Metadata, m.source.Options(m.record)
	}
	m.snapshot = &f
	if f.Metadata != nil && f.Metadata.NextStateId > m.stateIDs.Next {
		m.stateIDs = restore.LiveStateIDs(f.Metadata)
	}
	m.stateIDs = restore.AllocateStateIDs(m.stateIDs, m.plan)
	var err error
	if m.restored, err = restore.Plan(f.Metadata, m.graph.Job(), options); err != nil {
		m.forGraph(execgraph.SnapshotReady{Number: m.restoreAsked, Problem: err.Error()})
		return
	}
	m.forGraph(execgraph.SnapshotReady{Number: m.restoreAsked})
}

func (m *JobMaster) persistIncarnation(f execgraph.PersistIncarnation) {
	inc := &metapb.Incarnation{
		Number: uint64(f.Number), LeaderEpoch: m.d.epoch(), StateIds: m.stateIDs.IDs, NextStateId: m.stateIDs.Next,
		Taskmanagers: f.Slots, Attempt: f.Attempt.N, Secret: m.secret, Restarts: uint32(f.Restarts), StartedAtMs: m.record.SubmittedAtMs,
	}
	for _, v := range m.graph.Job().Vertices {
		inc.Vertices = append(inc.Vertices, &metapb.VertexParallelism{Vertex: uint32(v.ID), Parallelism: uint32(v.Parallelism)})
	}
	for _, r := range f.Regions {
		inc.Regions = append(inc.Regions, &metapb.RegionIncarnation{Number: uint64(r.Incarnation), LeaderEpoch: r.Attempt.Epoch, Attempt: r.Attempt.N})
	}
	if p := m.snapshot.Pointer; p != nil {
		inc.Restored = proto.CloneOf(p)
	}
	m.write(0, func(ctx context.Context) masterEvent {
		return &incarnationWritten{inc, certain(ctx, func() error { return m.d.jobs.PutIncarnation(ctx, m.id, inc) })}
	})
}

type incarnationWritten struct {
	inc *metapb.Incarnation
	err error
}

func (e *incarnationWritten) apply(m *JobMaster) {
	// Written or not, its number is never used again. That the store was away for a
	// while has been waited out: it is no failure of the job.
	problem := ""
	if e.err != nil {
		problem = e.err.Error()
		m.fenced(e.err)
	} else {
		m.state.Incarnation = e.inc
	}
	m.forGraph(execgraph.IncarnationPersisted{Number: job.Incarnation(e.inc.Number), Problem: problem})
}

// fenced ends this leader if err says that there is another.
func (m *JobMaster) fenced(err error) {
	if errors.Is(err, ha.ErrFenced) {
		_ = m.d.loop.Post(leadershipLost{}) // closed already: the same end
	}
}

// deploy sends one Deploy to each worker, with the subtasks that it is to run and
// where all the others are.
func (m *JobMaster) deploy(f execgraph.Deploy) {
	g := m.graph.Job()
	var restoredID uint64
	if m.snapshot.Pointer != nil {
		restoredID = m.snapshot.Pointer.CheckpointId
	}
	m.forCoordNow(coordinator.Deployed{
		Graph: g, Executions: coordExecutions(f.Executions), StateIDs: m.stateIDs.IDs, NextStateID: m.stateIDs.Next,
		Restored: streamID(restoredID),
	})
	base := &weirpb.Deploy{
		Incarnation: uint64(f.Incarnation), Attempt: attemptPB(f.Attempt), StateIds: m.stateIDs.IDs, Secret: m.secret,
		ClusterId: m.d.manager.cfg.ClusterID, CheckpointDir: m.settings.CheckpointFolder(m.id), RestoredCheckpoint: restoredID,
		Config:  m.settings.Effective,
		Stopped: stream.BarrierKind(m.snapshot.Pointer.GetKind()) == stream.StopBarrier && m.snapshot.Pointer.GetTerminal(),
	}
	for _, v := range g.Vertices {
		base.Parallelism = append(base.Parallelism, &metapb.VertexParallelism{Vertex: uint32(v.ID), Parallelism: uint32(v.Parallelism)})
	}
	byTM := map[string][]*weirpb.SubtaskDeployment{}
	restored := map[job.SubtaskID]restore.Subtask{}
	for _, s := range m.restored {
		restored[s.ID] = s
	}
	base.Locations, base.InlineLimit = m.locations(), coordinator.InlineLimit(m.settings.InlineThreshold, m.settings.AllInline, len(g.Subtasks()))
	for _, x := range f.Executions {
		ref := &weirpb.SubtaskRef{Vertex: uint32(x.Subtask.Vertex), Subtask: uint32(x.Subtask.Index)}
		byTM[x.TaskManager] = append(byTM[x.TaskManager], &weirpb.SubtaskDeployment{Subtask: ref, Operators: restoredPB(restored[x.Subtask])})
	}
	slots := m.graph.Slots()
	for _, tm := range slices.Sorted(maps.Keys(slots)) { // also where slots were lost to others
		m.d.command(tm, &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_WorkerSlots{WorkerSlots: &weirpb.WorkerSlots{
			JobId: string(m.id), Slots: uint32(slots[tm]),
		}}})
	}
	for _, tm := range slices.Sorted(maps.Keys(byTM)) {
		d := proto.CloneOf(base)
		d.Subtasks = byTM[tm]
		m.toSubtasks(tm, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Deploy{Deploy: d}})
	}
	if restoredID != 0 {
		m.history.Restored()
	}
	m.log.Info("deployed", "incarnation", f.Incarnation, "attempt", f.Attempt.String(), "subtasks", len(f.Executions), "restored", restoredID)
}

// locations says where every subtask of the job runs, those of other regions too.
func (m *JobMaster) locations() []*weirpb.SubtaskLocation {
	var all []*weirpb.SubtaskLocation
	for _, s := range m.graph.Job().Subtasks() {
		x, _ := m.graph.Execution(s)
		w, ok := m.graph.WorkerOn(x.TaskManager)
		if !ok {
			continue // its region is down: nobody talks to it
		}
		all = append(all, &weirpb.SubtaskLocation{
			Subtask:       &weirpb.SubtaskRef{Vertex: uint32(s.Vertex), Subtask: uint32(s.Index)},
			TaskmanagerId: x.TaskManager, WorkerId: w.ID, DataAddress: w.Data, UnixAddress: w.Unix, Machine: w.Machine,
		})
	}
	return all
}

// forCoordNow hands an event to the coordinator before anything that is waiting:
// it must know of a deployment before its first answer.
func (m *JobMaster) forCoordNow(e coordinator.Event) {
	m.todo = slices.Insert(m.todo, 0, coreEvent{coord: e})
}

func restoredPB(s restore.Subtask) []*weirpb.RestoredOperator {
	var all []*weirpb.RestoredOperator
	for _, o := range s.Operators {
		r := &weirpb.RestoredOperator{
			Uid: o.UID, OperatorStates: o.States, Ended: o.Ended == restore.EndedAll, Watermark: o.Watermark, Results: o.Results, Owned: o.Owned,
		}
		for _, k := range o.Keyed {
			r.Keyed = append(r.Keyed, &weirpb.RestoredKeyed{
				FirstGroup: uint32(k.Range.First), LastGroup: uint32(k.Range.Last), Runs: k.Runs, Schemas: k.Schemas, BasePath: k.Folder,
			})
		}
		for _, c := range o.Channels {
			r.Channels = append(r.Channels, &weirpb.RestoredChannel{
				Input: uint32(c.Input), State: c.State, BasePath: c.Folder, FirstGroup: uint32(c.Groups.First), LastGroup: uint32(c.Groups.Last),
			})
		}
		all = append(all, r)
	}
	return all
}
