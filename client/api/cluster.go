package api

import "time"

// Overview is the cluster in numbers: GET /overview, with Flink's names.
type Overview struct {
	TaskManagers   int    `json:"taskmanagers"`
	SlotsTotal     int    `json:"slots-total"`
	SlotsAvailable int    `json:"slots-available"`
	JobsRunning    int    `json:"jobs-running"` // every job that has not ended
	JobsFinished   int    `json:"jobs-finished"`
	JobsCancelled  int    `json:"jobs-cancelled"`
	JobsFailed     int    `json:"jobs-failed"`
	FlinkVersion   string `json:"flink-version"` // Weir's version: tools of Flink look here
	FlinkCommit    string `json:"flink-commit"`
	WeirVersion    string `json:"weir-version"`
	ClusterID      string `json:"cluster-id"`
	GOARCH         string `json:"goarch"` // that job binaries must be built for
}

// TaskManager is one TaskManager that the leader knows.
type TaskManager struct {
	ID            string    `json:"id"`
	Host          string    `json:"host"`
	PID           int       `json:"pid"`
	Version       string    `json:"version"`
	SlotsTotal    int       `json:"slots-total"`
	SlotsFree     int       `json:"slots-free"`
	MemoryBytes   int64     `json:"memory-bytes"`
	RegisteredAt  time.Time `json:"registered-at"`
	LastHeartbeat time.Time `json:"last-heartbeat"`
	// RefusedCommands is how many commands of leaders that were deposed it has refused.
	RefusedCommands uint64   `json:"refused-commands"`
	Workers         []Worker `json:"workers"`
}

// Worker is the process of a job on a TaskManager.
type Worker struct {
	JobID string `json:"job-id"`
	PID   int    `json:"pid"`
}

// Leader says who leads.
type Leader struct {
	RESTAddress string `json:"rest-address"` // host:port
	RPCAddress  string `json:"rpc-address"`
	Epoch       uint64 `json:"epoch"`
	Self        bool   `json:"self"` // the JobManager that was asked is the leader
	// Takeover is said by the leader itself, if there were jobs to be taken over.
	Takeover *Takeover `json:"takeover,omitempty"`
}

// Takeover is the receipt of a leader for the jobs that it found on record.
type Takeover struct {
	Epoch uint64 `json:"epoch"`
	Jobs  int    `json:"jobs"`
	Open  int    `json:"open"` // of them: it is not known yet what runs
	// LeaderlessMS is how long the TaskManager that waited longest was without a leader.
	LeaderlessMS int64 `json:"leaderless-ms"`
	TookMS       int64 `json:"took-ms"`   // from the election to the last job
	Adopted      int   `json:"adopted"`   // attempts that went on as if nothing had happened
	Restarted    int   `json:"restarted"` // subtasks that were started again
}

// Check is one line of /readyz?verbose.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // why not
}

// Setting is one setting in effect, and where its value is from.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}
