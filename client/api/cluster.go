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
	Workers       []Worker  `json:"workers"`
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
