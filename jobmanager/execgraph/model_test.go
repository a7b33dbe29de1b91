package execgraph

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/slots"
	"github.com/weirstream/weir/proto/metapb"
)

// model is a cluster of TaskManagers around one execution graph: messages of each
// TaskManager in order, those of different ones in any; workers and TaskManagers
// that die, subtasks that fail, transactions that fail, cancels that are ignored.
type model struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	now    time.Time
	timer  time.Time
	g      *Graph
	pool   slots.Pool
	queues [4][]func() // of the TaskManagers, and the JobManager's own
	tms    [3]*modelTM
	faults bool
	steps  int
	log    []string

	terminal JobState
	deploys  int
	cancels  int
	rescaled int
}

type modelTM struct {
	name   string
	up     bool
	life   int
	worker *modelWorker
}

type modelWorker struct {
	id   uint64
	live map[job.SubtaskID]Execution
}

const own = 3 // the JobManager's queue

func modelGraph(t *testing.T) *job.Graph {
	hash := func(from uint32) []*metapb.Input {
		return []*metapb.Input{{From: from, Distribution: metapb.Distribution_DISTRIBUTION_HASH}}
	}
	g, err := job.NewGraph(&metapb.Plan{Operators: []*metapb.Operator{
		{Uid: "a", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE},
		{Uid: "a2", Kind: metapb.OperatorKind_OPERATOR_KIND_SINK, Inputs: hash(0)},
		{Uid: "b", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE, Parallelism: 1},
	}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newModel(t *testing.T, seed uint64, restart job.RestartPolicy) *model {
	m := &model{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), faults: true}
	for i := range m.tms {
		m.tms[i] = &modelTM{name: fmt.Sprintf("tm%d", i)}
		m.join(i)
	}
	m.g = New(Config{Epoch: 1, Restart: restart, SlotTimeout: 1000 * time.Hour}, Start{Graph: modelGraph(t)})
	m.step(Schedule{})
	return m
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.log[max(0, len(m.log)-60):] {
		m.t.Log(line)
	}
	m.t.Fatalf("seed %d: %s", m.seed, fmt.Sprintf(format, args...))
}

func (m *model) join(i int) {
	m.tms[i].up = true
	m.pool.Add(m.tms[i].name, 1)
	m.grants()
}

func (m *model) index(name string) int {
	for i, tm := range m.tms {
		if tm.name == name {
			return i
		}
	}
	m.fail("no TaskManager %q", name)
	return 0
}

func (m *model) grants() {
	for _, g := range m.pool.Grants() {
		m.queues[own] = append(m.queues[own], func() { m.step(SlotsGranted{g.Number, g.TaskManagers, g.Free}) })
	}
}

// send runs do at the TaskManager, if it still lives then.
func (m *model) send(name string, do func(i int, tm *modelTM)) {
	i := m.index(name)
	life := m.tms[i].life
	m.queues[i] = append(m.queues[i], func() {
		if tm := m.tms[i]; tm.up && tm.life == life {
			do(i, tm)
		}
	})
}

// reply is an event that a TaskManager sends.
func (m *model) reply(i int, e Event) {
	life := m.tms[i].life
	m.queues[i] = append(m.queues[i], func() {
		if m.tms[i].up && m.tms[i].life == life {
			m.step(e)
		}
	})
}

func (m *model) step(e Event) {
	m.log = append(m.log, fmt.Sprintf("%v <- %T%+v", m.now.Sub(time.Unix(1000, 0)), e, e))
	before, _ := m.g.State()
	for _, effect := range m.g.Step(m.now, e, nil) {
		m.log = append(m.log, fmt.Sprintf("      -> %T%+v", effect, effect))
		m.carryOut(effect)
	}
	if after, _ := m.g.State(); before.Terminal() && after != before {
		m.fail("I6: %v was terminal and is now %v", before, after)
	}
}

func (m *model) chance(n int) bool { return m.faults && m.rng.IntN(n) == 0 }

func (m *model) carryOut(effect Effect) {
	answer := func(e Event) { m.queues[own] = append(m.queues[own], func() { m.step(e) }) }
	switch e := effect.(type) {
	case RequestSlots:
		m.pool.Request("job", e.Number, e.N, e.Have, e.Wanted)
		m.grants()
	case ReleaseSlots:
		m.pool.Release("job")
	case StartWorker:
		m.send(e.TaskManager, func(i int, tm *modelTM) {
			if m.chance(8) {
				m.reply(i, WorkerExited{TaskManager: tm.name, ID: e.ID, Reason: "did not start"})
				return
			}
			tm.worker = &modelWorker{e.ID, map[job.SubtaskID]Execution{}}
			m.reply(i, WorkerStarted{TaskManager: tm.name, ID: e.ID, Data: tm.name})
		})
	case StopWorker:
		m.send(e.TaskManager, func(i int, tm *modelTM) {
			if tm.worker != nil && tm.worker.id == e.ID {
				m.exit(i, "stopped")
			}
		})
	case RestoreSnapshot:
		answer(SnapshotReady{Number: e.Number})
	case PersistIncarnation:
		if m.chance(10) {
			answer(IncarnationPersisted{Number: e.Number, Problem: "unknown result"})
		} else {
			answer(IncarnationPersisted{Number: e.Number})
		}
	case Deploy:
		m.deploy(e)
	case CancelAttempts:
		m.cancels++
		m.send(e.TaskManager, func(i int, tm *modelTM) { m.cancel(i, e) })
	case RescaleReady: // the JobMaster takes a checkpoint
		answer(RescaleNow{})
	case Rescaled:
		m.rescaled++
		if got, want := m.g.Job().Slots(), len(m.g.slots); got != want {
			m.fail("rescaled to %d slots, the graph has %d", want, got)
		}
	case SetTimer:
		m.timer = e.At
	case JobTerminal:
		answer(ResultPersisted{e.State})
		m.terminal = e.State
	}
}

func (m *model) deploy(e Deploy) {
	m.deploys++
	for _, x := range e.Executions {
		for _, tm := range m.tms {
			if tm.worker != nil {
				if old, live := tm.worker.live[x.Subtask]; live {
					m.fail("I2: %v is deployed as %v while %v lives on %s", x.Subtask, x.Attempt, old.Attempt, tm.name)
				}
			}
		}
		m.send(x.TaskManager, func(i int, tm *modelTM) {
			if tm.worker == nil || tm.worker.id != x.Worker {
				return
			}
			tm.worker.live[x.Subtask] = x
			for _, state := range []ExecutionState{Initializing, TaskRunning} {
				if m.chance(40) {
					delete(tm.worker.live, x.Subtask)
					m.reply(i, Status{Subtask: x.Subtask, Attempt: x.Attempt, Incarnation: x.Incarnation, State: TaskFailed, Failure: "user code"})
					return
				}
				m.reply(i, Status{Subtask: x.Subtask, Attempt: x.Attempt, Incarnation: x.Incarnation, State: state})
			}
		})
	}
}

func (m *model) cancel(i int, e CancelAttempts) {
	w := m.tms[i].worker
	if w == nil {
		return
	}
	if m.chance(5) {
		m.exit(i, "killed: a cancel was ignored for 2s")
		return
	}
	for _, s := range m.g.Job().Subtasks() {
		if x, live := w.live[s]; live && x.Attempt == e.Attempt && x.Incarnation == e.Incarnation {
			delete(w.live, s)
			m.reply(i, Status{Subtask: s, Attempt: x.Attempt, Incarnation: x.Incarnation, State: TaskCanceled})
		}
	}
}

// exit ends the worker process of a TaskManager.
func (m *model) exit(i int, reason string) {
	tm := m.tms[i]
	if tm.worker == nil {
		return
	}
	id := tm.worker.id
	tm.worker = nil
	m.reply(i, WorkerExited{TaskManager: tm.name, ID: id, Reason: reason})
}

func (m *model) fault() {
	i := m.rng.IntN(len(m.tms))
	tm := m.tms[i]
	switch m.rng.IntN(8) {
	case 6, 7:
		p := make([]*metapb.VertexParallelism, len(m.g.graph.Vertices))
		for v := range p {
			p[v] = &metapb.VertexParallelism{Vertex: uint32(v), Parallelism: uint32(1 + m.rng.IntN(3))}
		}
		g, err := job.NewGraphOf(m.g.graph.Plan, p)
		if err != nil {
			m.t.Fatal(err)
		}
		m.step(Rescale{g})
	case 0, 1:
		m.exit(i, "signal: killed")
	case 2:
		if !tm.up {
			m.join(i)
			return
		}
		tm.up, tm.worker = false, nil
		tm.life++
		m.pool.Remove(tm.name)
		m.queues[own] = append(m.queues[own], func() { m.step(TaskManagerLost{tm.name, "connection closed"}) })
		m.grants()
	case 3:
		if w := tm.worker; w != nil {
			for _, s := range m.g.Job().Subtasks() {
				if x, live := w.live[s]; live {
					delete(w.live, s)
					m.reply(i, Status{Subtask: s, Attempt: x.Attempt, Incarnation: x.Incarnation, State: TaskFailed, Failure: "user code"})
					return
				}
			}
		}
	case 4:
		m.step(FailRegions{"too many checkpoints failed"})
	case 5: // something of long ago
		switch s := m.g.Job().Subtasks()[m.rng.IntN(len(m.g.Job().Subtasks()))]; m.rng.IntN(4) {
		case 0:
			m.step(Status{Subtask: s, Attempt: job.Attempt{Epoch: 1}, State: TaskFailed, Fatal: true})
		case 1:
			m.step(WorkerExited{TaskManager: tm.name, ID: 0, Reason: "stale", UserError: true})
		case 2:
			m.step(SlotsGranted{Number: 0, TaskManagers: []string{tm.name, tm.name}})
		case 3:
			m.step(WorkerStarted{TaskManager: tm.name, ID: 0})
		}
	}
}

// turn delivers one message, or lets time pass to the timer; false: nothing to do.
func (m *model) turn() bool {
	m.steps++
	var ready []int
	for i, q := range m.queues {
		if len(q) > 0 {
			ready = append(ready, i)
		}
	}
	if len(ready) == 0 {
		if m.timer.IsZero() {
			return false
		}
		if m.faults && m.timer.Sub(m.now) > time.Hour {
			return true // the next fault comes before the job gives up for lack of slots
		}
		m.now, m.timer = m.timer, time.Time{}
		m.step(Tick{})
		return true
	}
	i := ready[m.rng.IntN(len(ready))]
	do := m.queues[i][0]
	m.queues[i] = m.queues[i][1:]
	m.now = m.now.Add(time.Duration(m.rng.IntN(50)) * time.Millisecond)
	do()
	return true
}

func (m *model) allRunning() bool {
	for _, s := range m.g.Job().Subtasks() {
		if x, _ := m.g.Execution(s); x.State != TaskRunning {
			return false
		}
	}
	return true
}

// play lets faults happen, heals, and checks that the job runs.
func (m *model) play() {
	for range 60 + m.rng.IntN(200) {
		if m.rng.IntN(12) == 0 {
			m.fault()
		}
		m.turn()
	}
	m.faults = false
	for i, tm := range m.tms {
		if !tm.up {
			m.join(i)
		}
	}
	for !m.allRunning() || m.g.change.phase != rescaleNone {
		if !m.turn() {
			m.fail("nothing happens and the job does not run; it is %v", m.g.state)
		}
		if m.steps > 5000 {
			m.fail("the job does not run after %d steps", m.steps)
		}
	}
	for _, q := range m.queues {
		for len(q) > 0 { // the last words, so that both sides know the same
			m.turn()
			q = m.queues[own]
		}
	}
	if !m.allRunning() || m.g.change.phase != rescaleNone {
		return // a message that was still on its way has failed it, or slots have come
	}
	for _, g := range m.pool.Grants() {
		m.fail("the pool has something to tell although nothing changed: %+v", g)
	}
	if free, want := m.pool.Free(), 3-len(m.g.slots); free != want {
		m.fail("%d slots are free, want %d: the pool and the job believe something else", free, want)
	}
	for i, tm := range m.tms {
		has := 0
		for _, s := range m.g.slots {
			if s.TaskManager == tm.name {
				has++
			}
		}
		if free := m.pool.FreeOn(tm.name); free != 1-has {
			m.fail("%d slots are free on %s, where the job believes to have %d (slots %v)", free, m.tms[i].name, has, m.g.slots)
		}
	}
	if m.g.state != Running {
		m.fail("everything runs and the job is %v", m.g.state)
	}
	for _, s := range m.g.Job().Subtasks() {
		x, _ := m.g.Execution(s)
		w := m.tms[m.index(x.TaskManager)].worker
		// A worker may have died so recently that nobody knows.
		if w != nil && w.id == x.Worker && w.live[s].Attempt != x.Attempt {
			m.fail("%v is taken to run as %v, the worker has %+v", s, x.Attempt, w.live[s])
		}
	}
}

func TestModel(t *testing.T) {
	policy := job.DefaultRestart
	deploys, cancels, rescaled := 0, 0, 0
	for seed := range uint64(1000) {
		m := newModel(t, seed, policy)
		m.play()
		for _, tm := range m.tms {
			if tm.worker == nil {
				continue
			}
			for s, x := range tm.worker.live {
				if now, _ := m.g.Execution(s); now.Attempt != x.Attempt {
					m.fail("I2: %v of %v lives beside %v", s, x.Attempt, now.Attempt)
				}
			}
		}
		deploys, cancels, rescaled = deploys+m.deploys, cancels+m.cancels, rescaled+m.rescaled
		m.step(CancelJob{})
		for m.g.state != Canceled {
			if !m.turn() || m.steps > 6000 {
				m.fail("the job is not cancelled but %v", m.g.state)
			}
		}
		if free := m.pool.Free(); free != 3 {
			m.fail("%d of 3 slots are free at the end", free)
		}
	}
	if deploys < 3000 || cancels < 1000 || rescaled < 500 {
		t.Errorf("only %d deployments, %d cancels and %d rescales", deploys, cancels, rescaled)
	}
}

// TestModelCancel: whatever is under way, a cancelled job ends, once, and holds no
// slot; faults go on for a while.
func TestModelCancel(t *testing.T) {
	for seed := range uint64(1000) {
		m := newModel(t, seed, job.DefaultRestart)
		at := m.rng.IntN(150)
		for i := range 200 {
			if i == at {
				m.step(CancelJob{})
			}
			if m.rng.IntN(12) == 0 {
				m.fault()
			}
			m.turn()
		}
		m.faults = false
		for i, tm := range m.tms {
			if !tm.up {
				m.join(i)
			}
		}
		for m.turn() && m.steps < 5000 {
		}
		if m.g.state != Canceled || m.terminal != Canceled {
			m.fail("the job was cancelled, its result is %v and it is %v", m.terminal, m.g.state)
		}
		if free := m.pool.Free(); free != 3 {
			m.fail("%d of 3 slots are free at the end", free)
		}
		for _, tm := range m.tms {
			if tm.worker != nil {
				m.fail("worker %d still runs on %s", tm.worker.id, tm.name)
			}
		}
	}
}

// TestModelGivesUp: without restarts the first failure ends the job, once.
func TestModelGivesUp(t *testing.T) {
	for seed := range uint64(200) {
		m := newModel(t, seed, job.RestartPolicy{Kind: job.NoRestart})
		m.faults = false
		for !m.allRunning() {
			m.turn()
		}
		m.exit(0, "signal: killed")
		m.exit(1, "signal: killed")
		m.exit(2, "signal: killed")
		for m.g.state != Failed {
			if !m.turn() || m.steps > 2000 {
				m.fail("the job is not failed but %v", m.g.state)
			}
		}
		for m.turn() && m.steps < 3000 {
		}
		if m.terminal != Failed || m.g.state != Failed {
			m.fail("the job ended %v and is %v", m.terminal, m.g.state)
		}
	}
}

// TestOtherRegionGoesOn is I32: the loss of a worker restarts only the regions that
// it ran.
func TestOtherRegionGoesOn(t *testing.T) {
	m := newModel(t, 1, job.DefaultRestart)
	m.faults = false
	for !m.allRunning() {
		m.turn()
	}
	b := job.SubtaskID{Vertex: 2}
	before, _ := m.g.Execution(b)
	a1, _ := m.g.Execution(job.SubtaskID{Vertex: 0, Index: 1})
	if a1.TaskManager == before.TaskManager {
		t.Fatal("both slots are on one TaskManager")
	}
	m.exit(m.index(a1.TaskManager), "signal: killed")
	m.turn()
	for !m.allRunning() {
		m.turn()
		if x, _ := m.g.Execution(b); x != before {
			m.fail("I32: %v was %+v and is %+v", b, before, x)
		}
	}
	if a, _ := m.g.Execution(job.SubtaskID{}); a.Incarnation <= before.Incarnation {
		t.Errorf("region a still runs incarnation %d", a.Incarnation)
	}
}
