package jobmanager

import (
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/history"
	"github.com/weirstream/weir/stream"
)

// view is what people are told of the job now. Called by the loop.
func (m *JobMaster) view() *api.Job {
	now := m.loop.Now()
	state, _ := m.graph.State()
	j := history.OfRecord(m.state, now)
	if m.state.Result == nil {
		j.State = state.String()
	}
	j.Restarts = m.graph.Restarts()
	j.Parallelism = m.graph.Job().Slots()
	for _, v := range m.graph.Job().Vertices {
		if !v.Hidden {
			j.Vertices = append(j.Vertices, m.vertexView(v))
		}
	}
	m.history.Fill(j, m.state.Pointers)
	for i := range j.Checkpoints.History {
		c := &j.Checkpoints.History[i]
		if n, underWay := m.coord.Acks(stream.CheckpointID(c.ID)); underWay && c.Status == api.CheckpointInProgress {
			c.Acked, c.DurationMS = n, now.Sub(c.TriggeredAt).Milliseconds()
		}
	}
	return j
}

func (m *JobMaster) vertexView(v job.Vertex) api.Vertex {
	g := m.graph.Job()
	out := api.Vertex{ID: int(v.ID), UID: g.VertexUID(v.ID), Name: g.VertexName(v.ID), Parallelism: v.Parallelism}
	for i := range v.Parallelism {
		x, _ := m.graph.Execution(job.SubtaskID{Vertex: v.ID, Index: i})
		s := api.Subtask{
			Index: i, State: x.State.String(), Since: x.Since, TaskManagerID: x.TaskManager,
			Host: x.Host, WorkerPID: int(x.PID), TaskManagerPID: int(x.HostPID),
		}
		if x.Attempt != (job.Attempt{}) {
			s.Attempt = x.Attempt.String()
		}
		out.Subtasks = append(out.Subtasks, s)
	}
	out.State = api.StateOf(out.Subtasks)
	return out
}

// viewWanted asks a JobMaster for its job's view.
type viewWanted struct{ reply chan<- *api.Job }

func (e *viewWanted) apply(m *JobMaster) { e.reply <- m.view() }

func (e *viewWanted) abandon() { e.reply <- nil }
