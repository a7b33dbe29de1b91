package execgraph

import (
	"time"

	"github.com/weirstream/weir/job"
)

// Effect is what the JobMaster has to do, in order. The types of this file
// implement it.
type Effect interface{ execgraphEffect() }

// RequestSlots asks for N slots in all; Have says where the job has some. Answered
// by SlotsGranted now and whenever more can be given, until nothing is missing.
type RequestSlots struct {
	Number uint64 // rises; stands in the answers
	N      int
	Have   []string // TaskManager by slot, "" = missing
	Wanted int      // that the job would use if there were more: it is told when there are
}

// ReleaseSlots gives all slots back.
type ReleaseSlots struct{}

// StartWorker starts the job's process on a TaskManager. Answered by WorkerStarted
// or WorkerExited.
type StartWorker struct {
	TaskManager string
	ID          uint64
	Slots       int
}

// StopWorker ends a worker; with no Grace it is killed.
type StopWorker struct {
	TaskManager string
	ID          uint64
	Reason      string
	Grace       time.Duration
}

// RestoreSnapshot asks which snapshot to start from. Answered by SnapshotReady; the
// JobMaster keeps the snapshot for Deploy.
type RestoreSnapshot struct {
	Number uint64 // rises; stands in the answer
}

// PersistIncarnation records the deployment before its first Deploy. Answered by
// IncarnationPersisted.
type PersistIncarnation struct {
	Number   job.Incarnation
	Attempt  job.Attempt
	Restarts int
	Regions  []Region // as they are deployed now, and as this one will be
	Slots    []string // TaskManager by slot
}

// Adopted is for the coordinator and the workers: these attempts go on under this leader.
type Adopted struct{ Executions []Execution }

// Deploy sends the new attempts to their workers.
type Deploy struct {
	Incarnation job.Incarnation
	Attempt     job.Attempt
	Executions  []Execution // of the region that starts, in order
}

// CancelAttempts tells a worker to end the attempts that it runs of an
// incarnation; after Grace the agent kills the worker.
type CancelAttempts struct {
	TaskManager string
	Incarnation job.Incarnation
	Attempt     job.Attempt
	Reason      string
	Grace       time.Duration
}

// AttemptRunning and AttemptsLost are for the coordinator.
type AttemptRunning struct{ Execution Execution }

// AttemptsLost: they will not ack any more.
type AttemptsLost struct {
	Executions []Execution
	Reason     string
}

// StateChanged is for history and log.
type StateChanged struct{ From, To JobState }

// RegionFailed is for history and log; Delay is how long the restart waits.
type RegionFailed struct {
	Failure Failure
	Delay   time.Duration
	GivenUp bool
}

// WorkerKilled is for history and log: subtasks that were to end did not. It is no
// failure of the job.
type WorkerKilled struct{ Failure Failure }

// SetTimer asks for a Tick at At, replacing the earlier request.
type SetTimer struct{ At time.Time }

// RescaleReady: slots and workers for the new parallelism are there. The JobMaster
// takes a checkpoint, so that little is done twice, then says RescaleNow. Own: nobody
// has asked for it, slots have come.
type RescaleReady struct{ Own bool }

// RescaleFailed: there are not enough slots; the job runs on as it was.
type RescaleFailed struct{ Reason string }

// Rescaled: every subtask runs with the new parallelism.
type Rescaled struct{ Own bool }

// JobTerminal: everything has stopped; State (FAILED or CANCELED) is to be put on
// record. Answered by ResultPersisted.
type JobTerminal struct {
	State   JobState
	Failure Failure
}

func (RequestSlots) execgraphEffect()       {}
func (ReleaseSlots) execgraphEffect()       {}
func (StartWorker) execgraphEffect()        {}
func (StopWorker) execgraphEffect()         {}
func (RestoreSnapshot) execgraphEffect()    {}
func (PersistIncarnation) execgraphEffect() {}
func (Adopted) execgraphEffect()            {}
func (Deploy) execgraphEffect()             {}
func (CancelAttempts) execgraphEffect()     {}
func (AttemptRunning) execgraphEffect()     {}
func (AttemptsLost) execgraphEffect()       {}
func (StateChanged) execgraphEffect()       {}
func (RegionFailed) execgraphEffect()       {}
func (WorkerKilled) execgraphEffect()       {}
func (SetTimer) execgraphEffect()           {}
func (RescaleReady) execgraphEffect()       {}
func (RescaleFailed) execgraphEffect()      {}
func (Rescaled) execgraphEffect()           {}
func (JobTerminal) execgraphEffect()        {}
