package operator

import "github.com/weirstream/weir/stream"

// Sink makes the writers of a stream's end. A Sink value is configuration.
type Sink[T any] interface {
	// NewWriter makes the writer of one subtask. State is declared through setup,
	// which also runs at plan time: then the writer is thrown away unopened.
	NewWriter(setup *Setup) (Writer[T], error)
}

// Writer writes the records of one sink subtask. It may also implement Opener,
// Preparer, Committer, EndOfInput and Closer.
type Writer[T any] interface {
	Write(v T) error
}

// Opener is implemented by operators and writers that open something before the
// first record; state has been restored by then.
type Opener interface{ Open() error }

// Closer is implemented by operators and writers that hold something. Close is
// called once, also after a failure.
type Closer interface{ Close() error }

// Ender is implemented by operators and writers that have something to do or to
// emit when all inputs have ended: once, also over a restore, before the terminal
// checkpoint.
type Ender interface{ EndOfInput() error }

// StepEnder is Ender for those that have much to emit: EndOfInputStep is called,
// each time with room in the outputs, until it is done. No snapshot is taken
// between its first and its last call.
type StepEnder interface {
	EndOfInputStep() (done bool, err error)
}

// Preparer is implemented by writers that keep results back until a checkpoint
// completes. Prepare is called after the barrier has been forwarded and before the
// snapshot: what it makes durable and keeps in its state is what Commit will
// publish. Nothing is rolled back when the checkpoint fails: what was prepared
// stays in the state and is committed with the first checkpoint that completes. An
// error fails the attempt: what a failed flush has lost cannot be prepared again.
type Preparer interface {
	Prepare(id stream.CheckpointID) error
}

// Committer is implemented by what publishes at a completed checkpoint.
type Committer interface {
	// Commit publishes everything prepared at or before id, which has completed.
	// It may be called more than once, for ids never prepared here, and after a
	// restore (with the restored id): it must be idempotent. An error fails the
	// attempt.
	Commit(id stream.CheckpointID) error
}

// Snapshotter is implemented by operators that keep state the runtime does not
// know of in handles declared through Setup; Snapshot brings the handles up to
// date before they are read.
type Snapshotter interface {
	Snapshot(id stream.CheckpointID) error
}
