package execgraph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/job"
)

// step is one call of Step.
type step struct {
	*Graph
	now     time.Time
	effects []Effect
}

// Step takes in what happened at now and appends to effects what is to be done.
func (g *Graph) Step(now time.Time, e Event, effects []Effect) []Effect { //lint:step
	s := &step{g, now, effects}
	g.steps++
	switch e := e.(type) {
	case Schedule:
		if g.state == Created {
			s.schedule()
		}
	case Adopt:
		if g.state == Reconciling {
			s.adopt(e)
		}
	case SlotsGranted:
		s.slotsGranted(e)
	case TaskManagerLost:
		s.taskManagerLost(e)
	case WorkerStarted:
		s.workerStarted(e)
	case WorkerExited:
		if w := g.workers[e.TaskManager]; w != nil && w.ID == e.ID {
			s.workerKilled(e)
			s.workerGone(w, e.Reason, e.UserError)
		}
	case SnapshotReady:
		s.snapshotReady(e)
	case IncarnationPersisted:
		s.incarnationPersisted(e)
	case Status:
		s.status(e)
	case CancelJob:
		if !g.state.Terminal() && g.state != Cancelling && g.state != Reconciling && !g.asked { // else it is too late
			s.state(Cancelling)
			s.stopAll("the job is being cancelled")
		}
	case FailRegions:
		s.fail(slices.Clone(g.regions), Failure{Time: now, Cause: e.Reason}, false)
	case ResultPersisted:
		s.resultPersisted(e)
	case Rescale:
		s.rescale(e.Graph)
	case RescaleNow:
		s.rescaleNow()
	case Tick:
	default:
		panic(fmt.Sprintf("weir: BUG: execgraph event %T", e))
	}
	s.advance()
	s.setTimer()
	return s.effects
}

func (s *step) do(e Effect) { s.effects = append(s.effects, e) }

func (s *step) state(to JobState) {
	if !slices.Contains(jobEdges[s.Graph.state], to) {
		panic(fmt.Sprintf("weir: BUG: job goes from %v to %v (I6)", s.Graph.state, to))
	}
	if s.Graph.state.String() != to.String() {
		s.do(StateChanged{s.Graph.state, to})
	}
	s.Graph.state, s.stateSince = to, s.now
}

// active reports whether regions are to be started.
func (s *step) active() bool {
	return s.Graph.state == Starting || s.Graph.state == Running || s.Graph.state == Restarting
}

// schedule begins the life of the job, or goes on with it.
func (s *step) schedule() {
	s.state(Starting)
}

// ---- slots and workers ----

func (s *step) slotsGranted(e SlotsGranted) {
	if e.Number != s.standing {
		return
	}
	for i, tm := range e.TaskManagers {
		switch spare := i - len(s.slots); {
		case spare < 0 && s.slots[i].TaskManager == "":
			s.slots[i].TaskManager = tm
		case spare >= 0 && spare < len(s.change.spare):
			s.change.spare[spare].TaskManager = tm
		}
	}
	s.free = e.Free
}

func (s *step) missingSlots() bool { return slices.Contains(s.slots, Slot{}) }

func (s *step) have() []string {
	var have []string
	for _, sl := range append(slices.Clone(s.slots), s.change.spare...) {
		have = append(have, sl.TaskManager)
	}
	return have
}

// taskManagers are those where the job has slots, each with how many, in order.
func (s *step) taskManagers() ([]string, map[string]int) {
	count := s.Slots()
	return slices.Sorted(maps.Keys(count)), count
}

func (s *step) taskManagerLost(e TaskManagerLost) {
	lost := false
	for _, slots := range [][]Slot{s.slots, s.change.spare} {
		for i := range slots {
			if slots[i].TaskManager == e.TaskManager {
				slots[i] = Slot{}
				lost = true
			}
		}
	}
	if w := s.workers[e.TaskManager]; w != nil {
		s.workerGone(w, fmt.Sprintf("TaskManager %s is lost: %s", e.TaskManager, e.Reason), false)
	}
	if lost {
		s.standing = 0
	}
}

func (s *step) workerStarted(e WorkerStarted) {
	w := s.workers[e.TaskManager]
	if w == nil || w.ID != e.ID {
		// Its command was on the way when the TaskManager was lost and came back.
		s.do(StopWorker{TaskManager: e.TaskManager, ID: e.ID, Reason: "the job does not need this worker any more"})
		return
	}
	w.Ready, w.Data, w.Unix, w.Host, w.Machine, w.PID, w.HostPID = true, e.Data, e.Unix, e.Host, e.Machine, e.PID, e.HostPID
}

// workerKilled tells of a worker that its agent had to kill because subtasks of it
// did not return from user code.
func (s *step) workerKilled(e WorkerExited) {
	if len(e.Stuck) == 0 {
		return
	}
	f := Failure{Time: s.now, TaskManager: e.TaskManager, Cause: e.Reason}
	if len(e.Stuck) == 1 {
		f.Subtask = &e.Stuck[0]
	}
	s.do(WorkerKilled{f})
	if s.Graph.state == Cancelling {
		s.failure = f // stands in the job's result: it is CANCELED nevertheless
	}
}

// workerGone: nothing that ran in w lives any more (I32: other regions go on).
func (s *step) workerGone(w *Worker, reason string, userError bool) {
	delete(s.workers, w.TaskManager)
	var hit []*region
	var gone []job.SubtaskID
	for _, r := range s.regions {
		touched := r.phase == regionIdle && s.active() && s.isFor(r, w.TaskManager)
		for _, x := range s.of(r) {
			if x.State.Live() && x.TaskManager == w.TaskManager {
				s.execution(x, TaskFailed)
				gone, touched = append(gone, x.Subtask), true
			}
		}
		if touched {
			hit = append(hit, r)
		}
	}
	if len(hit) == 0 {
		return
	}
	for _, r := range hit {
		r.lost = true
	}
	f := Failure{Time: s.now, TaskManager: w.TaskManager, Cause: reason}
	if len(gone) == 1 {
		f.Subtask = &gone[0]
	}
	s.fail(hit, f, userError)
	for _, r := range hit {
		s.maybeDown(r)
	}
}

// isFor reports whether r has a slot on a TaskManager.
func (s *step) isFor(r *region, taskManager string) bool {
	for _, x := range s.of(r) {
		if s.slots[x.Subtask.Index].TaskManager == taskManager {
			return true
		}
	}
	return false
}

func (s *step) ensureWorkers() (ready bool) {
	names, count := s.taskManagers()
	ready = true
	for _, tm := range names {
		w := s.workers[tm]
		if w == nil {
			s.startWorker(tm, count[tm])
			ready = false
			continue
		}
		ready = ready && w.Ready
	}
	return ready
}

func (s *step) startWorker(tm string, slots int) {
	s.nextWorker++
	s.workers[tm] = &Worker{TaskManager: tm, ID: s.nextWorker}
	s.do(StartWorker{TaskManager: tm, ID: s.nextWorker, Slots: slots})
}

// ---- deployment rounds ----

// advance starts what can be started.
func (s *step) advance() {
	for _, r := range s.regions {
		switch {
		case r.phase == regionBackoff && s.active() && !s.now.Before(r.until):
			r.to(regionIdle)
			r.lost, r.fatal, r.cause = false, false, Failure{}
		case r.phase == regionStopping && !r.stopBy.IsZero() && !s.now.Before(r.stopBy):
			s.stopStuck(r)
		}
	}
	if !s.active() {
		return
	}
	s.advanceSlots()
	s.advanceRescale()
	if s.change.phase == rescaleStopping {
		return
	}
	if s.round != roundNone || s.missingSlots() || !s.active() {
		return
	}
	var idle []*region
	for _, r := range s.regions {
		if r.phase == regionIdle {
			idle = append(idle, r)
		}
	}
	if len(idle) == 0 || !s.ensureWorkers() {
		return
	}
	// One region at a time: a worker tells them apart by their incarnations, and a
	// cancel must not end what belongs to another (I32).
	s.round, s.roundRegions = roundRestoring, idle[:1]
	s.restores++
	s.do(RestoreSnapshot{s.restores})
}

// advanceSlots asks for what is missing, and after a while makes do with less.
func (s *step) advanceSlots() {
	if !s.missingSlots() {
		s.slotsSince = time.Time{}
		return
	}
	if s.slotsSince.IsZero() {
		s.slotsSince = s.now
	}
	waited := s.now.Sub(s.slotsSince)
	if waited >= s.cfg.SlotTimeout {
		s.giveUp(Failure{Time: s.now, Cause: fmt.Sprintf(
			"the job needs %d slots and got %d in %v; start TaskManagers, or run it with -p %d", len(s.slots), s.free, waited, max(1, s.free))})
		return
	}
	if waited >= s.cfg.SlotWait {
		s.shrink()
	}
	if s.standing == 0 && s.missingSlots() {
		s.requestSlots()
	}
}

func (s *step) requestSlots() {
	s.requests++
	s.standing = s.requests
	have := s.have()
	s.do(RequestSlots{Number: s.requests, N: len(have), Have: have, Wanted: s.wanted.Slots()})
}

// shrink lowers the parallelism that the program left open to the slots that there
// are: a job starts with fewer slots rather than not at all. Only while nothing of
// it lives.
func (s *step) shrink() {
	if !s.down() || s.free < 1 || s.free >= len(s.slots) || s.round != roundNone {
		return
	}
	g := s.limited(s.free)
	if g == nil {
		return
	}
	slices.SortStableFunc(s.slots, func(a, b Slot) int { // those granted come first
		switch {
		case a.TaskManager != "" && b.TaskManager == "":
			return -1
		case a.TaskManager == "" && b.TaskManager != "":
			return 1
		}
		return 0
	})
	s.setGraph(g)
	s.requestSlots() // also when nothing is missing now: the earlier request must not go on
	s.releaseWorkers()
}

func (s *step) snapshotReady(e SnapshotReady) {
	if s.round != roundRestoring || e.Number != s.restores {
		return
	}
	if !s.roundHolds() {
		return
	}
	if e.Problem != "" {
		s.round, s.roundRegions = roundNone, nil
		cause, detail, _ := strings.Cut(e.Problem, "\n")
		s.giveUp(Failure{Time: s.now, Cause: cause, Detail: detail})
		return
	}
	s.round = roundPersisting
	s.incarnation++
	s.attempt++
	regions := s.deployments()
	for _, r := range s.roundRegions {
		if (r.deployed || s.resumed) && !r.planned {
			s.restarts++
		}
		regions[r.index].Incarnation, regions[r.index].Attempt = s.incarnation, s.present()
	}
	s.do(PersistIncarnation{Number: s.incarnation, Attempt: s.present(), Restarts: s.restarts, Regions: regions, Slots: s.have()[:len(s.slots)]})
}

func (s *step) present() job.Attempt { return job.Attempt{Epoch: s.cfg.Epoch, N: s.attempt} }

// roundHolds reports whether the regions of the round can still be deployed; if
// not the round is over, and advance begins another when they can.
func (s *step) roundHolds() bool {
	ok := s.active() && !s.missingSlots()
	for _, r := range s.roundRegions {
		ok = ok && r.phase == regionIdle
	}
	names, _ := s.taskManagers()
	for _, tm := range names {
		w := s.workers[tm]
		ok = ok && w != nil && w.Ready
	}
	if !ok {
		s.round, s.roundRegions = roundNone, nil
	}
	return ok
}

func (s *step) incarnationPersisted(e IncarnationPersisted) {
	if s.round != roundPersisting || e.Number != s.incarnation || !s.roundHolds() {
		return // of a round that was given up; or this one is, now
	}
	regions := s.roundRegions
	s.round, s.roundRegions = roundNone, nil
	if e.Problem != "" {
		s.fail(regions, Failure{Time: s.now, Cause: "record the deployment: " + e.Problem}, false)
		return
	}
	if s.Graph.state == Starting {
		s.state(Running)
	}
	d := Deploy{Incarnation: s.incarnation, Attempt: s.present()}
	for _, r := range regions {
		r.deployed, r.planned = true, false
		r.to(regionDeploying)
		for _, x := range s.of(r) {
			tm := s.slots[x.Subtask.Index].TaskManager
			w := s.workers[tm]
			x.Attempt, x.Incarnation, x.TaskManager, x.Worker = d.Attempt, d.Incarnation, tm, w.ID
			x.Host, x.PID, x.HostPID = w.Host, w.PID, w.HostPID
			s.execution(x, Deploying)
			d.Executions = append(d.Executions, *x)
		}
	}
	s.do(d)
}

func (s *step) execution(x *Execution, to ExecutionState) { x.State, x.Since = to, s.now }

// ---- what subtasks say ----

func (s *step) status(e Status) {
	x := s.executions[e.Subtask]
	if x == nil || x.Attempt != e.Attempt || x.Incarnation != e.Incarnation || !x.State.Live() {
		return // of an attempt that no longer counts (I2)
	}
	r := s.regionOf(e.Subtask.Vertex)
	switch e.State {
	case Initializing, TaskRunning:
		if x.State == Canceling || x.State == e.State {
			return
		}
		s.execution(x, e.State)
		if e.State == TaskRunning {
			s.do(AttemptRunning{*x})
			s.maybeRunning(r)
		}
	case TaskFinished:
		s.execution(x, TaskFinished)
		s.maybeDown(r)
	case TaskCanceled:
		s.execution(x, TaskCanceled)
		if r.phase != regionStopping {
			s.fail([]*region{r}, s.failureOf(x, e, "the attempt was cancelled by its worker"), false)
		}
		s.maybeDown(r)
	case TaskFailed:
		s.execution(x, TaskFailed)
		if r.phase != regionStopping {
			s.fail([]*region{r}, s.failureOf(x, e, e.Failure), e.Fatal)
		}
		s.maybeDown(r)
	}
}

func (s *step) failureOf(x *Execution, e Status, cause string) Failure {
	sub := x.Subtask
	return Failure{Time: s.now, Subtask: &sub, UID: e.UID, TaskManager: x.TaskManager, Cause: cause, Detail: e.Detail}
}

func (s *step) maybeRunning(r *region) {
	if r.phase != regionDeploying {
		return
	}
	for _, x := range s.of(r) {
		if x.State != TaskRunning && x.State != TaskFinished {
			return
		}
	}
	r.to(regionRunning)
	for _, r := range s.regions {
		if r.phase != regionRunning {
			return
		}
	}
	if s.Graph.state == Restarting {
		s.state(Running)
	}
	s.runningSince = s.now
	s.rescaled()
}

func (s *step) setTimer() {
	var at time.Time
	earliest := func(t time.Time) {
		if t.After(s.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, r := range s.regions {
		if r.phase == regionStopping && !r.stopBy.IsZero() {
			earliest(r.stopBy)
		}
	}
	if s.active() {
		for _, r := range s.regions {
			if r.phase == regionBackoff {
				earliest(r.until)
			}
		}
		if !s.slotsSince.IsZero() {
			earliest(s.slotsSince.Add(s.cfg.SlotWait))
			earliest(s.slotsSince.Add(s.cfg.SlotTimeout))
		}
		switch {
		case s.change.phase == rescalePreparing:
			earliest(s.change.since.Add(s.cfg.SlotWait))
		case s.change.phase == rescaleNone && min(s.free, s.wanted.Slots()) > len(s.slots):
			earliest(s.growAt())
		}
	}
	if !at.Equal(s.timer) {
		s.timer = at
		s.do(SetTimer{at})
	}
}
