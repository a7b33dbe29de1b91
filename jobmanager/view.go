package jobmanager

import (
	"github.com/weirstream/weir/client/api"
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
	if wanted, free, ok := m.graph.WantsSlots(); ok {
		j.Slots = &api.SlotsWanted{Wanted: wanted, Free: free}
	}
	j.Restarts = m.graph.Restarts()
	j.Parallelism = m.graph.Job().Slots()
	j.Vertices = history.Vertices(m.graph, m.counters)
	m.history.Fill(j, m.state.Pointers)
	for i := range j.Checkpoints.History {
		c := &j.Checkpoints.History[i]
		if n, underWay := m.coord.Acks(stream.CheckpointID(c.ID)); underWay && c.Status == api.CheckpointInProgress {
			c.Acked, c.DurationMS = n, now.Sub(c.TriggeredAt).Milliseconds()
		}
	}
	return j
}

// viewWanted asks a JobMaster for its job's view.
type viewWanted struct{ reply chan<- *api.Job }

func (e *viewWanted) apply(m *JobMaster) { e.reply <- m.view() }

func (e *viewWanted) abandon() { e.reply <- nil }
