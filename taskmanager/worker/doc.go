// Package worker hosts the subtasks of one job on one TaskManager. It is linked
// into the job binary: the agent starts the binary again as a worker, the worker
// builds the program, compares its plan with the submitted one, and runs what it
// is told to deploy.
//
// It owns the worker's end of the data path (exchange.Network), the division of the
// worker's memory, and the fabrics and tasks of each deployment. It decides nothing
// about failures: subtasks report, the JobManager decides.
//
// # Goroutines
//
// One loop, Run, owns all fields of Worker. Around it one goroutine reads the
// agent's stream and one writes to it, each subtask runs in one of its own, and one
// watches each fabric for broken peers. When a deployment comes while subtasks of
// an older one have not returned, it waits; after two seconds the worker gives up,
// because a goroutine stuck in user code can't be ended in any other way than with
// its process (I2).
//
// Read worker.go, then deploy.go, memory.go and report.go.
package worker
