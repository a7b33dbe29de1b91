package jobmanager

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

func streamID(id uint64) stream.CheckpointID { return stream.CheckpointID(id) }

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

// doCoord carries out an effect of the coordinator.
func (m *JobMaster) doCoord(f coordinator.Effect) { //lint:step
	switch f := f.(type) {
	case coordinator.ReserveIDs:
		m.write(f.After, func(ctx context.Context) masterEvent {
			o, _ := outcomeOf(m.d.jobs.ReserveCheckpointIDs(ctx, m.id, f.UpTo))
			return &toCoord{coordinator.IDsReserved{UpTo: f.UpTo, Outcome: o}}
		})
	case coordinator.Trigger:
		m.trigger(f)
	case coordinator.Abort:
		m.abort(f)
	case coordinator.WriteMetadata:
		m.loop.Go("write metadata", func(ctx context.Context) masterEvent { return m.writeMetadata(ctx, f) })
	case coordinator.CommitPointer:
		f.Pointer.Path = m.settings.CheckpointFolder(m.id) + "/" + f.ID.String()
		stats := m.history.Statistics(f.Pointer)
		m.write(0, func(ctx context.Context) masterEvent {
			o, problem := outcomeOf(m.d.jobs.PutPointer(ctx, m.id, f.Pointer, stats))
			return &pointerCommitted{f.Pointer, stats, coordinator.PointerCommitted{ID: f.ID, Outcome: o, Problem: problem}}
		})
	case coordinator.ReadPointer:
		m.write(f.After, func(ctx context.Context) masterEvent { return m.readPointer(ctx, f.ID) })
	case coordinator.NotifyCompleted:
		m.notify(f)
	case coordinator.DeletePointers:
		m.write(f.After, func(ctx context.Context) masterEvent {
			o, _ := outcomeOf(m.d.jobs.DeletePointers(ctx, m.id, f.IDs...))
			return &pointersDeleted{coordinator.PointersDeleted{IDs: f.IDs, Outcome: o}}
		})
	case coordinator.DeleteObjects:
		m.loop.Go("delete objects", func(ctx context.Context) masterEvent {
			o := coordinator.OK
			if err := m.store.Delete(ctx, f.Names...); err != nil {
				o = coordinator.Failed
			}
			return &toCoord{coordinator.ObjectsDeleted{Names: f.Names, Outcome: o}}
		})
	case coordinator.ListObjects:
		m.loop.Go("list objects", func(ctx context.Context) masterEvent {
			names, err := m.listFolder(ctx)
			o, _ := outcomeOf(err)
			return &toCoord{coordinator.ObjectsListed{Names: names, Outcome: o}}
		})
	case coordinator.RestoreFrom:
		m.restoreFrom(f)
	case coordinator.SetTimer:
		if m.cTimer != nil {
			m.cTimer.Stop()
			m.cTimer = nil
		}
		if !f.At.IsZero() {
			m.cTimer = m.loop.After(f.At.Sub(m.loop.Now()), &toCoord{coordinator.Tick{}})
		}
	case coordinator.FailJob:
		m.forGraph(execgraph.FailRegions{Reason: f.Reason})
	case coordinator.Finished:
		m.finished(f)
	case coordinator.CheckpointTaken:
		m.operate(operations.Taken{Trigger: f.TriggerID, Pointer: f.Pointer})
	case coordinator.Refused:
		m.operate(operations.Refused{Trigger: f.TriggerID, Reason: f.Reason})
	case coordinator.Pinned, coordinator.PinRefused:
		m.doPin(f)
	case coordinator.DrainSources:
		m.drain(f)
	case coordinator.SourceReleased:
		m.releaseSource()
	case coordinator.LeadershipLost:
		_ = m.d.loop.Post(leadershipLost{}) // closed already: the same end
	case coordinator.CleanedUp:
		m.cleanedUp = &f
		m.maybeCleaned()
	case coordinator.Record:
		m.history.Record(f.Info)
		m.log.Info("checkpoint", "event", f.Info.String())
	default:
		panic(fmt.Sprintf("weir: BUG: effect %T of the coordinator", f))
	}
}

// destination is where commands for some executions go: one message for each
// worker and incarnation.
type destination struct {
	taskManager string
	incarnation job.Incarnation
}

// destinations groups executions by worker, in order of first appearance.
func (m *JobMaster) destinations(xs []coordinator.Execution) (order []destination, subtasks map[destination][]*weirpb.SubtaskRef) {
	subtasks = map[destination][]*weirpb.SubtaskRef{}
	for _, x := range xs {
		e, ok := m.graph.Execution(x.Subtask)
		if !ok || e.Attempt != x.Attempt {
			continue // replaced since
		}
		k := destination{e.TaskManager, x.Incarnation}
		if subtasks[k] == nil {
			order = append(order, k)
		}
		subtasks[k] = append(subtasks[k], &weirpb.SubtaskRef{Vertex: uint32(x.Subtask.Vertex), Subtask: uint32(x.Subtask.Index)})
	}
	return order, subtasks
}

func (m *JobMaster) trigger(f coordinator.Trigger) {
	order, subtasks := m.destinations(f.Roots)
	for _, k := range order {
		m.toSubtasks(k.taskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Trigger{Trigger: &weirpb.TriggerCheckpoint{
			CheckpointId: uint64(f.Barrier.ID), Kind: uint32(f.Barrier.Kind), Incarnation: uint64(k.incarnation), Subtasks: subtasks[k],
			Unaligned: f.Barrier.Unaligned, AlignmentTimeoutMs: uint32(f.Barrier.AlignmentTimeout / time.Millisecond),
		}}})
	}
}

func (m *JobMaster) drain(f coordinator.DrainSources) {
	order, subtasks := m.destinations(f.To)
	for _, k := range order {
		m.toSubtasks(k.taskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Drain{Drain: &weirpb.DrainSources{
			Incarnation: uint64(k.incarnation), Subtasks: subtasks[k],
		}}})
	}
}

func (m *JobMaster) abort(f coordinator.Abort) {
	order, _ := m.destinations(f.To)
	for _, k := range order {
		m.toSubtasks(k.taskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Aborted{Aborted: &weirpb.CheckpointAborted{
			CheckpointId: uint64(f.Last), FirstId: uint64(f.First), Incarnation: uint64(k.incarnation), Reason: f.Reason,
		}}})
	}
}

func (m *JobMaster) notify(f coordinator.NotifyCompleted) {
	var xs []coordinator.Execution
	keep := map[destination][]string{}
	for _, t := range f.To {
		xs = append(xs, t.Execution)
		if e, ok := m.graph.Execution(t.Subtask); ok {
			k := destination{e.TaskManager, t.Incarnation}
			keep[k] = append(keep[k], t.KeepRuns...)
		}
	}
	order, _ := m.destinations(xs)
	for _, k := range order {
		m.toSubtasks(k.taskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Completed{Completed: &weirpb.CheckpointCompleted{
			CheckpointId: uint64(f.ID), Incarnation: uint64(k.incarnation), Terminal: f.Terminal, KeepRuns: keep[k],
		}}})
	}
}

// writeMetadata makes _metadata durable. The name is written once: a checkpoint id
// is never used again, so an object that is there is the one of an earlier try.
func (m *JobMaster) writeMetadata(ctx context.Context, f coordinator.WriteMetadata) masterEvent {
	answer := coordinator.MetadataWritten{ID: f.ID, Outcome: coordinator.OK}
	file, err := metadata.Encode(f.Metadata)
	if err != nil {
		answer.Outcome, answer.Problem = coordinator.Failed, err.Error()
		return &toCoord{answer}
	}
	sum := sha256.Sum256(file)
	answer.Size, answer.Digest = uint64(len(file)), sum[:]
	switch err := objstore.Put(ctx, m.store, f.Object, bytes.NewReader(file)); {
	case err == nil:
	case errors.Is(err, objstore.ErrUnknown):
		answer.Outcome, answer.Problem = coordinator.Unknown, err.Error()
	default:
		answer.Outcome, answer.Problem = coordinator.Failed, err.Error()
	}
	return &toCoord{answer}
}

func (m *JobMaster) readPointer(ctx context.Context, id stream.CheckpointID) masterEvent {
	answer := coordinator.PointerRead{ID: id}
	s, err := m.d.jobs.Get(ctx, m.id)
	answer.Outcome, _ = outcomeOf(err)
	if err == nil {
		for _, p := range s.Pointers {
			answer.Found = answer.Found || p.CheckpointId == uint64(id)
		}
	}
	return &toCoord{answer}
}

type pointerCommitted struct {
	p     *metapb.CheckpointPointer
	stats *metapb.CheckpointStatistics
	e     coordinator.PointerCommitted
}

func (e *pointerCommitted) apply(m *JobMaster) {
	if e.e.Outcome == coordinator.OK {
		m.state.Pointers = append(m.state.Pointers, e.p)
		m.state.Statistics = e.stats
	}
	m.forCoord(e.e)
}

type pointersDeleted struct{ e coordinator.PointersDeleted }

func (e *pointersDeleted) apply(m *JobMaster) {
	if e.e.Outcome == coordinator.OK {
		m.state.Pointers = slices.DeleteFunc(slices.Clone(m.state.Pointers), func(p *metapb.CheckpointPointer) bool {
			return slices.Contains(e.e.IDs, streamID(p.CheckpointId))
		})
	}
	m.forCoord(e.e)
}

// ---- the end of a job ----

// finished: the terminal checkpoint has been committed by everybody.
func (m *JobMaster) finished(f coordinator.Finished) {
	if f.Problem != "" {
		m.log.Error("results of the job cannot be merged", "cause", f.Problem)
	}
	took := m.loop.Now().Sub(time.UnixMilli(m.record.SubmittedAtMs))
	m.persistResult(&metapb.JobResult{
		State: execgraph.Finished.String(), Results: f.Results, ClosingLine: job.ClosingLine(m.plan, f.Results, took), Failure: f.Problem,
	})
}

// resultRetry is the pause before a result without a certain outcome is written
// again. The transaction can't apply twice: terminal is absorbing (I6).
const resultRetry = 200 * time.Millisecond

// persistResult puts the terminal truth on record; nothing is cleaned up before. The
// first one counts: FINISHED stays FINISHED although the job is cancelled, or a
// process is lost, while it is being written.
func (m *JobMaster) persistResult(r *metapb.JobResult) {
	if m.ending != "" {
		return
	}
	m.ending = r.State
	m.operate(operations.JobEnding{State: r.State})
	now := m.loop.Now()
	r.EndedAtMs = now.UnixMilli()
	r.DurationMs = r.EndedAtMs - m.record.SubmittedAtMs
	r.Restarts = uint32(m.graph.Restarts())
	m.writeResult(r, 0)
}

func (m *JobMaster) writeResult(r *metapb.JobResult, after time.Duration) {
	m.write(after, func(ctx context.Context) masterEvent {
		err := m.d.jobs.PutResult(ctx, m.id, r)
		if errors.Is(err, ha.ErrConflict) { // an earlier try was applied after all
			s, gerr := m.d.jobs.Get(ctx, m.id)
			if gerr == nil && s.Result != nil {
				r, err = s.Result, nil
			}
		}
		return &resultWritten{r, err}
	})
}

type resultWritten struct {
	r   *metapb.JobResult
	err error
}

func (e *resultWritten) apply(m *JobMaster) {
	switch {
	case errors.Is(e.err, ha.ErrFenced):
		m.fenced(e.err)
	case e.err != nil:
		m.log.Warn("the job's result is not on record yet", "state", e.r.State, "cause", e.err)
		m.writeResult(e.r, resultRetry)
	default:
		m.state.Result, m.ending = e.r, e.r.State
		m.operate(operations.JobEnded{State: e.r.State})
		m.log.Info("job ended", "state", e.r.State, "duration_ms", e.r.DurationMs, "closing_line", e.r.ClosingLine)
		m.forCoord(coordinator.JobEnded{State: e.r.State})
		m.forGraph(execgraph.ResultPersisted{State: terminalStates[e.r.State]})
	}
}

var terminalStates = map[string]execgraph.JobState{
	"FINISHED": execgraph.Finished, "FAILED": execgraph.Failed, "CANCELED": execgraph.Canceled,
}

// maybeCleaned ends the job's life here once its checkpoints are gone, as far as they
// were to go, and the end of every operation is on record.
func (m *JobMaster) maybeCleaned() {
	f := m.cleanedUp
	if f == nil || m.ops.Busy() {
		return
	}
	m.cleanedUp = nil
	r, rec := proto.CloneOf(m.state.Result), m.record
	r.Cleaned = true
	m.loop.Go("clean up", func(ctx context.Context) masterEvent {
		var err error
		if f.Folder {
			err = errors.Join(m.removeFolder(ctx), snapshots.DeleteClaimed(ctx, rec))
		}
		if s, ok := m.store.(interface{ RemoveFolder() error }); ok && err == nil {
			err = s.RemoveFolder()
		}
		return &cleaned{errors.Join(err, m.d.jobs.UpdateResult(ctx, m.id, r))}
	})
}

// removeFolder deletes everything below the job's checkpoint folder: attempts that
// were killed leave objects that nobody lists.
func (m *JobMaster) removeFolder(ctx context.Context) error {
	names, err := m.listFolder(ctx)
	if err != nil {
		return err
	}
	return m.store.Delete(ctx, names...)
}

func (m *JobMaster) listFolder(ctx context.Context) (names []string, err error) {
	for o, err := range m.store.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list checkpoint folder of job %s: %w", m.id, err)
		}
		names = append(names, o.Name)
	}
	return names, nil
}

type cleaned struct{ err error }

func (e *cleaned) apply(m *JobMaster) {
	if e.err != nil {
		m.log.Warn("clean-up of the ended job is not complete", "cause", e.err)
		m.fenced(e.err)
	}
	_ = m.d.loop.Post(&masterEnded{m, m.state, m.view()}) // closed: the next leader finds the result
	m.loop.Close()
}
