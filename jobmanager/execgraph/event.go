package execgraph

import (
	"github.com/weirstream/weir/job"
)

// Event is what happened. The types of this file implement it.
type Event interface{ execgraphEvent() }

// Schedule starts the job.
type Schedule struct{}

// Adopt goes on with a job that another leader has deployed, with what was found of it.
// Answered with Adopted if something runs.
type Adopt struct {
	Slots   []string // TaskManager by slot, "" = missing
	Workers []Worker // that the job keeps
	Regions []Found  // in the order of Graph.Regions
}

// Found is what runs of one region.
type Found struct {
	// Executions are its attempts that were found, with State, Attempt, Incarnation,
	// TaskManager and Worker. If Running they are all of it; else they are ended and the
	// region starts again.
	Executions []Execution
	Running    bool
	// Failure is why not, if something went wrong while nobody led. Without one the region is
	// started again without asking the restart strategy.
	Failure *Failure
	Lost    bool // a process, or a host, was lost
	Fatal   bool
	Reason  string // why not, one line
}

// SlotsGranted answers RequestSlots: the TaskManager of each slot that was wanted,
// by slot; "" where there is none yet. Slots that the job has keep their place. The
// answer to a request that was replaced since is ignored.
type SlotsGranted struct {
	Number       uint64 // of the request
	TaskManagers []string
	// Free is how many slots the cluster could give in all, counting those granted.
	Free int
}

// TaskManagerLost: nothing on it lives any more, as far as the cluster is
// concerned.
type TaskManagerLost struct {
	TaskManager string
	Reason      string
}

// WorkerStarted: the worker has built the program and is ready for Deploy.
type WorkerStarted struct {
	TaskManager string
	ID          uint64
	Data, Unix  string // addresses for records
	Host        string
	Machine     string // tells hosts apart
	PID         uint32
	HostPID     uint32
}

// WorkerExited: the process is gone, or never came to be.
type WorkerExited struct {
	TaskManager string
	ID          uint64
	Reason      string
	UserError   bool
	// Stuck are the subtasks because of which it was killed: they ignored their cancel.
	Stuck []job.SubtaskID
}

// SnapshotReady answers RestoreSnapshot. A Problem says that no snapshot can be
// used, which fails the job; its lines after the first are details.
type SnapshotReady struct {
	Number  uint64 // of RestoreSnapshot: an answer to an earlier one is of another graph
	Problem string
}

// IncarnationPersisted answers PersistIncarnation.
type IncarnationPersisted struct {
	Number  job.Incarnation
	Problem string // "" = written
}

// Status is what a subtask says of itself.
type Status struct {
	Subtask     job.SubtaskID
	Attempt     job.Attempt
	Incarnation job.Incarnation
	State       ExecutionState // Initializing, TaskRunning, TaskFinished, TaskCanceled or TaskFailed
	Failure     string
	Detail      string
	UID         string
	Fatal       bool
}

// CancelJob: somebody wants the job gone.
type CancelJob struct{}

// FailRegions: something outside the subtasks failed (too many checkpoints did).
// All regions fail over.
type FailRegions struct{ Reason string }

// ResultPersisted: the job's terminal state is on record (I6): FINISHED after the
// terminal checkpoint, or what JobTerminal said. Everything may be let go.
type ResultPersisted struct{ State JobState }

// Rescale has the job run with the parallelism of Graph, which is of the same plan.
// Answered with RescaleReady, or RescaleFailed.
type Rescale struct{ Graph *job.Graph }

// RescaleNow follows RescaleReady: the job stops and starts from its newest checkpoint.
// Rescaled follows.
type RescaleNow struct{}

// Tick is a wake-up at the time asked for by SetTimer, or any other time.
type Tick struct{}

func (Schedule) execgraphEvent()             {}
func (Adopt) execgraphEvent()                {}
func (SlotsGranted) execgraphEvent()         {}
func (TaskManagerLost) execgraphEvent()      {}
func (WorkerStarted) execgraphEvent()        {}
func (WorkerExited) execgraphEvent()         {}
func (SnapshotReady) execgraphEvent()        {}
func (IncarnationPersisted) execgraphEvent() {}
func (Status) execgraphEvent()               {}
func (CancelJob) execgraphEvent()            {}
func (FailRegions) execgraphEvent()          {}
func (ResultPersisted) execgraphEvent()      {}
func (Rescale) execgraphEvent()              {}
func (RescaleNow) execgraphEvent()           {}
func (Tick) execgraphEvent()                 {}
