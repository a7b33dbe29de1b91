package taskmanager

import (
	"github.com/weirstream/weir/proto/metapb"
)

// Launcher starts workers: as processes on a host, as objects of this process in
// local mode.
type Launcher interface {
	// NeedsBinary reports whether Launch wants the path of a job binary.
	NeedsBinary() bool
	Launch(WorkerSpec) (Process, error)
}

// WorkerSpec is what a worker is started with.
type WorkerSpec struct {
	Binary   string
	Args     []string          // of the program, as at submission
	Params   []*metapb.Setting // environment that the program read at submission
	JobID    string
	WorkerID uint64
	Host     string // address on which it takes records
	Agent    string // path of the agent's socket
	Logs     string // folder for its output
	Dir      string // its own folder
	Memory   int64  // bytes: its share
}

// Process is a running worker.
type Process interface {
	PID() int
	// Wait returns when the worker has ended.
	Wait() Exit
	// Terminate asks it to end; Kill ends it.
	Terminate()
	Kill()
}

// Exit says how a worker ended.
type Exit struct {
	Reason       string // one line
	UserError    bool   // the program itself is at fault
	NeverStarted bool   // it ended before it attached
}
