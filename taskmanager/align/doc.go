// Package align decides, for one subtask, when a barrier is complete and which
// channels wait for it.
//
// It is a pure step function with two callers in mind: the loop of taskmanager/task
// and the simulator. It never blocks, reads no clock (durations come with the
// events) and holds no record.
//
// Invariants: I9 (the barriers that a subtask starts or aborts strictly increase;
// between Start and the end of its snapshot no record from behind a barrier is
// processed, because its channel is blocked until Start) and I11 (an aborted
// checkpoint never keeps a channel blocked).
//
// Read event.go, then align.go (diagram and transitions).
package align
