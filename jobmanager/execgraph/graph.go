package execgraph

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/job"
)

// JobState is the state of a job, in Flink's words.
//
//	RECONCILING ────────────┐ all adopted   ┌──── RECONCILING, some are not
//	                        ▼               ▼
//	CREATED ─▶ (starting) ─Deploy─▶ RUNNING ◀──────────▶ RESTARTING
//	   │           │                   │  ╲                  │
//	   │           │                   │   ╲─▶ FAILING ◀─────┤
//	   │           │                   │          │          │
//	   └───────────┴───────────────────┼──▶ CANCELLING ◀─────┘
//	                                   ▼      ▼   ▼
//	                               FINISHED  FAILED  CANCELED
//
// A job that waits for its slots is still CREATED to people; one that another leader has
// deployed before begins as RECONCILING: what runs of it is being found out.
type JobState uint8

// Job states.
const (
	Created     JobState = iota + 1
	Starting             // scheduled, and never deployed
	Reconciling          // a new leader does not know yet what runs; Adopt ends it
	Running
	Restarting
	Failing
	Cancelling
	Finished
	Failed
	Canceled
)

var jobStateNames = [...]string{"?", "CREATED", "CREATED", "RECONCILING", "RUNNING", "RESTARTING", "FAILING", "CANCELLING", "FINISHED", "FAILED", "CANCELED"}

// String is Flink's name of the state.
func (s JobState) String() string { return jobStateNames[s] }

// Terminal reports whether the state is never left (I6).
func (s JobState) Terminal() bool { return s >= Finished }

// jobEdges are the transitions of a job.
var jobEdges = map[JobState][]JobState{
	Created:     {Starting, Failing, Cancelling, Finished, Failed, Canceled}, // terminal: found on record
	Reconciling: {Running, Restarting, Finished, Failed, Canceled},
	Starting:    {Running, Failing, Cancelling, Finished},
	Running:     {Restarting, Failing, Cancelling, Finished},
	Restarting:  {Running, Failing, Cancelling},
	Failing:     {Failed, Cancelling, Finished},
	Cancelling:  {Canceled, Finished},
}

// ExecutionState is the state of one attempt of a subtask, in Flink's words.
type ExecutionState uint8

// Execution states.
const (
	Waiting ExecutionState = iota + 1 // CREATED: no attempt yet, or the old one is gone
	Scheduled
	Deploying
	Initializing
	TaskRunning
	TaskFinished
	Canceling
	TaskCanceled
	TaskFailed
)

var executionStateNames = [...]string{"?", "CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING", "FINISHED", "CANCELING", "CANCELED", "FAILED"}

// String is Flink's name of the state.
func (s ExecutionState) String() string { return executionStateNames[s] }

// Live reports whether the attempt may still do something.
func (s ExecutionState) Live() bool {
	switch s {
	case Deploying, Initializing, TaskRunning, Canceling:
		return true
	}
	return false
}

// Slot is a slot of a TaskManager granted to the job. Subtask i of every vertex
// runs in slot i.
type Slot struct {
	TaskManager string // "" while the slot is wanted
}

// Execution is one subtask with its present attempt.
type Execution struct {
	Subtask     job.SubtaskID
	State       ExecutionState
	Attempt     job.Attempt
	Incarnation job.Incarnation
	TaskManager string
	Worker      uint64
	Since       time.Time // of State

	// Where Attempt runs, or ran: its worker may be gone.
	Host    string
	PID     uint32
	HostPID uint32 // of the TaskManager
}

// Worker is the job's process on one TaskManager.
type Worker struct {
	TaskManager string
	ID          uint64
	Ready       bool // its program is built and its addresses are known
	Data, Unix  string
	Host        string
	Machine     string // tells hosts apart: workers of one meet on unix sockets
	PID         uint32
	HostPID     uint32 // of the TaskManager
}

// regionPhase is where a region is.
//
//	  ┌──────────────────────── adopted ──────────┐
//	  │                                           ▼
//	idle ──round──▶ deploying ──all RUNNING──▶ running
//	  ▲                 │                         │ failure, cancel
//	  │                 └────────────┬────────────┘
//	  │                              ▼
//	  └── delay over ── backoff ◀── stopping ──▶ stopped   (failing, cancelling, finished)
type regionPhase uint8

const (
	regionIdle regionPhase = iota + 1
	regionDeploying
	regionRunning
	regionStopping
	regionBackoff
	regionStopped
)

var regionPhaseNames = [...]string{"?", "idle", "deploying", "running", "stopping", "backoff", "stopped"}

// String names the phase in transcripts.
func (p regionPhase) String() string { return regionPhaseNames[p] }

var regionEdges = map[regionPhase][]regionPhase{
	regionIdle:      {regionDeploying, regionRunning, regionStopped, regionBackoff},
	regionDeploying: {regionRunning, regionStopping, regionBackoff, regionStopped},
	regionRunning:   {regionStopping},
	regionStopping:  {regionBackoff, regionStopped},
	regionBackoff:   {regionIdle, regionStopped},
	regionStopped:   {},
}

type region struct {
	index    int
	vertices []job.VertexID
	phase    regionPhase
	until    time.Time // end of the back-off
	deployed bool      // by this leader, at least once
	stopBy   time.Time // when workers that don't answer a cancel are stopped; zero: not any more
	lost     bool      // a process was lost in the present failure
	planned  bool      // it is down for a rescale, not after a failure
	fatal    bool      // restarting will not help
	cause    Failure   // of the present failure
	failedIn uint64    // number of the step in which it failed
	failedAt time.Time
	incident int // the last one that it was part of
}

func (r *region) to(p regionPhase) {
	for _, q := range regionEdges[r.phase] {
		if p == q {
			r.phase = p
			return
		}
	}
	panic(fmt.Sprintf("weir: BUG: region %d goes from %v to %v", r.index, r.phase, p))
}

// roundPhase is where a deployment of regions is. One at a time.
//
//	none ──regions and workers ready──▶ restoring ──snapshot known──▶ persisting ──written──▶ none, Deploy
type roundPhase uint8

const (
	roundNone roundPhase = iota
	roundRestoring
	roundPersisting
)

// incident is what the restart strategy counts: one cause may take down several
// regions, each of which is down when its subtasks have returned.
type incident struct {
	number int
	step   uint64 // in which its first region failed
	at     time.Time
	lost   bool          // a process was lost
	delay  time.Duration // until the restart
}

// Failure is what went wrong, for people.
type Failure struct {
	Time        time.Time
	Subtask     *job.SubtaskID // nil: not one subtask's
	UID         string         // of the operator to blame, if known
	TaskManager string         // without Subtask: all that ran there was lost
	Cause       string         // one line
	Detail      string         // stack, or what is wrong with each of several things
}

// Config is how a job is run.
type Config struct {
	Epoch       uint64 // of this leader
	WorkerIDs   uint64 // ids of workers are above this number
	Restart     job.RestartPolicy
	CancelGrace time.Duration // after which a worker whose subtasks don't return is killed; 0 = 2 s
	SlotWait    time.Duration // after which the job starts with fewer slots; 0 = 10 s
	SlotTimeout time.Duration // after which a job without enough slots fails; 0 = 5 min
}

func (c Config) withDefaults() Config {
	if c.CancelGrace == 0 {
		c.CancelGrace = 2 * time.Second
	}
	if c.SlotWait == 0 {
		c.SlotWait = 10 * time.Second
	}
	if c.SlotTimeout == 0 {
		c.SlotTimeout = 5 * time.Minute
	}
	return c
}

// Graph is the execution graph of one job. Owned by its JobMaster.
type Graph struct {
	cfg   Config
	graph *job.Graph

	state        JobState
	stateSince   time.Time
	runningSince time.Time  // when the last of the subtasks began to run; zero: not all do
	wanted       *job.Graph // what the job is to have when there are slots
	change       rescaling
	executions   map[job.SubtaskID]*Execution
	regions      []*region
	slots        []Slot
	workers      map[string]*Worker // by TaskManager
	nextWorker   uint64
	incarnation  job.Incarnation
	attempt      uint32
	restarts     int
	resumed      bool // another leader has deployed the job before
	history      job.RestartHistory
	failure      Failure // that the job fails or failed with

	round        roundPhase
	roundRegions []*region
	slotsSince   time.Time // since when slots are missing; zero: none are
	requests     uint64    // for slots, so far
	standing     uint64    // number of the request that counts; 0: none does
	restores     uint64    // RestoreSnapshots so far
	free         int       // slots that the cluster could give in all, as last heard
	steps        uint64    // taken so far
	incident     incident  // the last one
	asked        bool      // JobTerminal stands: its result is being put on record
	timer        time.Time // as last asked for
}

// Start is what a new leader knows of a job.
type Start struct {
	Graph       *job.Graph
	Incarnation job.Incarnation // highest recorded
	Attempt     uint32          // highest recorded
	Restarts    int
	// Deployed is the graph as it was deployed last; nil = it never was. The first event is
	// Adopt then.
	Deployed *job.Graph
}

// New returns the graph of a job that is about to be scheduled or adopted; the first event
// is Schedule, or Adopt.
func New(cfg Config, s Start) *Graph {
	g := &Graph{
		cfg: cfg.withDefaults(), state: Created, workers: map[string]*Worker{}, nextWorker: cfg.WorkerIDs,
		incarnation: s.Incarnation, attempt: s.Attempt, restarts: s.Restarts, resumed: s.Incarnation > 0,
	}
	g.wanted = s.Graph
	if s.Deployed == nil {
		g.setGraph(s.Graph)
		return g
	}
	g.state = Reconciling
	g.setGraph(s.Deployed)
	return g
}

// Continue has the job's incarnations and attempts follow those of the snapshot that
// it is started from: what carries their numbers must not be written twice. Called
// before Schedule.
func (g *Graph) Continue(after job.Incarnation) {
	g.incarnation = max(g.incarnation, after)
	g.attempt = max(g.attempt, uint32(after)) // they rise together
}

func (g *Graph) setGraph(jg *job.Graph) {
	g.graph = jg
	g.executions = map[job.SubtaskID]*Execution{}
	for _, s := range jg.Subtasks() {
		g.executions[s] = &Execution{Subtask: s, State: Waiting}
	}
	if g.regions == nil {
		for i, vs := range jg.Regions() {
			g.regions = append(g.regions, &region{index: i, vertices: vs, phase: regionIdle})
		}
	}
	g.slots = append(g.slots[:min(len(g.slots), jg.Slots())], make([]Slot, max(0, jg.Slots()-len(g.slots)))...)
}

// Job is the graph with the present parallelism.
func (g *Graph) Job() *job.Graph { return g.graph }

// State is the job's state, and since when.
func (g *Graph) State() (JobState, time.Time) { return g.state, g.stateSince }

// WantsSlots is how many slots the job needs to go on and how many the cluster could give
// it in all; ok is false while it lacks none.
func (g *Graph) WantsSlots() (wanted, free int, ok bool) {
	switch g.state {
	case Starting, Running, Restarting:
		return len(g.slots), g.free, slices.Contains(g.slots, Slot{})
	}
	return 0, 0, false
}

// Restarts is how often regions were started again.
func (g *Graph) Restarts() int { return g.restarts }

// Failure is what the job failed with, or what its last restart was for.
func (g *Graph) Failure() Failure { return g.failure }

// Execution returns the present attempt of a subtask.
func (g *Graph) Execution(s job.SubtaskID) (Execution, bool) {
	e, ok := g.executions[s]
	if !ok {
		return Execution{}, false
	}
	return *e, true
}

// WorkerOn returns the job's worker on a TaskManager.
func (g *Graph) WorkerOn(taskManager string) (Worker, bool) {
	w, ok := g.workers[taskManager]
	if !ok {
		return Worker{}, false
	}
	return *w, true
}

// Slots is how many slots the job has on each TaskManager.
func (g *Graph) Slots() map[string]int {
	n := map[string]int{}
	for _, slot := range g.slots {
		if slot.TaskManager != "" {
			n[slot.TaskManager]++
		}
	}
	return n
}

// Region is the last deployment of a failover region.
type Region struct {
	Subtasks    []job.SubtaskID
	Incarnation job.Incarnation // 0 = not deployed with this parallelism
	Attempt     job.Attempt
}

// deployments are the regions as they were deployed last.
func (g *Graph) deployments() []Region {
	all := make([]Region, len(g.regions))
	for i, r := range g.regions {
		for _, x := range g.of(r) {
			all[i].Subtasks = append(all[i].Subtasks, x.Subtask)
			all[i].Incarnation, all[i].Attempt = x.Incarnation, x.Attempt // the same for all of them
		}
	}
	return all
}

// Regions are the failover regions, in order, and their subtasks.
func (g *Graph) Regions() [][]job.SubtaskID {
	var all [][]job.SubtaskID
	for _, r := range g.deployments() {
		all = append(all, r.Subtasks)
	}
	return all
}

// of lists the executions of a region in order.
func (g *Graph) of(r *region) []*Execution {
	var all []*Execution
	for _, v := range r.vertices {
		for i := range g.graph.Vertices[v].Parallelism {
			all = append(all, g.executions[job.SubtaskID{Vertex: v, Index: i}])
		}
	}
	return all
}

func (g *Graph) regionOf(v job.VertexID) *region {
	for _, r := range g.regions {
		for _, w := range r.vertices {
			if v == w {
				return r
			}
		}
	}
	panic(fmt.Sprintf("weir: BUG: vertex %d is in no region", v))
}
