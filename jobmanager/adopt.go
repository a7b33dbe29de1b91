package jobmanager

import (
	"maps"
	"slices"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/adoption"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/session"
	"github.com/weirstream/weir/proto/weirpb"
)

// takeoverPhase is how far a JobMaster is with a job that another leader has left.
//
//	reading ──the records are read──▶ collecting ──it is known what runs──▶ over
//	   └──────────── it was never deployed, or has ended ───────────────────▶ ┘
type takeoverPhase uint8

const (
	takeoverReading    takeoverPhase = iota // its checkpoints are being read
	takeoverCollecting                      // registrations are waited for
	takeoverOver                            // its graph is scheduled or adopted
)

// adopting reports whether it is still open what becomes of what runs of the job.
func (m *JobMaster) adopting() bool { return m.adoption != nil && !m.adoption.Settled() }

// adopt is one step of the adoption, and what follows from it.
func (m *JobMaster) adopt(e adoption.Event) {
	for _, f := range m.adoption.Step(m.loop.Now(), e, nil) {
		switch f := f.(type) {
		case adoption.SetTimer:
			m.loop.After(f.At.Sub(m.loop.Now()), &adoptionTick{})
		case adoption.Settled:
			m.settled(f)
		}
	}
}

type adoptionTick struct{}

func (*adoptionTick) apply(m *JobMaster) {
	if m.adopting() {
		m.adopt(adoption.Tick{})
	}
}

// taskManagerFound: a TaskManager has registered while it was open what becomes of the job.
type taskManagerFound struct{ tm *session.TaskManager }

func (e *taskManagerFound) apply(m *JobMaster) {
	r := adoption.RegisteredOf(m.id, e.tm.Hello)
	switch {
	case m.adopting():
		m.adopt(r)
	case r.Worker != nil: // it comes too late: others have taken its place, or will
		m.stopFound(adoption.Stop{TaskManager: r.TaskManager, Worker: r.Worker.ID, Reason: goesOn})
	}
}

// goesOn is why a worker is stopped that was not there when it mattered.
const goesOn = "the job goes on without this worker, or has ended"

// settled: it is known what becomes of the job. From here on it is this leader's.
func (m *JobMaster) settled(e adoption.Settled) {
	for _, s := range e.Stop {
		m.stopFound(s)
	}
	for i, v := range e.Regions {
		if !v.Adopt {
			m.log.Warn("a region is not adopted; it starts from the newest checkpoint", "region", i, "cause", v.Reason)
		}
	}
	adopted, restarted := m.adoption.Count(e)
	m.log.Info("taken over", "adopted", adopted, "restarted", restarted)
	_ = m.d.loop.Post(&takenOver{m.id, adopted, restarted}) // closed: the next leader does it all again
	m.facts = e.Facts
	m.begin(e.Graph(m.loop.Now()))
}

func (m *JobMaster) stopFound(s adoption.Stop) {
	m.d.command(s.TaskManager, &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_StopWorker{StopWorker: &weirpb.StopWorker{
		JobId: string(m.id), WorkerId: s.Worker, Reason: s.Reason,
	}}})
}

// begin sets the job going: its graph, what clients were promised, and a cancel.
func (m *JobMaster) begin(first execgraph.Event) {
	m.takeover = takeoverOver
	m.forGraph(first)
	m.operate(operations.Loaded{Pointers: m.state.Pointers, Result: m.state.Result.GetState()})
	if m.cancelled() {
		m.forGraph(execgraph.CancelJob{})
	}
}

// confirming are attempts whose workers have been told that there is a leader again. The
// coordinator hears of them when they all know: a barrier that came before would be taken
// for one of the leader that was lost.
type confirming struct {
	attempts []coordinator.Execution
	awaited  map[destination]bool
}

// adopted tells the workers which attempts go on.
func (m *JobMaster) adopted(f execgraph.Adopted) {
	xs := coordExecutions(f.Executions)
	m.confirming = confirming{xs, map[destination]bool{}}
	order, subtasks := m.destinations(xs)
	for _, k := range order {
		m.confirming.awaited[k] = true
		m.toSubtasks(k.taskManager, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Adopt{Adopt: &weirpb.Adopt{
			Incarnation: uint64(k.incarnation), LeaderEpoch: m.d.epoch(), Subtasks: subtasks[k],
		}}})
	}
	m.loop.After(m.d.manager.cfg.AdoptionTimeout, &confirmOver{})
}

// fact takes in what a subtask says once and for all.
func (m *JobMaster) fact(e coordinator.Event) {
	m.forCoord(e)
	if len(m.confirming.attempts) > 0 { // it knows nothing of the subtask yet
		m.facts = append(m.facts, e)
	}
}

// confirmed: a worker has said that its attempts know.
func (m *JobMaster) confirmed(taskManager string, inc job.Incarnation) {
	delete(m.confirming.awaited, destination{taskManager, inc})
	m.maybeConfirmed()
}

// unconfirm takes out attempts that were lost meanwhile; a region has one incarnation.
func (m *JobMaster) unconfirm(lost []execgraph.Execution) {
	c := &m.confirming
	for _, x := range lost {
		c.attempts = slices.DeleteFunc(c.attempts, func(e coordinator.Execution) bool { return e.Incarnation == x.Incarnation })
		maps.DeleteFunc(c.awaited, func(d destination, _ bool) bool { return d.incarnation == x.Incarnation })
	}
	m.maybeConfirmed()
}

// confirmOver: a worker that does not confirm must not keep the job from its checkpoints.
type confirmOver struct{}

func (*confirmOver) apply(m *JobMaster) {
	clear(m.confirming.awaited)
	m.maybeConfirmed()
}

func (m *JobMaster) maybeConfirmed() {
	c := m.confirming
	if len(c.awaited) > 0 || len(c.attempts) == 0 {
		return
	}
	m.confirming = confirming{}
	m.forCoord(coordinator.Adopted{Graph: m.graph.Job(), Executions: c.attempts, StateIDs: m.stateIDs.IDs, NextStateID: m.stateIDs.Next})
	for _, e := range m.facts {
		m.forCoord(e)
	}
	m.facts = nil
}
