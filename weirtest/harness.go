package weirtest

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Start is where the processing-time clock of a Harness stands at first.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// uid is the operator's in messages.
const uid = "under-test"

// Harness runs one operator or sink writer: T is what it takes, B what it emits.
type Harness[T, B any] struct {
	t    testing.TB
	make func(h *Harness[T, B], setup *operator.Setup) error
	info operator.KeyInfo

	declared []*metapb.State
	ids      map[string]statebackend.StateID

	// The running instance.
	rt      *operator.Runtime
	setup   *operator.Setup
	store   *table.Store // nil unless keyed
	runs    *cells       // what all cuts so far add up to
	receive func(v T)
	hooks   []any
	end     func() error
	timer   func(t table.Timer) error
	timers  *table.Timers
	ended   bool

	now    time.Time
	output []B
	cuts   stream.CheckpointID
}

// Snapshot is the state of an operator, as a checkpoint would have it.
type Snapshot struct {
	id    stream.CheckpointID
	cells map[string][]byte
	state *metapb.SubtaskSnapshot
	ids   map[string]statebackend.StateID
}

// Keyed runs an operator for a keyed stream, as Keyed.Process does.
func Keyed[K comparable, T, B any, P weir.Processor[K, T, B]](t testing.TB, factory func(*weir.Setup) P, key func(T) K) *Harness[T, B] {
	t.Helper()
	keys, err := codec.ForKey[K]()
	if err != nil {
		t.Fatal(err)
	}
	h := &Harness[T, B]{t: t, info: operator.KeyInfoOf(keys)}
	h.make = func(h *Harness[T, B], setup *operator.Setup) error {
		p := factory(setup)
		if err := weir.CheckOperator[K, B](p, true); err != nil {
			return err
		}
		out := operator.NewCollector[B](h.rt, 0, collect[T, B]{h})
		hook, timed := any(p).(interface {
			OnTimer(*weir.Ctx[K], *weir.Collector[B]) error
		})
		if timed {
			h.timers = setup.Timers()
		}
		h.attach(p, out)
		if h.store == nil {
			return nil // planning
		}
		cursor := operator.NewKeyCursor(setup, keys, h.timers)
		h.receive = func(v T) {
			k := key(v)
			if cursor.Set(keys.Hash(k), k) {
				h.rt.Fail(p.Process(cursor.Ctx(), v, out))
			}
		}
		h.timer = func(due table.Timer) error {
			if err := cursor.SetTimer(due); err != nil {
				return err
			}
			return hook.OnTimer(cursor.Ctx(), out)
		}
		return nil
	}
	return h.begin()
}

// Stream runs an operator for a stream without a key, as Stream.Process does.
func Stream[T, B any, P weir.StreamProcessor[T, B]](t testing.TB, factory func(*weir.Setup) P) *Harness[T, B] {
	t.Helper()
	h := &Harness[T, B]{t: t}
	h.make = func(h *Harness[T, B], setup *operator.Setup) error {
		p := factory(setup)
		if err := weir.CheckOperator[string, B](p, false); err != nil {
			return err
		}
		out := operator.NewCollector[B](h.rt, 0, collect[T, B]{h})
		h.attach(p, out)
		h.receive = func(v T) { h.rt.Fail(p.Process(v, out)) }
		return nil
	}
	return h.begin()
}

// Sink runs a writer of sink. It emits nothing.
func Sink[T any](t testing.TB, sink weir.Sink[T]) *Harness[T, struct{}] {
	t.Helper()
	h := &Harness[T, struct{}]{t: t}
	h.make = func(h *Harness[T, struct{}], setup *operator.Setup) error {
		w, err := sink.NewWriter(setup)
		if err != nil {
			return err
		}
		h.attach(w, operator.NewCollector[struct{}](h.rt, 0, collect[T, struct{}]{h}))
		h.receive = func(v T) { h.rt.Fail(w.Write(v)) }
		return nil
	}
	return h.begin()
}

// collect is the end of an operator's output.
type collect[T, B any] struct{ h *Harness[T, B] }

// Receive implements operator.Receiver.
func (c collect[T, B]) Receive(v B) { c.h.output = append(c.h.output, v) }

// begin plans the operator and starts its first instance.
func (h *Harness[T, B]) begin() *Harness[T, B] {
	h.t.Helper()
	h.now = Start
	setup := operator.PlanSetup(uid, h.info)
	h.rt = setup.Runtime()
	if err := h.make(h, setup); err != nil {
		h.t.Fatalf("plan the operator: %v", err)
	}
	if err := setup.Err(); err != nil {
		h.t.Fatalf("plan the operator: %v", err)
	}
	h.declared = setup.Declared()
	h.start(&Snapshot{state: &metapb.SubtaskSnapshot{}, ids: map[string]statebackend.StateID{}})
	h.t.Cleanup(h.close)
	return h
}

// start makes an instance that begins with from.
func (h *Harness[T, B]) start(from *Snapshot) {
	h.t.Helper()
	h.ids = maps.Clone(from.ids)
	for _, d := range h.declared {
		if _, ok := h.ids[d.Name]; !ok {
			h.ids[d.Name] = statebackend.StateID(len(h.ids) + 1)
		}
	}
	h.rt = &operator.Runtime{
		Context: h.t.Context(), Log: slog.New(slog.NewTextHandler(h.t.Output(), nil)),
		Now: func() time.Time { return h.now }, Turn: h.now, Parallelism: 1,
		JobName: h.t.Name(), Attempt: "e1.n1", Incarnation: 1, Restored: from.id > 0,
	}
	h.hooks, h.end, h.timers, h.store, h.ended = nil, nil, nil, nil, from.state.Ended
	h.runs = &cells{maps.Clone(from.cells)}
	if h.runs.m == nil {
		h.runs.m = map[string][]byte{}
	}
	if h.info.Keyed {
		h.store = table.New(table.Options{
			Range: stream.AllKeyGroups, KeyWidth: h.info.Width, KeyLen: h.info.Len, Fail: h.rt.Fail,
		})
	}
	h.setup = operator.NewSetup(operator.SetupOptions{
		UID: uid, Key: h.info, Runtime: h.rt, Store: h.store, Declared: h.declared,
		StateID: func(name string) statebackend.StateID { return h.ids[name] },
		States:  from.state.OperatorStates, Results: from.state.Results,
	})
	err := h.make(h, h.setup)
	if err == nil {
		err = h.setup.Err()
	}
	for _, k := range slices.Sorted(maps.Keys(h.runs.m)) {
		if err == nil {
			err = h.store.Load([]byte(k), h.runs.m[k])
		}
	}
	if err != nil {
		h.t.Fatalf("start the operator: %v", err)
	}
	for _, x := range h.hooks {
		if o, ok := x.(operator.Opener); ok {
			h.check("Open", o.Open())
		}
	}
	if from.id > 0 {
		h.commit(from.id)
	}
}

// attach takes the optional methods of x.
func (h *Harness[T, B]) attach(x any, out *operator.Collector[B]) {
	h.hooks = append(h.hooks, x)
	switch e := x.(type) {
	case interface {
		EndOfInput(*weir.Collector[B]) error
	}:
		h.end = func() error { return e.EndOfInput(out) }
	case operator.StepEnder:
		h.end = func() error {
			for {
				if done, err := e.EndOfInputStep(); done || err != nil {
					return err
				}
			}
		}
	case operator.Ender:
		h.end = e.EndOfInput
	}
}

// Push hands the operator a record with event time at; an error of the operator
// fails the test.
func (h *Harness[T, B]) Push(at time.Time, v T) {
	h.t.Helper()
	h.check("Process", h.TryPush(at, v))
}

// TryPush is Push for a record that the operator may refuse.
func (h *Harness[T, B]) TryPush(at time.Time, v T) error {
	h.t.Helper()
	if h.ended {
		h.t.Fatal("a record after the end of input")
	}
	h.rt.Time, h.rt.HasTime = at.UnixMilli(), true
	h.receive(v)
	_, err := h.rt.Err()
	return err
}

// Advance moves the processing-time clock on by d and fires the timers that are due
// on the way, each at its time.
func (h *Harness[T, B]) Advance(d time.Duration) {
	h.t.Helper()
	until := h.now.Add(d)
	for h.timers != nil {
		at, ok := h.timers.Next()
		if !ok || time.UnixMilli(at).After(until) {
			break
		}
		if due := time.UnixMilli(at); due.After(h.now) {
			h.now, h.rt.Turn = due, due
		}
		for {
			due, ok := h.timers.Due(h.now.UnixMilli())
			if !ok {
				break
			}
			h.check("OnTimer", h.timer(due))
		}
	}
	h.now, h.rt.Turn = until, until
}

// Now is where the processing-time clock stands.
func (h *Harness[T, B]) Now() time.Time { return h.now }

// EndOfInput ends the input: the operator's EndOfInput runs, once, also over a
// Restore.
func (h *Harness[T, B]) EndOfInput() {
	h.t.Helper()
	if h.ended {
		return
	}
	h.ended = true
	if h.end != nil {
		h.check("EndOfInput", h.end())
	}
}

// Snapshot takes a checkpoint: what the operator prepares is prepared. It is not
// completed; see Complete.
func (h *Harness[T, B]) Snapshot() *Snapshot {
	h.t.Helper()
	h.cuts++
	for _, x := range h.hooks {
		if p, ok := x.(operator.Preparer); ok {
			h.check("Prepare", p.Prepare(h.cuts))
		}
		if s, ok := x.(operator.Snapshotter); ok {
			h.check("Snapshot", s.Snapshot(h.cuts))
		}
	}
	s := &Snapshot{id: h.cuts, state: &metapb.SubtaskSnapshot{Ended: h.ended}, ids: maps.Clone(h.ids)}
	h.setup.Snapshot(s.state)
	s.state = proto.CloneOf(s.state)
	if h.store != nil {
		cut, err := h.store.Freeze(false)
		h.check("snapshot of keyed state", err)
		for !h.store.CopyFrozen(1 << 16) {
		}
		h.check("snapshot of keyed state", cut.Encode(h.runs))
		h.store.Durable(cut)
	}
	s.cells = maps.Clone(h.runs.m)
	return s
}

// Complete says that a checkpoint has completed: what was prepared is committed.
func (h *Harness[T, B]) Complete(s *Snapshot) {
	h.t.Helper()
	h.commit(s.id)
}

func (h *Harness[T, B]) commit(id stream.CheckpointID) {
	h.t.Helper()
	for _, x := range h.hooks {
		if c, ok := x.(operator.Committer); ok {
			h.check("Commit", c.Commit(id))
		}
	}
}

// Restore gives the running instance up, as a failure does, and starts another from
// s, which counts as completed. Output emitted before stays.
func (h *Harness[T, B]) Restore(s *Snapshot) {
	h.t.Helper()
	h.close()
	h.start(s)
}

func (h *Harness[T, B]) close() {
	for _, x := range h.hooks {
		if c, ok := x.(operator.Closer); ok {
			h.check("Close", c.Close())
		}
	}
	h.hooks = nil
}

// Output is what was emitted since the last call.
func (h *Harness[T, B]) Output() []B {
	out := h.output
	h.output = nil
	return out
}

// Results are the operator's named results: uint64 for a sum, string for a text.
func (h *Harness[T, B]) Results() map[string]any {
	var s metapb.SubtaskSnapshot
	h.setup.Snapshot(&s)
	all := map[string]any{}
	for _, r := range s.Results {
		switch v := r.Value.(type) {
		case *metapb.Result_Sum:
			all[r.Name] = v.Sum
		case *metapb.Result_Text:
			all[r.Name] = v.Text
		}
	}
	return all
}

// check fails the test if err is one, or if the operator has failed otherwise.
func (h *Harness[T, B]) check(what string, err error) {
	h.t.Helper()
	if err == nil {
		_, err = h.rt.Err()
	}
	if err != nil {
		key := h.setup.CurrentKey()
		if key != "" {
			key = " (" + key + ")"
		}
		h.t.Fatalf("%s%s: %v", what, key, err)
	}
}

// cells is keyed state as an ordered map: the table.Sink that all cuts go to.
type cells struct{ m map[string][]byte }

// Set implements table.Sink.
func (c *cells) Set(key, value []byte) error {
	c.m[string(key)] = bytes.Clone(value)
	return nil
}

// Delete implements table.Sink.
func (c *cells) Delete(key []byte) error {
	delete(c.m, string(key))
	return nil
}

// String describes s.
func (s *Snapshot) String() string {
	return fmt.Sprintf("%v: %d entries of keyed state", s.id, len(s.cells))
}
