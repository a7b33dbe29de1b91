// Package align decides, for one subtask, when a barrier is complete, which channels
// wait for it, and which channels' records it overtakes.
//
// A checkpoint begins aligned: a channel whose barrier has come waits until all have.
// When the barrier is older than its alignment timeout (counted from injection), or
// comes as an unaligned one, it overtakes: the checkpoint starts at once, and what is
// still before the barrier on the other channels is captured, as part of the snapshot.
// Channels that must not be overtaken (Options.Overtakes) are waited for all the same.
//
// It is a pure step function with two callers in mind: the loop of taskmanager/task
// and the simulator. It never blocks, reads no clock (durations come with the
// events) and holds no record.
//
// Invariants: I9 (the barriers that a subtask starts or aborts strictly increase;
// between Start and the end of its snapshot no record from behind a barrier is
// processed, because its channel is blocked until Start; and every record from before
// it is in the snapshot, processed or captured) and I11 (an aborted checkpoint never
// keeps a channel blocked).
//
// Read event.go, then align.go (diagram and transitions).
package align
