package jobmanager

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/adoption"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
)

// startLoad begins to read the _metadata of the retained checkpoints.
func (m *JobMaster) startLoad() {
	// Of a job that is not going to run, what can't be read need not be waited for.
	anyway := m.cancelled() || m.state.Result != nil
	pointers, rec := m.state.Pointers, m.record
	m.loop.Go("load", func(ctx context.Context) masterEvent { return m.load(ctx, pointers, rec, anyway) })
}

func (m *JobMaster) cancelled() bool {
	return m.state.Intent != nil && m.state.Intent.Kind == metapb.Intent_KIND_CANCEL
}

func (m *JobMaster) load(ctx context.Context, pointers []*metapb.CheckpointPointer, rec *metapb.JobRecord, anyway bool) masterEvent {
	var completed []coordinator.Completed
	for _, p := range pointers {
		c := coordinator.Completed{Pointer: p}
		meta, damaged, err := snapshots.ReadCheckpoint(ctx, m.store, p)
		if err != nil && !damaged && !anyway {
			return &notLoaded{fmt.Errorf("read checkpoint %d: %w", p.CheckpointId, err)}
		}
		if c.Metadata = meta; err != nil {
			c.Problem = err.Error()
		}
		completed = append(completed, c)
	}
	l := &loaded{completed: completed}
	if rec.RestoreFrom != "" && len(completed) == 0 && !anyway {
		src, err := snapshots.Read(ctx, rec.RestoreFrom, rec.UidMap)
		if err != nil {
			return &notLoaded{fmt.Errorf("read the snapshot to start from: %w", err)}
		}
		l.source = src
	}
	return l
}

// loadRetry is the pause before checkpoints that could not be read are read again.
const loadRetry = 2 * time.Second

// notLoaded: the checkpoints can't be read now. The job waits, visibly.
type notLoaded struct{ err error }

func (e *notLoaded) apply(m *JobMaster) {
	if said := e.err.Error(); said != m.problem {
		m.problem = said
		m.log.Error("the job cannot be taken over yet; trying again", "cause", e.err)
		m.failed(execgraph.RegionFailed{Failure: execgraph.Failure{
			Time: m.loop.Now(), Cause: "the job cannot be taken over yet: " + said,
		}})
	}
	m.loop.After(loadRetry, &loadAgain{})
}

type loadAgain struct{}

func (*loadAgain) apply(m *JobMaster) { m.startLoad() }

// loaded: what the store holds of the job is known.
type loaded struct {
	completed []coordinator.Completed
	source    *snapshots.Source // what the job starts from, if it has no checkpoint of its own
}

func (e *loaded) apply(m *JobMaster) {
	m.takeover = takeoverCollecting
	t := coordinator.TookOver{Reserved: m.state.CheckpointID, Completed: e.completed, Source: sourceState(m.record)}
	if inc := m.state.Incarnation; inc != nil {
		t.Incarnation = job.Incarnation(inc.Number)
	}
	if m.source = e.source; m.source != nil {
		// Ids go on from those of the snapshot: names of runs and of sinks' files carry
		// them, and barriers that a subtask knows already are not for it.
		t.Reserved = max(t.Reserved, streamID(m.source.Metadata.CheckpointId))
		t.Incarnation = max(t.Incarnation, job.Incarnation(m.source.Metadata.Incarnation))
		m.graph.Continue(t.Incarnation)
	}
	m.forCoord(t)
	m.lookAtPins()
	if r := m.state.Result; r != nil { // only the clean-up is left
		m.forCoord(coordinator.JobEnded{State: r.State})
		m.begin(execgraph.ResultPersisted{State: terminalStates[r.State]})
		return
	}
	terminal := false
	if last := len(e.completed) - 1; last >= 0 && e.completed[last].Pointer.Terminal {
		terminal = true
		m.log.Info("the job's terminal checkpoint is complete; only its commits are left")
	}
	if m.adoption == nil {
		m.begin(execgraph.Schedule{})
		return
	}
	m.adopt(adoption.Loaded{Terminal: terminal})
}
