package api

import "time"

// CheckpointDetails is one checkpoint with what each subtask did for it: GET
// /jobs/{id}/checkpoints/details/{checkpoint}/describe. Without /describe, and below
// …/subtasks/{vertex}, the same has Flink's form.
type CheckpointDetails struct {
	Checkpoint
	Vertices []CheckpointVertex `json:"vertices"` // in topological order, hidden ones included
}

// CheckpointVertex is what a vertex did for a checkpoint.
type CheckpointVertex struct {
	ID       int                 `json:"id"` // job.VertexID
	UID      string              `json:"uid"`
	Subtasks []CheckpointSubtask `json:"subtasks"`
}

// CheckpointSubtask is what a subtask did for a checkpoint. The times follow one
// another: start delay, alignment, sync, async. They are rounded to ms.
type CheckpointSubtask struct {
	Index          int        `json:"index"`
	AckedAt        *time.Time `json:"acked-at"`         // null if it has not acknowledged
	DurationMS     int64      `json:"duration"`         // trigger to ack
	StartDelayMS   int64      `json:"start-delay-ms"`   // trigger to the first barrier
	AlignmentMS    int64      `json:"alignment-ms"`     // first to last barrier
	SyncMS         int64      `json:"sync-ms"`          // while no record is processed
	AsyncMS        int64      `json:"async-ms"`         // while records are
	LongestStallMS int64      `json:"longest-stall-ms"` // of processing
	Bytes          uint64     `json:"bytes"`            // of all state it refers to
	NewBytes       uint64     `json:"new-bytes"`        // written for this checkpoint
	ProcessedBytes uint64     `json:"processed-bytes"`  // of records, during alignment
	InFlightBytes  uint64     `json:"in-flight-bytes"`  // of records kept in the checkpoint
	Unaligned      bool       `json:"unaligned"`        // it overtook records
}

// CheckpointConfig is how a job is checkpointed: GET /jobs/{id}/checkpoints/config,
// with Flink's names. Times are in ms.
type CheckpointConfig struct {
	Mode                  string          `json:"mode"`     // "exactly_once" or "at_least_once"
	Interval              int64           `json:"interval"` // 0 = none but the terminal one
	Timeout               int64           `json:"timeout"`
	MinPause              int64           `json:"min_pause"`
	MaxConcurrent         int             `json:"max_concurrent"`
	Externalization       Externalization `json:"externalization"`
	StateBackend          string          `json:"state_backend"`
	CheckpointStorage     string          `json:"checkpoint_storage"` // "filesystem" or "jobmanager"
	CheckpointDir         string          `json:"checkpoint_dir"`     // Weir's own
	SavepointDir          string          `json:"savepoint_dir"`      // Weir's own; "" = none
	Retained              int             `json:"num_retained"`       // Weir's own
	Unaligned             bool            `json:"unaligned_checkpoints"`
	TolerableFailed       int             `json:"tolerable_failed_checkpoints"`
	AlignedTimeout        int64           `json:"aligned_checkpoint_timeout"`
	AfterTasksFinish      bool            `json:"checkpoints_after_tasks_finish"`
	StateChangelogEnabled bool            `json:"state_changelog_enabled"` // there is none: false
}

// Externalization says whether checkpoints outlive their job.
type Externalization struct {
	Enabled              bool `json:"enabled"`
	DeleteOnCancellation bool `json:"delete_on_cancellation"`
}
