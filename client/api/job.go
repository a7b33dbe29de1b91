package api

import (
	"strings"
	"time"
)

// Job is everything a user is told about a job: `weir describe -o json`, and an
// element of `weir list -o json`.
type Job struct {
	ID    string `json:"id"`    // job.ID
	Name  string `json:"name"`  // not unique
	State string `json:"state"` // execgraph.JobState, in Flink's words

	SubmittedAt time.Time  `json:"submitted-at"`
	StartedAt   *time.Time `json:"started-at"` // first deployment; null before it
	EndedAt     *time.Time `json:"ended-at"`   // null while the job lives
	DurationMS  int64      `json:"duration"`   // since StartedAt, until EndedAt or now

	Parallelism int    `json:"parallelism"` // slots that it wants: the largest of its vertices
	Restarts    int    `json:"restarts"`
	Incarnation uint64 `json:"incarnation"`

	// Slots says that the job waits for slots; absent while it lacks none.
	Slots *SlotsWanted `json:"waiting-for-slots,omitempty"`

	// Vertices in topological order, without hidden ones.
	Vertices []Vertex `json:"vertices"`

	// LastCheckpoint is the newest completed one, null before the first.
	LastCheckpoint *Checkpoint `json:"last-completed-checkpoint"`
	Checkpoints    Checkpoints `json:"checkpoints"`

	// Result of a job that has ended; null before.
	Result *Result `json:"result"`

	// StartedFrom is the snapshot that the job was started from; absent if there was none.
	StartedFrom *StartedFrom `json:"started-from,omitempty"`

	// LastFailure is that of Failures which ended the job, else the newest; null if there
	// was none.
	LastFailure *Failure  `json:"last-failure"`
	Failures    []Failure `json:"failures"` // newest first, the last 16

	// Settings in effect, by key; secrets masked.
	Settings map[string]string `json:"settings"`
}

// StartedFrom is a snapshot that a job was started from.
type StartedFrom struct {
	Path string `json:"path"`
	Mode string `json:"mode"` // RestoreNoClaim, RestoreClaim or RestoreLegacy
	// Released: nothing that the job may be restored from refers to it any more. It may be
	// deleted; one that the job had claimed is.
	Released bool `json:"released"`
}

// Job states, in Flink's words.
const (
	StateCreated    = "CREATED"
	StateRunning    = "RUNNING"
	StateRestarting = "RESTARTING"
	StateFailing    = "FAILING"
	StateCancelling = "CANCELLING"
	StateFinished   = "FINISHED"
	StateFailed     = "FAILED"
	StateCanceled   = "CANCELED"
)

// Terminal reports whether a job in this state has ended.
func Terminal(state string) bool {
	return state == StateFinished || state == StateFailed || state == StateCanceled
}

// Vertex is a chain of operators, with its subtasks.
type Vertex struct {
	ID          int       `json:"id"` // job.VertexID
	UID         string    `json:"uid"`
	Name        string    `json:"name"`
	Parallelism int       `json:"parallelism"`
	State       string    `json:"state"` // of the subtask that is furthest behind; see StateOf
	Subtasks    []Subtask `json:"subtasks"`
}

// Subtask is one parallel instance of a vertex.
type Subtask struct {
	Index   int       `json:"index"`
	State   string    `json:"state"`   // execgraph.ExecutionState, in Flink's words
	Attempt string    `json:"attempt"` // job.Attempt, "" before the first
	Since   time.Time `json:"since"`   // of State
	Host    string    `json:"host"`
	// Where it runs or ran; "" and 0 while it has no slot.
	TaskManagerID  string `json:"taskmanager-id"`
	TaskManagerPID int    `json:"taskmanager-pid"`
	WorkerPID      int    `json:"worker-pid"`
	// Metrics is what the attempt has reported, nil before its first report.
	Metrics *Metrics `json:"metrics,omitempty"`
}

// Metrics is what an attempt of a subtask has done, about a second ago. The names are
// Flink's, where it has the thing.
type Metrics struct {
	ReadRecords     uint64            `json:"read-records"`
	WriteRecords    uint64            `json:"write-records"`
	BusyMS          uint64            `json:"accumulated-busy-time"`
	IdleMS          uint64            `json:"accumulated-idle-time"`
	BackpressuredMS uint64            `json:"accumulated-backpressured-time"`
	StateBytes      uint64            `json:"state-bytes"`    // that keyed state takes in memory
	User            map[string]uint64 `json:"user,omitempty"` // counters of the job's own
	// Watermark is how far event time has come here, in ms since 1970, nil if it has not begun;
	// HeldBy names the split, or the subtask before this one, that it waits for.
	Watermark *int64 `json:"watermark,omitempty"`
	HeldBy    string `json:"held-by,omitempty"`
}

// TimeHolder is the subtask of a source where event time is earliest, with its vertex; nil
// if the job has no event time.
func (j *Job) TimeHolder() (v *Vertex, s *Subtask) {
	for i := range j.Vertices {
		for n := range j.Vertices[i].Subtasks {
			at := &j.Vertices[i].Subtasks[n]
			if m := at.Metrics; m == nil || m.Watermark == nil || !strings.HasPrefix(m.HeldBy, SplitPrefix) {
				continue
			}
			if s == nil || *at.Metrics.Watermark < *s.Metrics.Watermark {
				v, s = &j.Vertices[i], at
			}
		}
	}
	return v, s
}

// SplitPrefix begins what Metrics.HeldBy says of a split.
const SplitPrefix = "split "

// subtaskOrder ranks the states of subtasks: a vertex is in the least of its subtasks'.
var subtaskOrder = []string{
	"FAILED", "CANCELING", "CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING", "CANCELED", "FINISHED",
}

// StateOf is the state of a vertex: FAILED and CANCELING if a subtask is, else that
// of the subtask that is furthest behind. CREATED without subtasks.
func StateOf(subtasks []Subtask) string {
	best := len(subtaskOrder)
	for _, s := range subtasks {
		for rank, name := range subtaskOrder {
			if s.State == name {
				best = min(best, rank)
			}
		}
	}
	if best == len(subtaskOrder) {
		return StateCreated
	}
	return subtaskOrder[best]
}

// Checkpoint is one checkpoint, in progress, completed or failed.
type Checkpoint struct {
	ID          uint64    `json:"id"`
	Status      string    `json:"status"` // CheckpointInProgress, …
	Kind        string    `json:"kind"`   // checkpoint, savepoint, terminal
	TriggeredAt time.Time `json:"triggered-at"`
	DurationMS  int64     `json:"duration"` // trigger to pointer, or until now
	Path        string    `json:"path"`     // folder of its _metadata; "" unless completed
	Bytes       uint64    `json:"bytes"`    // of all state it refers to
	NewBytes    uint64    `json:"new-bytes"`
	Subtasks    int       `json:"subtasks"`
	Acked       int       `json:"acked"`
	Failure     string    `json:"failure"`   // of a failed one
	Discarded   bool      `json:"discarded"` // completed, and deleted since
}

// States of a checkpoint, in Flink's words.
const (
	CheckpointInProgress = "IN_PROGRESS"
	CheckpointCompleted  = "COMPLETED"
	CheckpointFailed     = "FAILED"
)

// Checkpoints sums the checkpoints of a job up.
type Checkpoints struct {
	Completed  int `json:"completed"` // numbers, since the JobManager took the job over
	Failed     int `json:"failed"`
	InProgress int `json:"in-progress"`
	Restored   int `json:"restored"` // times that the job was restored from one

	// RestoredFrom is what the present incarnation was restored from, null if it
	// started empty.
	RestoredFrom *Checkpoint `json:"restored-from"`
	// History is newest first, the last 10.
	History []Checkpoint `json:"history"`
}

// Failure is one failure of a job.
type Failure struct {
	Time        time.Time `json:"time"`
	Task        string    `json:"task"`  // "count[1]", "all subtasks on tm-1", "" if it was no subtask's
	Cause       string    `json:"cause"` // one line, then details if there are any
	TaskManager string    `json:"taskmanager-id"`
	Fatal       bool      `json:"fatal"` // the job was not restarted after it
}

// SlotsWanted is what a job waits for.
type SlotsWanted struct {
	Wanted int `json:"wanted"` // in all
	Free   int `json:"free"`   // that the cluster could give it, counting those that it has
}
