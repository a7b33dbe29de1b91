package weirtest

import (
	"maps"
	"math"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Start is where the processing-time clock of a Harness stands at first.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Harness runs one operator or sink writer: T is what it takes, B what it emits. At
// first it has one subtask; RestoreAt gives it others.
type Harness[T, B any] struct {
	t    testing.TB
	make func(s *subtask[T, B], setup *operator.Setup) error
	info operator.KeyInfo
	hash func(v T) uint64 // of the key; nil: not keyed

	declared []*metapb.State
	ids      map[string]statebackend.StateID

	subtasks    []*subtask[T, B] // those that run
	incarnation uint64           // of them, from 1
	turn        int              // without a key: whose record is the next
	now         time.Time
	reached     int64 // by event time
	output      []B
	sides       map[string][]any
	cuts        stream.CheckpointID
	disk        *disk
}

// Keyed runs an operator for a keyed stream, as Keyed.Process does.
func Keyed[K comparable, T, B any, P weir.Processor[K, T, B]](t testing.TB, factory func(*weir.Setup) P, key func(T) K) *Harness[T, B] {
	t.Helper()
	keys, err := codec.ForKey[K]()
	if err != nil {
		t.Fatal(err)
	}
	h := &Harness[T, B]{t: t, info: operator.KeyInfoOf(keys), hash: func(v T) uint64 { return keys.Hash(key(v)) }}
	h.make = func(s *subtask[T, B], setup *operator.Setup) error {
		p := factory(setup)
		if err := weir.CheckOperator[K, B](p, true); err != nil {
			return err
		}
		out := operator.NewCollector[B](s.rt, 0, collect[T, B]{h})
		hook, timed := any(p).(interface {
			OnTimer(*weir.Ctx[K], *weir.Collector[B]) error
		})
		if timed {
			s.timers, s.events = setup.Timers(), setup.EventTimers()
		}
		s.attach(p, out)
		if s.store == nil {
			return nil // planning
		}
		cursor := operator.NewKeyCursor(setup, keys, timed)
		s.receive = func(v T) {
			k := key(v)
			if cursor.Set(keys.Hash(k), k) {
				s.rt.Fail(p.Process(cursor.Ctx(), v, out))
			}
		}
		s.timer = timerOf(cursor, hook, out)
		return nil
	}
	return h.begin()
}

// timerHook is implemented by operators that have a timer callback.
type timerHook[K comparable, B any] interface {
	OnTimer(*weir.Ctx[K], *weir.Collector[B]) error
}

// timerOf calls an operator for a timer that is due.
func timerOf[K comparable, B any](cursor *operator.KeyCursor[K], hook timerHook[K, B], out *weir.Collector[B]) func(table.Timer, operator.TimeDomain) error {
	return func(due table.Timer, d operator.TimeDomain) error {
		if err := cursor.SetTimer(due, d); err != nil {
			return err
		}
		defer cursor.EndTimer()
		return hook.OnTimer(cursor.Ctx(), out)
	}
}

// Either is a record of the one or of the other input of a connected operator.
type Either[L, R any] = weir.Either[L, R]

// Left is a record of the first input.
func Left[R, L any](v L) Either[L, R] { return Either[L, R]{Left: v} }

// Right is a record of the second input.
func Right[L, R any](v R) Either[L, R] { return Either[L, R]{Right: v, IsRight: true} }

// Connected runs an operator for two keyed streams, as Keyed.Connect does.
func Connected[K comparable, L, R, B any, P weir.CoProcessor[K, L, R, B]](t testing.TB, factory func(*weir.Setup) P, left func(L) K, right func(R) K) *Harness[Either[L, R], B] {
	t.Helper()
	key := func(v Either[L, R]) K {
		if v.IsRight {
			return right(v.Right)
		}
		return left(v.Left)
	}
	return Keyed(t, func(s *weir.Setup) weir.Processor[K, Either[L, R], B] {
		p := either[K, L, R, B]{factory(s)}
		if hook, ok := any(p.p).(timerHook[K, B]); ok {
			return &timedEither[K, L, R, B]{p, hook}
		}
		return p
	}, key)
}

// either is a connected operator whose inputs are one.
type either[K comparable, L, R, B any] struct{ p weir.CoProcessor[K, L, R, B] }

// Process implements weir.Processor.
func (e either[K, L, R, B]) Process(c *weir.Ctx[K], v Either[L, R], out *weir.Collector[B]) error {
	if v.IsRight {
		return e.p.ProcessRight(c, v.Right, out)
	}
	return e.p.ProcessLeft(c, v.Left, out)
}

// timedEither is either with a timer callback.
type timedEither[K comparable, L, R, B any] struct {
	either[K, L, R, B]
	timerHook[K, B]
}

// Stream runs an operator for a stream without a key, as Stream.Process does.
func Stream[T, B any, P weir.StreamProcessor[T, B]](t testing.TB, factory func(*weir.Setup) P) *Harness[T, B] {
	t.Helper()
	h := &Harness[T, B]{t: t}
	h.make = func(s *subtask[T, B], setup *operator.Setup) error {
		p := factory(setup)
		if err := weir.CheckOperator[string, B](p, false); err != nil {
			return err
		}
		out := operator.NewCollector[B](s.rt, 0, collect[T, B]{h})
		s.attach(p, out)
		s.receive = func(v T) { s.rt.Fail(p.Process(v, out)) }
		return nil
	}
	return h.begin()
}

// Sink runs a writer of sink. It emits nothing.
func Sink[T any](t testing.TB, sink weir.Sink[T]) *Harness[T, struct{}] {
	t.Helper()
	h := &Harness[T, struct{}]{t: t}
	h.make = func(s *subtask[T, struct{}], setup *operator.Setup) error {
		w, err := sink.NewWriter(setup)
		if err != nil {
			return err
		}
		s.attach(w, operator.NewCollector[struct{}](s.rt, 0, collect[T, struct{}]{h}))
		s.receive = func(v T) { s.rt.Fail(w.Write(v)) }
		return nil
	}
	return h.begin()
}

// collect is the end of an operator's output.
type collect[T, B any] struct{ h *Harness[T, B] }

// Receive implements operator.Receiver.
func (c collect[T, B]) Receive(v B) { c.h.output = append(c.h.output, v) }

// begin plans the operator and starts its first subtask.
func (h *Harness[T, B]) begin() *Harness[T, B] {
	h.t.Helper()
	h.now = Start
	setup := operator.PlanSetup(uid, h.info)
	if err := h.make(&subtask[T, B]{h: h, rt: setup.Runtime()}, setup); err != nil {
		h.t.Fatalf("plan the operator: %v", err)
	}
	if err := setup.Err(); err != nil {
		h.t.Fatalf("plan the operator: %v", err)
	}
	h.declared, h.sides = setup.Declared(), map[string][]any{}
	for _, s := range setup.Sides() {
		h.sides[s.Name] = nil
	}
	h.start(1, &Snapshot{})
	h.t.Cleanup(h.close)
	return h
}

// start starts n subtasks from a snapshot.
func (h *Harness[T, B]) start(n int, from *Snapshot) {
	h.t.Helper()
	h.ids = maps.Clone(from.ids)
	if h.ids == nil {
		h.ids = map[string]statebackend.StateID{}
	}
	for _, d := range h.declared {
		if _, ok := h.ids[d.Name]; !ok {
			h.ids[d.Name] = statebackend.StateID(len(h.ids) + 1)
		}
	}
	if h.incarnation++; from.disk != nil {
		h.disk = from.disk
	} else if h.disk == nil {
		h.disk = &disk{files: map[string][]byte{}}
	}
	h.turn = 0
	parts, err := h.divide(n, from)
	if err != nil {
		h.t.Fatalf("restore at parallelism %d: %v", n, err)
	}
	h.reached = math.MaxInt64
	for i := range n {
		if from.id == 0 {
			parts[i].Watermark = restore.NoWatermark
		}
		h.reached = min(h.reached, parts[i].Watermark)
		h.subtasks = append(h.subtasks, h.newSubtask(i, n, from, parts[i]))
	}
	for _, s := range h.subtasks {
		s.open()
	}
	if from.id > 0 {
		h.commit(from.id)
	}
}

// divide gives each of n subtasks its part of a snapshot, as the JobManager does.
func (h *Harness[T, B]) divide(n int, from *Snapshot) ([]restore.Operator, error) {
	const source = "source"
	op := &metapb.Operator{
		Uid: uid, Kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, States: h.declared,
		Inputs: []*metapb.Input{{Distribution: metapb.Distribution_DISTRIBUTION_HASH}},
	}
	graph, err := job.NewGraph(&metapb.Plan{Operators: []*metapb.Operator{{Uid: source, Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE}, op}}, n)
	if err != nil {
		return nil, err
	}
	var m *metapb.CheckpointMetadata
	if from.id > 0 {
		m = &metapb.CheckpointMetadata{CheckpointId: uint64(from.id), Operators: []*metapb.OperatorSnapshot{{
			Uid: uid, Parallelism: uint32(len(from.subtasks)), Subtasks: from.subtasks,
		}}}
	}
	plan, err := restore.Plan(m, graph, restore.Options{})
	if err != nil {
		return nil, err
	}
	parts := make([]restore.Operator, n)
	for _, s := range plan {
		for _, part := range s.Operators {
			if part.UID == uid {
				parts[s.ID.Index] = part
			}
		}
	}
	return parts, nil
}

// Push hands the operator a record with event time at: the subtask that its key belongs
// to, or each in turn. An error of the operator fails the test.
func (h *Harness[T, B]) Push(at time.Time, v T) {
	h.t.Helper()
	s := h.receiver(v)
	s.check("Process", s.push(at, v))
}

// TryPush is Push for a record that the operator may refuse.
func (h *Harness[T, B]) TryPush(at time.Time, v T) error {
	h.t.Helper()
	return h.receiver(v).push(at, v)
}

// receiver is the subtask that gets v.
func (h *Harness[T, B]) receiver(v T) *subtask[T, B] {
	if h.hash != nil {
		return h.subtasks[stream.SubtaskOf(stream.GroupOf(h.hash(v)), len(h.subtasks))]
	}
	h.turn++
	return h.subtasks[(h.turn-1)%len(h.subtasks)]
}

// Advance moves the processing-time clock on by d and fires the timers that are due
// on the way, each at its time.
func (h *Harness[T, B]) Advance(d time.Duration) {
	h.t.Helper()
	until := h.now.Add(d)
	for {
		next := until
		found := false
		for _, s := range h.subtasks {
			if at, ok := s.next(); ok && !at.After(next) {
				next, found = at, true
			}
		}
		if !found {
			break
		}
		if next.After(h.now) {
			h.setClock(next)
		}
		for _, s := range h.subtasks {
			s.fire()
		}
	}
	h.setClock(until)
}

func (h *Harness[T, B]) setClock(now time.Time) {
	h.now = now
	for _, s := range h.subtasks {
		s.rt.Turn = now
	}
}

// Now is where the processing-time clock stands.
func (h *Harness[T, B]) Now() time.Time { return h.now }

// Watermark advances event time to at, in every subtask, and fires the timers up to it,
// each at its time. It does not go back.
func (h *Harness[T, B]) Watermark(at time.Time) {
	h.t.Helper()
	h.watermark(operator.EventMillis(at))
}

func (h *Harness[T, B]) watermark(at int64) {
	h.t.Helper()
	h.reached = max(h.reached, at)
	for _, s := range h.subtasks {
		s.advance(h.reached)
	}
}

// EndOfInput ends the input: time is at its end, so all event-time timers fire, and the operator's EndOfInput runs, once in each subtask, also
// over a Restore.
func (h *Harness[T, B]) EndOfInput() {
	h.t.Helper()
	h.watermark(math.MaxInt64)
	for _, s := range h.subtasks {
		s.endOfInput()
	}
}

// Snapshot takes a checkpoint: what the operator prepares is prepared. It is not
// completed; see Complete.
func (h *Harness[T, B]) Snapshot() *Snapshot {
	h.t.Helper()
	h.cuts++
	snapshot := &Snapshot{id: h.cuts, disk: h.disk, ids: maps.Clone(h.ids), cells: map[string][]byte{}}
	for _, s := range h.subtasks {
		s.snapshot(snapshot)
	}
	return snapshot
}

// Complete says that a checkpoint has completed: what was prepared is committed.
func (h *Harness[T, B]) Complete(s *Snapshot) {
	h.t.Helper()
	h.commit(s.id)
}

func (h *Harness[T, B]) commit(id stream.CheckpointID) {
	h.t.Helper()
	for _, s := range h.subtasks {
		s.commit(id)
	}
}

// Restore gives the running subtasks up, as a failure does, and starts as many as s
// is of, which counts as completed. Output emitted before stays. s may be of another
// Harness: of an older version of the operator.
func (h *Harness[T, B]) Restore(s *Snapshot) {
	h.t.Helper()
	h.RestoreAt(len(s.subtasks), s)
}

// RestoreAt is Restore at another parallelism: keyed state goes where the keys go, split
// lists are dealt out, union lists go to every subtask.
func (h *Harness[T, B]) RestoreAt(parallelism int, s *Snapshot) {
	h.t.Helper()
	if parallelism < 1 || parallelism > stream.KeyGroups {
		h.t.Fatalf("RestoreAt(%d): a parallelism is 1 to %d", parallelism, stream.KeyGroups)
	}
	h.close()
	h.cuts = max(h.cuts, s.id)
	h.start(parallelism, s)
}

func (h *Harness[T, B]) close() {
	for _, s := range h.subtasks {
		s.close()
	}
	h.subtasks = nil
}

// Side is what was emitted to a side output since the last call.
func (h *Harness[T, B]) Side[U any](tag weir.Tag[U]) []U {
	h.t.Helper()
	if _, declared := h.sides[tag.Name()]; !declared {
		h.t.Fatalf("Side(%q): the operator declares no such side output", tag.Name())
	}
	var all []U
	for _, v := range h.sides[tag.Name()] {
		all = append(all, v.(U))
	}
	h.sides[tag.Name()] = nil
	return all
}

// Output is what was emitted since the last call.
func (h *Harness[T, B]) Output() []B {
	out := h.output
	h.output = nil
	return out
}

// Results are the operator's named results, as they will be the job's: uint64 for a sum,
// string for a text.
func (h *Harness[T, B]) Results() map[string]any {
	h.t.Helper()
	var parts []*metapb.Result
	for _, s := range h.subtasks {
		parts = append(parts, s.results()...)
	}
	merged, err := job.MergeResults(parts)
	if err != nil {
		h.t.Fatalf("merge results: %v", err)
	}
	all := map[string]any{}
	for _, r := range merged {
		switch v := r.Value.(type) {
		case *metapb.Result_Sum:
			all[r.Name] = v.Sum
		case *metapb.Result_Text:
			all[r.Name] = v.Text
		}
	}
	return all
}
