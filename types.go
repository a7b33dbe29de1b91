package weir

import (
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
)

// What operators, sources and sinks are made of; the same types under the name
// that jobs import.
type (
	// Setup declares an operator's state, results and counters in its factory.
	Setup = operator.Setup
	// Ctx is what a keyed operator knows of the current record: its key, its time,
	// and the timers of its key.
	Ctx[K any] = operator.Ctx[K]
	// Collector is where an operator emits.
	Collector[T any] = operator.Collector[T]
	// Source makes the records of a stream; see the packages below connectors.
	Source[T any] = operator.Source[T]
	// Sink takes the records at a stream's end.
	Sink[T any] = operator.Sink[T]
	// Writer writes the records of one sink subtask.
	Writer[T any] = operator.Writer[T]

	// OperatorList is state of a subtask: a split list or a union list.
	OperatorList[E any] = operator.OperatorList[E]
	// Sum and Text are named results of the job.
	Sum  = operator.Sum
	Text = operator.Text

	// Value, List and Map are kinds of keyed state.
	Value[V any]             = table.Value[V]
	List[V any]              = table.List[V]
	Map[K comparable, V any] = table.Map[K, V]
)

// Self is the key function of a stream whose records are the keys.
func Self[T any](v T) T { return v }

// Processor is an operator on a keyed stream: K is the key, T what comes in, B
// what goes out. State handles come from the *Setup that its factory is given.
//
// It may also have these methods, found when the job is planned; one that has the
// right name and another signature is refused:
//
//	Open() error                                        // before the first record; state is there
//	OnTimer(c *weir.Ctx[K], out *weir.Collector[B]) error  // a timer of the key fired
//	EndOfInput(out *weir.Collector[B]) error            // all inputs have ended; once, also over a restore
//	Snapshot(id stream.CheckpointID) error              // bring the state handles up to date
//	Prepare(id), Commit(id stream.CheckpointID) error   // see operator.Preparer, operator.Committer
//	Close() error                                       // once, also after a failure
type Processor[K comparable, T, B any] interface {
	Process(c *Ctx[K], v T, out *Collector[B]) error
}

// StreamProcessor is an operator on a stream that is not keyed. It has split-list
// and union state only, and the optional methods of Processor without OnTimer.
type StreamProcessor[T, B any] interface {
	Process(v T, out *Collector[B]) error
}
