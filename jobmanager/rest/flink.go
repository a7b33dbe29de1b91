package rest

import (
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/client/api"
)

// This file makes Flink's JSON of our views: the fields that its tools read, under its
// names. Times are in ms since 1970; -1 is "not yet".

func millis(t time.Time) int64 { return t.UnixMilli() }

func millisOr(t *time.Time) int64 {
	if t == nil {
		return -1
	}
	return t.UnixMilli()
}

type flinkJobStatus struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

func flinkJobs(jobs []*api.Job) any {
	list := []flinkJobStatus{}
	for _, j := range jobs {
		list = append(list, flinkJobStatus{j.ID, j.State})
	}
	return map[string]any{"jobs": list}
}

type flinkJobOverview struct {
	JID              string         `json:"jid"`
	Name             string         `json:"name"`
	State            string         `json:"state"`
	StartTime        int64          `json:"start-time"`
	EndTime          int64          `json:"end-time"`
	Duration         int64          `json:"duration"`
	LastModification int64          `json:"last-modification"`
	Tasks            map[string]int `json:"tasks"`
}

func flinkJobsOverview(jobs []*api.Job, now time.Time) any {
	list := []flinkJobOverview{}
	for _, j := range jobs {
		o := flinkJobOverview{
			JID: j.ID, Name: j.Name, State: j.State, StartTime: startOf(j), EndTime: millisOr(j.EndedAt),
			Duration: j.DurationMS, LastModification: startOf(j), Tasks: map[string]int{"total": 0},
		}
		for _, state := range flinkStates {
			o.Tasks[strings.ToLower(state)] = 0
		}
		for _, v := range j.Vertices {
			for _, t := range v.Subtasks {
				o.Tasks["total"]++
				o.Tasks[strings.ToLower(t.State)]++
				o.LastModification = max(o.LastModification, millis(t.Since))
			}
		}
		o.LastModification = max(o.LastModification, o.EndTime)
		list = append(list, o)
	}
	return map[string]any{"jobs": list, "now": millis(now)}
}

func startOf(j *api.Job) int64 {
	if j.StartedAt != nil {
		return millis(*j.StartedAt)
	}
	return millis(j.SubmittedAt)
}

var flinkStates = []string{
	"CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING", "FINISHED", "CANCELING", "CANCELED", "FAILED", "RECONCILING",
}

type flinkVertex struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	UID            string         `json:"uid"`
	MaxParallelism int            `json:"maxParallelism"`
	Parallelism    int            `json:"parallelism"`
	Status         string         `json:"status"`
	StartTime      int64          `json:"start-time"`
	EndTime        int64          `json:"end-time"`
	Duration       int64          `json:"duration"`
	Tasks          map[string]int `json:"tasks"`
	Subtasks       []flinkSubtask `json:"subtasks"`
}

type flinkSubtask struct {
	Subtask       int    `json:"subtask"`
	Status        string `json:"status"`
	Attempt       string `json:"attempt"`
	Host          string `json:"host"`
	TaskManagerID string `json:"taskmanager-id"`
	StartTime     int64  `json:"start-time"`
}

type flinkJobDetails struct {
	JID            string         `json:"jid"`
	Name           string         `json:"name"`
	IsStoppable    bool           `json:"isStoppable"`
	State          string         `json:"state"`
	JobType        string         `json:"job-type"`
	StartTime      int64          `json:"start-time"`
	EndTime        int64          `json:"end-time"`
	Duration       int64          `json:"duration"`
	MaxParallelism int            `json:"maxParallelism"`
	Now            int64          `json:"now"`
	Vertices       []flinkVertex  `json:"vertices"`
	StatusCounts   map[string]int `json:"status-counts"`
}

// allGroups stands for Flink's maximum parallelism: the number of key groups.
const allGroups = 1 << 16

func flinkJob(j *api.Job, now time.Time) any {
	d := flinkJobDetails{
		JID: j.ID, Name: j.Name, State: j.State, JobType: "STREAMING", StartTime: startOf(j), EndTime: millisOr(j.EndedAt),
		Duration: j.DurationMS, MaxParallelism: allGroups, Now: millis(now), Vertices: []flinkVertex{}, StatusCounts: zeroCounts(),
	}
	for _, v := range j.Vertices {
		f := flinkVertex{
			ID: strconv.Itoa(v.ID), Name: v.Name, UID: v.UID, MaxParallelism: allGroups, Parallelism: v.Parallelism,
			Status: v.State, StartTime: -1, EndTime: -1, Duration: -1, Tasks: zeroCounts(), Subtasks: []flinkSubtask{},
		}
		ended := len(v.Subtasks) > 0
		for _, t := range v.Subtasks {
			since := millis(t.Since)
			if t.Since.IsZero() {
				since = -1
			}
			f.Tasks[t.State]++
			f.Subtasks = append(f.Subtasks, flinkSubtask{t.Index, t.State, t.Attempt, t.Host, t.TaskManagerID, since})
			if since >= 0 && (f.StartTime < 0 || since < f.StartTime) {
				f.StartTime = since
			}
			ended = ended && api.Terminal(t.State)
			f.EndTime = max(f.EndTime, since)
		}
		if !ended {
			f.EndTime = -1
		}
		if f.StartTime >= 0 {
			f.Duration = max(f.EndTime, millis(now)*int64(bit(!ended))) - f.StartTime
		}
		d.StatusCounts[v.State]++
		d.Vertices = append(d.Vertices, f)
	}
	return d
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func zeroCounts() map[string]int {
	m := map[string]int{}
	for _, s := range flinkStates {
		m[s] = 0
	}
	return m
}

type flinkCheckpoint struct {
	ClassName       string `json:"className"`
	ID              uint64 `json:"id"`
	Status          string `json:"status"`
	IsSavepoint     bool   `json:"is_savepoint"`
	CheckpointType  string `json:"checkpoint_type"`
	Trigger         int64  `json:"trigger_timestamp"`
	LatestAck       int64  `json:"latest_ack_timestamp"`
	StateSize       uint64 `json:"state_size"`
	CheckpointSize  uint64 `json:"checkpointed_size"`
	Duration        int64  `json:"end_to_end_duration"`
	Subtasks        int    `json:"num_subtasks"`
	Acknowledged    int    `json:"num_acknowledged_subtasks"`
	ExternalPath    string `json:"external_path,omitempty"`
	Discarded       bool   `json:"discarded"`
	FailureMessage  string `json:"failure_message,omitempty"`
	FailureTime     *int64 `json:"failure_timestamp,omitempty"`
	SavepointFormat any    `json:"savepointFormat"`
}

func flinkCheckpointOf(c *api.Checkpoint) *flinkCheckpoint {
	if c == nil {
		return nil
	}
	f := &flinkCheckpoint{
		ClassName: strings.ToLower(c.Status), ID: c.ID, Status: c.Status, IsSavepoint: c.Kind == "savepoint" || c.Kind == "stop", CheckpointType: strings.ToUpper(c.Kind),
		Trigger: millis(c.TriggeredAt), LatestAck: millis(c.TriggeredAt) + c.DurationMS, StateSize: c.Bytes, CheckpointSize: c.NewBytes,
		Duration: c.DurationMS, Subtasks: c.Subtasks, Acknowledged: c.Acked, ExternalPath: c.Path, Discarded: c.Discarded, FailureMessage: c.Failure,
	}
	if c.Status == api.CheckpointFailed {
		at := f.LatestAck
		f.FailureTime = &at
	}
	return f
}

func flinkCheckpoints(j *api.Job) any {
	c := j.Checkpoints
	history := []*flinkCheckpoint{}
	var failed, savepoint *flinkCheckpoint
	for i := range c.History {
		f := flinkCheckpointOf(&c.History[i])
		history = append(history, f)
		if failed == nil && f.Status == api.CheckpointFailed {
			failed = f
		}
		if savepoint == nil && f.IsSavepoint && f.Status == api.CheckpointCompleted {
			savepoint = f
		}
	}
	return map[string]any{
		"counts": map[string]int{
			"restored": c.Restored, "total": c.Completed + c.Failed + c.InProgress,
			"in_progress": c.InProgress, "completed": c.Completed, "failed": c.Failed,
		},
		"latest": map[string]any{
			"completed": flinkCheckpointOf(j.LastCheckpoint), "savepoint": savepoint, "failed": failed, "restored": flinkCheckpointOf(c.RestoredFrom),
		},
		"history": history,
	}
}

type flinkException struct {
	Name          string            `json:"exceptionName"`
	Stacktrace    string            `json:"stacktrace"`
	Timestamp     int64             `json:"timestamp"`
	TaskName      string            `json:"taskName"`
	TaskManagerID string            `json:"taskManagerId"`
	FailureLabels map[string]string `json:"failureLabels"`
}

// mostFailures that the cluster remembers of a job; more are dropped.
const mostFailures = 16

func flinkExceptions(j *api.Job) any {
	entries := []flinkException{}
	for _, f := range j.Failures {
		name, _, _ := strings.Cut(f.Cause, "\n")
		entries = append(entries, flinkException{name, f.Cause, millis(f.Time), f.Task, f.TaskManager, map[string]string{}})
	}
	answer := map[string]any{
		"exceptionHistory": map[string]any{"entries": entries, "truncated": len(entries) >= mostFailures},
		"all-exceptions":   []any{}, "root-exception": nil, "timestamp": nil, "truncated": false,
	}
	if j.LastFailure != nil {
		answer["root-exception"], answer["timestamp"] = j.LastFailure.Cause, millis(j.LastFailure.Time)
	}
	return answer
}

// flinkVerdicts are Flink's words for the end of a job's application.
var flinkVerdicts = map[string]string{api.StateFinished: "SUCCEEDED", api.StateFailed: "FAILED", api.StateCanceled: "CANCELED"}

func flinkResult(j *api.Job) any {
	if !api.Terminal(j.State) {
		return map[string]any{"status": map[string]string{"id": "IN_PROGRESS"}}
	}
	result := map[string]any{
		"id": j.ID, "application-status": flinkVerdicts[j.State], "net-runtime": j.DurationMS,
		"accumulator-results": map[string]any{}, "result": j.Result,
	}
	if j.LastFailure != nil && j.State == api.StateFailed {
		result["failure-cause"] = map[string]string{"class": "", "stack-trace": j.LastFailure.Cause, "serialized-throwable": ""}
	}
	return map[string]any{"status": map[string]string{"id": "COMPLETED"}, "job-execution-result": result}
}

// flinkTaskManager is our view with Flink's names beside it.
type flinkTaskManager struct {
	api.TaskManager
	Path      string `json:"path"`
	Slots     int    `json:"slotsNumber"`
	FreeSlots int    `json:"freeSlots"`
	Heartbeat int64  `json:"timeSinceLastHeartbeat"` // when, in ms; Flink's name is wrong too
}

func flinkTaskManagers(all []api.TaskManager) any {
	list := []flinkTaskManager{}
	for _, t := range all {
		t.Workers = emptyNotNull(t.Workers)
		list = append(list, flinkTaskManager{t, t.Host, t.SlotsTotal, t.SlotsFree, millis(t.LastHeartbeat)})
	}
	return map[string]any{"taskmanagers": list}
}
