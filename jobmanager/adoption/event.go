package adoption

import (
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
)

// Event is what happened. The types of this file implement it.
type Event interface{ adoptionEvent() }

// Loaded: what the store holds of the job is known, so that regions may be started again.
// Nothing is settled before.
type Loaded struct {
	// Terminal: the newest checkpoint is the job's last; subtasks may have FINISHED.
	Terminal bool
}

// Registered: a TaskManager has come, and says what runs there of the job.
type Registered struct {
	TaskManager string
	Worker      *Worker // nil: nothing does
	Exited      []Exited
}

// Worker is the job's process on a TaskManager, as its agent knows it.
type Worker struct {
	ID       uint64
	Ready    bool // it can be told to deploy
	Subtasks []Subtask
	// Facts are what its subtasks have said once and for all: SourceEnded and Committed.
	Facts []coordinator.Event
	// Graph is the worker as the execution graph knows it.
	Graph execgraph.Worker
}

// Subtask is what an agent last heard of a subtask.
type Subtask struct {
	ID          job.SubtaskID
	Attempt     job.Attempt
	Incarnation job.Incarnation
	State       State
	Failure     string // of Failed
	Detail      string
	UID         string
	Fatal       bool // restarting will not help
}

// State of an attempt, as far as adoption has to tell them apart.
type State uint8

// States.
const (
	Starting State = iota // deployed, and not running yet
	Running
	Finished
	Canceled
	Failed
	states
)

var stateNames = [states]string{"starting", "running", "finished", "canceled", "failed"}

// String names the state.
func (s State) String() string { return stateNames[s] }

// live reports whether the attempt may still do something.
func (s State) live() bool { return s <= Running }

// Exited: a worker of the job has ended.
type Exited struct {
	Worker    uint64
	Reason    string
	UserError bool
}

// Said: a subtask has said something new.
type Said struct {
	TaskManager string
	Subtask     Subtask
}

// Told: a subtask has said what it does not say again, a SourceEnded or a Committed.
type Told struct{ Fact coordinator.Event }

// WorkerExited: a worker of the job has ended since its TaskManager has registered.
type WorkerExited struct {
	TaskManager string
	Exited
}

// Lost: a TaskManager's stream has ended. It may come back within the window.
type Lost struct{ TaskManager string }

// Tick is a wake-up at the time asked for, or any other time.
type Tick struct{}

func (Loaded) adoptionEvent()       {}
func (Registered) adoptionEvent()   {}
func (Said) adoptionEvent()         {}
func (Told) adoptionEvent()         {}
func (WorkerExited) adoptionEvent() {}
func (Lost) adoptionEvent()         {}
func (Tick) adoptionEvent()         {}

// Effect is what the JobMaster has to do. The types of this file implement it.
type Effect interface{ adoptionEffect() }

// SetTimer asks for a Tick at At.
type SetTimer struct{ At time.Time }

// Settled is the last effect: what becomes of the job.
type Settled struct {
	Regions []Verdict
	// Slots is the TaskManager of each slot; "" where nothing of the job's was found.
	Slots   []string
	Workers []execgraph.Worker // that the job keeps, by TaskManager
	Stop    []Stop             // the others
	Facts   []coordinator.Event
}

// Verdict is what becomes of one region.
type Verdict struct {
	Adopt  bool
	Reason string // why not, one line
	// Failure: something went wrong while nobody led. Without it the region was just being
	// started or ended when the leader was lost.
	Failure bool
	Blame   Subtask // with Failure: whose it is; zero: no subtask's
	Fatal   bool
	// Found are its attempts on workers that the job keeps, by subtask.
	Found []Found
}

// Found is an attempt of the recorded incarnation, and where it is.
type Found struct {
	Subtask Subtask
	Worker  execgraph.Worker
}

// Stop is a worker to be ended.
type Stop struct {
	TaskManager string
	Worker      uint64
	Reason      string
}

func (SetTimer) adoptionEffect() {}
func (Settled) adoptionEffect()  {}
