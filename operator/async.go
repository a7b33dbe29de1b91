package operator

import (
	"time"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Asynchronous is implemented by operators whose results come later than the call with
// the record returns: meanwhile others are taken. The loop asks between batches; nothing of
// it may block.
type Asynchronous interface {
	// Room reports whether the operator wants another record now. Where it stops wanting
	// any it raises Runtime.Attention.
	Room() bool
	// Pending reports whether there are records whose results were not handed on.
	Pending() bool
	// Advance hands on results that have come since, about a batch at most, and reports
	// whether there were any.
	Advance() (progress bool)
	// Hold takes what is told of event time. It must not overtake records: the operator
	// gives it to the function that registering it returned, in the order in which it came,
	// once the results of all records before it have been handed on.
	Hold(e stream.Event)
}

// Request is a record that waits for its result, in a snapshot.
type Request[T any] struct {
	Record T
	Time   int64 // event time, NoTime if it has none
}

// Asking is how an asynchronous operator asks.
type Asking struct {
	// Ordered keeps results in the order of the records. Without it only watermarks, and
	// records around them, stay where they are.
	Ordered bool
	// Capacity is how many requests are under way at most.
	Capacity int
	// Timeout bounds a request, repetitions included; 0: nothing does.
	Timeout time.Duration
	// Attempts is how often a request is made at most, Backoff how long the first pause
	// between two is; each is twice as long as the one before, up to MaxBackoff.
	Attempts            int
	Backoff, MaxBackoff time.Duration
}

// Requests declares what an asynchronous operator of records of T keeps. For the runtime.
func (s *Setup) Requests[T any]() *OperatorList[Request[T]] {
	return listOf[Request[T]](s, requestsName, metapb.StateKind_STATE_KIND_SPLIT_LIST)
}
