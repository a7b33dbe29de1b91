package weir

import (
	"fmt"
	"math"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream/watermark"
	"github.com/weirstream/weir/taskmanager/task"
)

// TimeDomain says which clock a timer is of: ProcessingTime or EventTimeDomain.
type TimeDomain = operator.TimeDomain

// Clocks of timers; see Ctx.Timer.
const (
	ProcessingTime  = operator.ProcessingTime
	EventTimeDomain = operator.EventTimeDomain
)

// Watermarks says when event time advances, for the records of one split: what T says
// is seen by a generator, and how far time has come is asked every now and then.
type Watermarks[T any] interface {
	// NewGenerator makes the generator of one split.
	NewGenerator() WatermarkGenerator[T]
}

// WatermarkGenerator follows the records of one split. It belongs to one goroutine.
type WatermarkGenerator[T any] interface {
	// OnRecord sees a record and its event time, in ms since 1970.
	OnRecord(v T, at int64)
	// Watermark is how far time has come: no record of that time or before is expected of
	// the split. math.MinInt64 says that nothing is known yet. What is less than before
	// changes nothing.
	Watermark() int64
}

// OutOfOrder expects records to be at most bound later than others that are newer, in
// their split. It is what EventTime uses.
func OutOfOrder[T any](bound time.Duration) Watermarks[T] { return outOfOrder[T]{bound} }

// Monotonous expects the times of a split's records never to go back.
func Monotonous[T any]() Watermarks[T] { return outOfOrder[T]{0} }

// Punctuated advances time by what f says of a record: no record of that time or before
// follows in the split; ok is false for a record that says nothing.
func Punctuated[T any](f func(v T, at int64) (watermark int64, ok bool)) Watermarks[T] {
	return punctuated[T]{f}
}

type outOfOrder[T any] struct{ bound time.Duration }

// NewGenerator implements Watermarks.
func (o outOfOrder[T]) NewGenerator() WatermarkGenerator[T] {
	return &boundedGenerator[T]{bound: o.bound.Milliseconds(), latest: watermark.Min}
}

// boundedGenerator stands behind the latest record, and 1 ms more: others of its time
// may follow.
type boundedGenerator[T any] struct{ bound, latest int64 }

// OnRecord implements WatermarkGenerator.
func (g *boundedGenerator[T]) OnRecord(_ T, at int64) { g.latest = max(g.latest, at) }

// Watermark implements WatermarkGenerator.
func (g *boundedGenerator[T]) Watermark() int64 { return behind(g.latest, g.bound+1) }

// behind is at less ms, or the beginning of time.
func behind(at, ms int64) int64 {
	if at < math.MinInt64+ms {
		return math.MinInt64
	}
	return at - ms
}

type punctuated[T any] struct {
	f func(T, int64) (int64, bool)
}

// NewGenerator implements Watermarks.
func (p punctuated[T]) NewGenerator() WatermarkGenerator[T] {
	return &punctuatedGenerator[T]{p.f, watermark.Min}
}

type punctuatedGenerator[T any] struct {
	f  func(T, int64) (int64, bool)
	at int64
}

// OnRecord implements WatermarkGenerator.
func (g *punctuatedGenerator[T]) OnRecord(v T, at int64) {
	if w, ok := g.f(v, at); ok {
		g.at = max(g.at, w)
	}
}

// Watermark implements WatermarkGenerator.
func (g *punctuatedGenerator[T]) Watermark() int64 { return g.at }

// Defaults of event time.
const (
	// defaultIdleness is how long a split may have nothing before it stops holding event
	// time back.
	defaultIdleness = time.Minute
	// defaultMaxAhead is how far ahead of the wall clock a record may be and still advance
	// time: one bad clock must not close every window there is.
	defaultMaxAhead = 24 * time.Hour
)

// Idleness sets how long a split of a source may have nothing to read before it stops
// holding event time back; 0: it always does. The default is a minute. A split that has a
// next record, is paused or paced, or was not begun is never idle.
func Idleness(after time.Duration) Option {
	return optionFunc{optIdleness, func(o *options) {
		if after < 0 {
			o.err = fmt.Errorf("idleness after %v is not possible; 0 turns it off", after)
		}
		o.idleness = &after
	}}
}

// MaxAhead sets how far ahead of the wall clock the time of a record may be and still
// advance event time; 0: as far as it likes. The default is a day. Records that are
// further ahead are kept, and counted as "weir.records-ahead".
func MaxAhead(most time.Duration) Option {
	return optionFunc{optMaxAhead, func(o *options) {
		if most < 0 {
			o.err = fmt.Errorf("records %v ahead are not possible; 0 sets no bound", most)
		}
		o.maxAhead = &most
	}}
}

// AlignTime has the sources of a group wait for one another: one whose event time is more than
// most ahead of the earliest is not read until the others have come nearer, so that state
// for the time in between does not pile up. Its subtasks compare once a second. One that has
// not begun, is idle or has ended keeps nobody waiting.
func AlignTime(group string, most time.Duration) Option {
	return optionFunc{optAlignTime, func(o *options) {
		if group == "" || most <= 0 {
			o.err = fmt.Errorf("alignment of group %q within %v is not possible: it needs a name and a time", group, most)
		}
		o.timeGroup, o.maxDrift = group, most
	}}
}

// EventTime gives records the time that at says, and advances event time to bound behind
// the latest record of each split: that is how much later than others a record may come.
// Options: Named, Idleness, MaxAhead, AlignTime.
func (s *Stream[T]) EventTime(at func(T) time.Time, bound time.Duration, opts ...Option) *Stream[T] {
	var ms func(T) int64
	if at != nil {
		ms = func(v T) int64 { return operator.EventMillis(at(v)) }
	}
	if bound < 0 {
		s.env.fail(fmt.Errorf("event time %v behind the latest record is not possible", bound))
	}
	return s.Watermarks("", ms, OutOfOrder[T](bound), opts...)
}

// Watermarks gives records the time that at says, in ms since 1970 (nil: the one that
// their source has given them), and has w say how far event time has come.
// Options: Named, Idleness, MaxAhead, AlignTime.
func (s *Stream[T]) Watermarks(uid string, at func(T) int64, w Watermarks[T], opts ...Option) *Stream[T] {
	id := s.env.identify(uid, "time", s.from)
	o := s.env.options(id, opts, optIdleness, optMaxAhead, optAlignTime)
	if w == nil {
		s.env.fail(fmt.Errorf("%v: its watermarks are nil", id))
		w = Monotonous[T]()
	}
	return s.env.streamOf[T](s.env.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, opts: o, inputs: s.inputs(), timed: true,
		link: func(l *task.Linker) error {
			k := newTimeKeeper(l, at, w, o)
			k.out = task.Out[T](l)
			task.In(l, k)
			l.Lifecycle(k)
			return nil
		},
	}))
}

// timeKeeper is Watermarks in a subtask.
type timeKeeper[T any] struct {
	runs
	out        *operator.Collector[T]
	at         func(T) int64 // nil: records have a time
	watermarks Watermarks[T]
	bound      int64 // of an outOfOrder, whose generator is inlined here; -1: another
	idleness   time.Duration
	maxAhead   time.Duration
	group      string
	maxDrift   int64             // in ms, of group
	earliest   int64             // of group
	ahead      *operator.Counter // records whose time was too far ahead to count

	farthest int64 // the latest time that counts, by the clock at the last tick
	merged   *watermark.Merger
	splits   []splitTime[T] // by ActiveSplit.ID
	empty    time.Time      // since when there is no split at all; zero: there is one
}

// splitTime is what is known of a split.
type splitTime[T any] struct {
	input     int // of merged, from 1; 0: the split is not being read
	latest    int64
	records   uint64
	generator WatermarkGenerator[T] // nil where the bound will do

	// At the last tick.
	seen    uint64
	waiting time.Time // since when it has nothing; zero: it has, or may have
	active  bool
}

func newTimeKeeper[T any](l *task.Linker, at func(T) int64, w Watermarks[T], o options) *timeKeeper[T] {
	k := &timeKeeper[T]{
		runs: runsIn(l), at: at, watermarks: w, bound: -1, idleness: defaultIdleness, maxAhead: defaultMaxAhead,
		ahead: l.Setup(operator.KeyInfo{}).Counter("weir.records-ahead"),
	}
	k.configure(o)
	return k
}

func (k *timeKeeper[T]) configure(o options) {
	if b, ok := k.watermarks.(outOfOrder[T]); ok {
		k.bound = b.bound.Milliseconds()
	}
	if o.idleness != nil {
		k.idleness = *o.idleness
	}
	if o.maxAhead != nil {
		k.maxAhead = *o.maxAhead
	}
	k.group, k.maxDrift, k.earliest = o.timeGroup, o.maxDrift.Milliseconds(), watermark.Max
}

// TimeGroup implements operator.TimeAligner.
func (k *timeKeeper[T]) TimeGroup() string { return k.group }

// AlignTo implements operator.TimeAligner.
func (k *timeKeeper[T]) AlignTo(at int64) { k.earliest = at }

// Ahead implements operator.TimeAligner.
func (k *timeKeeper[T]) Ahead() bool {
	at := k.merged.At()
	return k.group != "" && at > watermark.Min && behind(at, k.maxDrift) > k.earliest
}

// Resume implements operator.TimeKeeper.
func (k *timeKeeper[T]) Resume(at int64) {
	k.merged = watermark.Dynamic(at)
	k.look(k.rt.Turn)
}

// look reads the wall clock, for records that are ahead of it.
func (k *timeKeeper[T]) look(now time.Time) {
	if k.farthest = watermark.Max; k.maxAhead > 0 {
		k.farthest = operator.EventMillis(now.Add(k.maxAhead))
	}
}

// Receive implements operator.Receiver.
func (k *timeKeeper[T]) Receive(v T) {
	k.enter()
	at := k.rt.Time
	if k.at != nil {
		at = max(k.at(v), operator.NoTime+1)
		k.rt.Time = at
	}
	if int(k.rt.Split) >= len(k.splits) {
		k.grow(k.rt.Split)
	}
	s := &k.splits[k.rt.Split]
	s.records++
	switch {
	case at > k.farthest:
		k.ahead.Add(1)
	case k.bound >= 0:
		if at > s.latest {
			s.latest = at
		}
	default:
		s.generator.OnRecord(v, at)
	}
	k.out.Emit(v)
}

// grow makes room for the split with that number.
func (k *timeKeeper[T]) grow(id int32) {
	for int(id) >= len(k.splits) {
		k.splits = append(k.splits, k.newSplit())
	}
}

func (k *timeKeeper[T]) newSplit() splitTime[T] {
	s := splitTime[T]{latest: watermark.Min}
	if k.bound < 0 {
		s.generator = k.watermarks.NewGenerator()
	}
	return s
}

// Tick implements operator.TimeKeeper.
func (k *timeKeeper[T]) Tick(now time.Time, active []operator.ActiveSplit, stalled bool) (t operator.Tick) {
	k.enter()
	k.look(now)
	for i := range k.splits {
		k.splits[i].active = false
	}
	for _, a := range active { // first, so that time has somebody to wait for
		k.grow(a.ID)
		s := &k.splits[a.ID]
		if s.active = true; s.input == 0 {
			s.input = k.merged.Add() + 1
		}
	}
	for i := range k.splits {
		if s := &k.splits[i]; s.input > 0 && !s.active { // read to its end
			k.merged.End(s.input - 1)
			k.splits[i] = k.newSplit()
		}
	}
	for _, a := range active {
		t.Wait = sooner(t.Wait, k.follow(&k.splits[a.ID], now, a.Waiting && !stalled))
	}
	t.Watermark, t.Idle, t.Holder = k.merged.At(), k.merged.Idle(), k.holder()
	if len(active) > 0 || stalled {
		k.empty = time.Time{}
	} else {
		left := k.idleFor(&k.empty, now)
		t.Idle, t.Wait = left < 0, sooner(t.Wait, left)
	}
	return t
}

// holder is the split that time waits for.
func (k *timeKeeper[T]) holder() int32 {
	if input, ok := k.merged.Holder(); ok {
		for id := range k.splits {
			if k.splits[id].input == input+1 {
				return int32(id)
			}
		}
	}
	return -1
}

// follow brings the merged watermark up to date with a split; wait is when it would be
// idle.
func (k *timeKeeper[T]) follow(s *splitTime[T], now time.Time, waiting bool) (wait time.Duration) {
	if s.records != s.seen || !waiting {
		s.seen, s.waiting = s.records, time.Time{}
	}
	if waiting {
		if wait = k.idleFor(&s.waiting, now); wait < 0 {
			k.merged.Pause(s.input - 1)
			return 0
		}
	}
	at := behind(s.latest, k.bound+1)
	if s.generator != nil {
		at = s.generator.Watermark()
	}
	k.merged.Advance(s.input-1, at)
	return wait
}

// idleFor is how long it takes until what has waited since a time is idle; negative: it
// is. 0: it never will be.
func (k *timeKeeper[T]) idleFor(since *time.Time, now time.Time) time.Duration {
	if since.IsZero() {
		*since = now
	}
	if k.idleness == 0 {
		return 0
	}
	if left := k.idleness - now.Sub(*since); left > 0 {
		return left
	}
	return -1
}

// sooner is the shorter of two waits; one that is not positive is none.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}
