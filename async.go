package weir

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/operator/requests"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/task"
)

// Names of the options of AsyncMap in messages.
const (
	optOrdered  = "Ordered"
	optCapacity = "Capacity"
	optTimeout  = "Timeout"
	optRetry    = "Retry"
)

// Defaults of asynchronous operators. The capacity is Flink's.
const (
	defaultCapacity       = 100
	defaultRequestTimeout = time.Minute
)

// Ordered has an AsyncMap or AsyncFlatMap emit results in the order of the records, at the
// price that one slow request holds the others' results back.
var Ordered Option = optionFunc{optOrdered, func(o *options) { o.asking.Ordered = true }}

// Capacity sets how many requests an AsyncMap or AsyncFlatMap has under way at most in each
// subtask; the default is 100. Records wait while there are so many.
func Capacity(n int) Option {
	return optionFunc{optCapacity, func(o *options) {
		if n < 1 {
			o.err = fmt.Errorf("a capacity of %d requests is not possible, the least is 1", n)
		}
		o.asking.Capacity = n
	}}
}

// Timeout bounds each request of an AsyncMap or AsyncFlatMap, its repetitions included; the
// default is a minute, 0 sets no bound. One that takes longer has failed.
func Timeout(most time.Duration) Option {
	return optionFunc{optTimeout, func(o *options) {
		if most < 0 {
			o.err = fmt.Errorf("a timeout of %v is not possible; 0 sets no bound", most)
		}
		o.timeout = &most
	}}
}

// Retry has a request that failed made again, up to attempts times in all, with pauses of
// first, twice that, and so on up to most. Without it none is.
func Retry(attempts int, first, most time.Duration) Option {
	return optionFunc{optRetry, func(o *options) {
		if attempts < 1 || first < 0 || most < first {
			o.err = fmt.Errorf("%d attempts with pauses of %v up to %v are not possible", attempts, first, most)
		}
		o.asking.Attempts, o.asking.Backoff, o.asking.MaxBackoff = attempts, first, most
	}}
}

// AsyncMap asks another system about each record: many requests are under way at once, each
// a call of f in a goroutine of its own, which must heed ctx and touch no state of the job's.
// Results come as they are ready, but never on the other side of a watermark than their
// record; see Ordered. An error of f, after Retry, fails the job unless the option DeadLetters
// is given. Records that were asked about at a checkpoint are asked about again after
// a restore.
// Options: Named, Parallelism, Ordered, Capacity, Timeout, Retry, DeadLetters.
func (s *Stream[T]) AsyncMap[U any](uid string, f func(ctx context.Context, v T) (U, error), opts ...Option) *Stream[U] {
	return async(s, uid, "asyncmap", f != nil, opts, requests.Options[T, U]{One: f})
}

// AsyncFlatMap is AsyncMap with any number of results for each record.
func (s *Stream[T]) AsyncFlatMap[U any](uid string, f func(ctx context.Context, v T) ([]U, error), opts ...Option) *Stream[U] {
	return async(s, uid, "asyncflatmap", f != nil, opts, requests.Options[T, U]{Many: f})
}

func async[T, U any](s *Stream[T], uid, verb string, given bool, opts []Option, ask requests.Options[T, U]) *Stream[U] {
	e := s.env
	id := e.identify(uid, verb, s.from)
	o := e.options(id, opts, optDeadLetters, optOrdered, optCapacity, optTimeout, optRetry)
	e.given(id, given)
	ask.Asking = asking(o)
	tag, sorts := deadLetters[T](e, id, o)
	setup := operator.PlanSetupIn(id.uid, operator.KeyInfo{}, &e.types)
	setup.Requests[T]()
	if sorts {
		setup.Side(tag)
	}
	e.fail(setup.Err())
	return e.streamOf[U](e.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, opts: o, inputs: s.inputs(),
		planned: planned{states: setup.Declared(), sides: setup.Sides()},
		link: func(l *task.Linker) error {
			ask, setup := ask, l.Setup(operator.KeyInfo{})
			rt, dead := l.Runtime(), linkLetters(l, setup, tag, sorts)
			ask.Runtime, ask.Number, ask.State = rt, l.Number(), setup.Requests[T]()
			ask.Emit = task.Out[U](l).Emit
			ask.Failed = func(v T, err error) { dead.sort(rt, v, err) }
			ask.Pass, ask.Wake = l.Asynchronous()
			r := requests.New(ask)
			task.In(l, r)
			l.Lifecycle(r)
			return nil
		},
	}))
}

// asking is o with what was not given.
func asking(o options) operator.Asking {
	a := o.asking
	if a.Capacity == 0 {
		a.Capacity = defaultCapacity
	}
	if a.Attempts == 0 {
		a.Attempts = 1
	}
	if a.Timeout = defaultRequestTimeout; o.timeout != nil {
		a.Timeout = *o.timeout
	}
	return a
}
