package operator

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"time"
)

// NoTime is the event time of a record that has none. No record has it as its time.
const NoTime int64 = math.MinInt64

// Runtime is what the operators of one subtask attempt share with the loop that
// runs them. Apart from Attention it belongs to the loop's goroutine.
type Runtime struct {
	// Attention is raised when the loop must look up before the next record: a
	// mailbox command, an output without room, a failure. It is the only thing loaded
	// for each record.
	Attention atomic.Bool

	// Operator is the chain number of the operator whose code runs now. Collectors
	// and receivers keep it; it names the culprit of a panic.
	Operator int32

	// Time is the event time of the current record in ms since 1970; NoTime if it has
	// none.
	Time int64
	// WatermarkInterval is the time between watermarks; immutable after link.
	WatermarkInterval time.Duration
	// Split is the number of the split that the current record was read from; see
	// SplitReader. 0 if the reader does not tell its splits apart, and behind an edge.
	Split int32
	// Watermark is how far event time has come at the head of the chain, in ms since
	// 1970: no record with that time or an earlier one is expected any more. The runtime
	// fires timers up to it before the next record.
	Watermark int64

	// Turn is the wall clock as the loop read it at the beginning of its turn: at most a
	// batch ago. Records never read the clock.
	Turn time.Time

	// Immutable after link.
	Context     context.Context // done when the attempt is cancelled; for readers' and writers' I/O
	Log         *slog.Logger    // has job, uid and subtask
	Now         func() time.Time
	Subtask     int
	Parallelism int
	JobID       string
	JobName     string
	ClusterID   string
	Attempt     string // "e<epoch>.n<n>"
	Incarnation uint64
	Restored    bool // the attempt starts from a snapshot
	// Counters takes a new user counter, to publish it; nil publishes none.
	Counters func(*Counter)

	err      error
	failedBy int32
}

// Fail records err, unless an earlier one is there, and raises Attention: the
// loop stops before the next record and the attempt fails with it.
func (r *Runtime) Fail(err error) {
	if err == nil {
		return
	}
	if r.err == nil {
		r.err = err
		r.failedBy = r.Operator
	}
	r.Attention.Store(true)
}

// Err is the first error given to Fail, and the operator that gave it.
func (r *Runtime) Err() (op int32, err error) { return r.failedBy, r.err }
