package task

import (
	"context"
	"log/slog"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
)

// Program is what a job binary builds: the plan, and the code of its operators. It
// is built anew for every subtask attempt, so that nothing is shared between them.
type Program struct {
	Plan      *metapb.Plan
	Operators []Operator // parallel to Plan.Operators
	// Types are those that the program has named, or nil.
	Types *codec.Types
}

// Operator is the code of one operator of the plan.
type Operator struct {
	// Inputs are the typed halves of its inputs, parallel to the plan's; nil for one that
	// is always chained.
	Inputs []exchange.AnyEdge
	// Link makes the operator's instance. It is called once; the chain is linked from its
	// tail to its head.
	Link func(l *Linker) error
}

// Backend is the keyed state of a subtask. statebackend/heap and statebackend/pebble
// have it. Everything is called by the loop; a Snapshot's Finish is not.
type Backend interface {
	// Store holds the state; handles are declared in it before Restore.
	Store() *table.Store
	Restore(ctx context.Context, from []statebackend.Restored) error
	// Freeze begins a snapshot of the state as it is now.
	Freeze(id stream.CheckpointID) (statebackend.Snapshot, error)
	// Advance does a slice of the work behind (copying frozen entries, at most budget of
	// them; eviction) and reports whether there is more to do at once.
	Advance(budget int) (busy bool)
	// Full reports whether records must wait until the run of a cut is on local disk.
	Full() bool
	// Failed gives a snapshot up: its keys are dirty again.
	Failed(s statebackend.Snapshot)
	// Confirm says that the checkpoint completed.
	Confirm(id stream.CheckpointID)
	// Close releases everything. No Finish is running.
	Close() error
}

// BackendConfig is what a subtask knows of the keyed state it needs.
type BackendConfig struct {
	UID     string
	Subtask job.SubtaskID
	Attempt job.Attempt
	// Table has everything but Budget and Cold.
	Table table.Options
}

// Reporter takes what a subtask has to say, for the JobManager. Its methods are
// called by the loop and must not block. Messages belong to the Reporter.
type Reporter interface {
	// Status says INITIALIZING, RUNNING and, last, one of FINISHED, CANCELED, FAILED.
	// FAILED comes as soon as it is known, the others when everything is closed; the next
	// attempt must wait for Run to return either way.
	Status(s *weirpb.SubtaskStatus)
	Ack(a *weirpb.CheckpointAck)
	Decline(d *weirpb.CheckpointDecline)
	Committed(c *weirpb.Committed)
	SourceEnded(e *weirpb.SourceEnded)
}

// Options are what a subtask attempt is deployed with.
type Options struct {
	Graph       *job.Graph
	Subtask     job.SubtaskID
	Program     *Program // of this attempt alone
	Attempt     job.Attempt
	Incarnation job.Incarnation
	// Fabric connects the subtask to others. nil: the graph has no edges.
	Fabric *exchange.Fabric
	// NewBackend makes the keyed state. nil: no operator of the chain is keyed.
	NewBackend func(c BackendConfig) (Backend, error)
	// Store takes the records in flight of unaligned checkpoints, if they are larger than
	// InlineLimit (bytes): the job's checkpoint folder. nil: they travel in the ack.
	Store       objstore.Store
	InlineLimit int
	// Mode of barrier alignment.
	Mode align.Mode
	// StateIDs are those of the job.
	StateIDs []*metapb.StateID
	// RestoredCheckpoint is what the job starts from, 0 at a fresh start; Restored is
	// this subtask's part of it, by uid.
	RestoredCheckpoint stream.CheckpointID
	Restored           []*weirpb.RestoredOperator
	// WatermarkInterval is the time between watermarks; 0: 200 ms.
	WatermarkInterval time.Duration
	// Stopped: that checkpoint ended the job, and only its commits are missing: sources
	// stay silent.
	Stopped bool

	Reporter  Reporter
	Log       *slog.Logger     // with the job's id; nil discards
	Now       func() time.Time // nil: time.Now
	JobID     job.ID
	JobName   string
	ClusterID string
}
