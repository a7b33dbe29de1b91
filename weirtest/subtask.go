package weirtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// uid is the operator's in messages.
const uid = "under-test"

// subtask is a running subtask of the operator in a Harness.
type subtask[T, B any] struct {
	h       *Harness[T, B]
	rt      *operator.Runtime
	setup   *operator.Setup
	groups  stream.KeyGroupRange
	store   *table.Store // nil unless keyed
	cells   *cells       // what all cuts so far add up to
	receive func(v T)
	hooks   []any
	end     func() error
	timer   func(t table.Timer, d operator.TimeDomain) error
	timers  *table.Timers // of processing time
	events  *table.Timers // of event time
	ended   bool
}

// Snapshot is the state of an operator, as a checkpoint would have it.
type Snapshot struct {
	id       stream.CheckpointID
	cells    map[string][]byte // keyed state of all subtasks
	subtasks []*metapb.SubtaskSnapshot
	ids      map[string]statebackend.StateID
	schemas  []*metapb.Schema // that its keyed values may have
	disk     *disk
}

// String describes s.
func (s *Snapshot) String() string {
	return fmt.Sprintf("%v of %d subtasks: %d entries of keyed state", s.id, len(s.subtasks), len(s.cells))
}

// newSubtask makes subtask i of n, with its state.
func (h *Harness[T, B]) newSubtask(i, n int, from *Snapshot, part restore.Operator) *subtask[T, B] {
	h.t.Helper()
	s := &subtask[T, B]{h: h, groups: stream.RangeOf(i, n), ended: part.Ended == restore.EndedAll, cells: &cells{map[string][]byte{}}}
	s.rt = &operator.Runtime{
		Context: h.t.Context(), Log: slog.New(slog.NewTextHandler(h.t.Output(), nil)),
		Now: func() time.Time { return h.now }, Turn: h.now, Subtask: i, Parallelism: n,
		JobName: h.t.Name(), Attempt: fmt.Sprintf("e1.n%d", h.incarnation), Incarnation: h.incarnation, Restored: from.id > 0,
		Time: operator.NoTime, Watermark: part.Watermark,
	}
	if from.id == 0 {
		s.rt.Watermark = math.MinInt64 // no watermark yet
	}
	if h.info.Keyed {
		s.store = table.New(table.Options{Range: s.groups, KeyWidth: h.info.Width, KeyLen: h.info.Len, Fail: s.rt.Fail})
	}
	s.setup = operator.NewSetup(operator.SetupOptions{
		UID: uid, Key: h.info, Runtime: s.rt, Store: s.store, Declared: h.declared,
		StateID: func(name string) statebackend.StateID { return h.ids[name] },
		States:  part.States, Results: part.Results, Owned: part.Owned, OwnedStore: h.disk,
	})
	err := h.make(s, s.setup)
	if err == nil {
		err = s.setup.Err()
	}
	for _, side := range s.setup.Sides() {
		side.Collect(s.rt, func(v any) { h.sides[side.Name] = append(h.sides[side.Name], v) })
	}
	if err == nil && s.store != nil {
		err = s.store.Evolve(from.schemas)
	}
	for _, k := range slices.Sorted(maps.Keys(from.cells)) {
		if err == nil && s.groups.Contains(groupOf(k)) {
			s.cells.m[k] = from.cells[k]
			err = s.store.Load([]byte(k), from.cells[k])
		}
	}
	if err != nil {
		h.t.Fatalf("start the operator: %v", err)
	}
	return s
}

func (s *subtask[T, B]) open() {
	s.h.t.Helper()
	for _, x := range s.hooks {
		if o, ok := x.(operator.Opener); ok {
			s.check("Open", o.Open())
		}
	}
}

// attach takes the optional methods of x.
func (s *subtask[T, B]) attach(x any, out *operator.Collector[B]) {
	s.hooks = append(s.hooks, x)
	switch e := x.(type) {
	case interface {
		EndOfInput(*weir.Collector[B]) error
	}:
		s.end = func() error { return e.EndOfInput(out) }
	case operator.StepEnder:
		s.end = func() error {
			for {
				if done, err := e.EndOfInputStep(); done || err != nil {
					return err
				}
			}
		}
	case operator.Ender:
		s.end = e.EndOfInput
	}
}

func (s *subtask[T, B]) push(at time.Time, v T) error {
	s.h.t.Helper()
	if s.ended {
		s.h.t.Fatal("a record after the end of input")
	}
	s.rt.Time = at.UnixMilli()
	s.receive(v)
	_, err := s.rt.Err()
	return err
}

// next is the time of the next timer.
func (s *subtask[T, B]) next() (time.Time, bool) {
	if s.timers == nil {
		return time.Time{}, false
	}
	at, ok := s.timers.Next()
	return time.UnixMilli(at), ok
}

// fire calls the timers that are due.
func (s *subtask[T, B]) fire() {
	s.h.t.Helper()
	for s.timers != nil {
		due, ok := s.timers.Due(s.h.now.UnixMilli())
		if !ok {
			return
		}
		s.rt.Time = operator.NoTime
		s.check("OnTimer", s.timer(due, operator.ProcessingTime))
	}
}

// advance moves event time on.
func (s *subtask[T, B]) advance(at int64) {
	s.h.t.Helper()
	s.rt.Watermark = max(s.rt.Watermark, at)
	for s.events != nil {
		due, ok := s.events.Due(s.rt.Watermark)
		if !ok {
			break
		}
		s.check("OnTimer", s.timer(due, operator.EventTimeDomain))
	}
	for _, x := range s.hooks {
		if l, ok := x.(operator.WatermarkListener); ok {
			s.check("OnWatermark", l.OnWatermark(s.rt.Watermark))
		}
	}
}

func (s *subtask[T, B]) endOfInput() {
	s.h.t.Helper()
	if s.ended {
		return
	}
	s.ended = true
	if s.end != nil {
		s.rt.Time = operator.NoTime
		s.check("EndOfInput", s.end())
	}
}

// snapshot adds the subtask's part to a checkpoint.
func (s *subtask[T, B]) snapshot(into *Snapshot) {
	s.h.t.Helper()
	for _, x := range s.hooks {
		if p, ok := x.(operator.Preparer); ok {
			s.check("Prepare", p.Prepare(into.id))
		}
		if p, ok := x.(operator.Snapshotter); ok {
			s.check("Snapshot", p.Snapshot(into.id))
		}
	}
	state := &metapb.SubtaskSnapshot{
		Index: uint32(s.rt.Subtask), FirstGroup: uint32(s.groups.First), LastGroup: uint32(s.groups.Last), Ended: s.ended,
		Watermark: s.rt.Watermark,
	}
	s.setup.Snapshot(state)
	into.subtasks = append(into.subtasks, proto.CloneOf(state))
	if s.store != nil {
		cut, err := s.store.Freeze(false)
		s.check("snapshot of keyed state", err)
		for !s.store.CopyFrozen(1 << 16) {
		}
		s.check("snapshot of keyed state", cut.Encode(s.cells))
		s.store.Durable(cut)
	}
	maps.Copy(into.cells, s.cells.m)
	if s.store != nil {
		into.schemas = s.store.Schemas() // all subtasks list the same
	}
}

func (s *subtask[T, B]) commit(id stream.CheckpointID) {
	s.h.t.Helper()
	for _, x := range s.hooks {
		if c, ok := x.(operator.Committer); ok {
			s.check("Commit", c.Commit(id))
		}
	}
}

func (s *subtask[T, B]) close() {
	s.h.t.Helper()
	for _, x := range s.hooks {
		if c, ok := x.(operator.Closer); ok {
			if err := c.Close(); err != nil { // what failed before has been said
				s.h.t.Errorf("Close: %v", err)
			}
		}
	}
	s.hooks = nil
}

func (s *subtask[T, B]) results() []*metapb.Result {
	var state metapb.SubtaskSnapshot
	s.setup.Snapshot(&state)
	return state.Results
}

// check fails the test if err is one, or if the operator has failed otherwise.
func (s *subtask[T, B]) check(what string, err error) {
	s.h.t.Helper()
	if err == nil {
		_, err = s.rt.Err()
	}
	if err != nil {
		key := s.setup.CurrentKey()
		if key != "" {
			key = " (" + key + ")"
		}
		s.h.t.Fatalf("%s%s: %v", what, key, err)
	}
}

// cells is keyed state as an ordered map: the table.Sink that all cuts go to.
type cells struct{ m map[string][]byte }

// Set implements table.Sink.
func (c *cells) Set(key, value []byte) error {
	c.m[string(key)] = bytes.Clone(value)
	return nil
}

// Merge implements table.Sink.
func (c *cells) Merge(key, value []byte) (err error) {
	old, ok := c.m[string(key)]
	if !ok {
		return c.Set(key, value)
	}
	c.m[string(key)], err = envelope.Join(nil, old, value)
	return err
}

// Delete implements table.Sink.
func (c *cells) Delete(key []byte) error {
	delete(c.m, string(key))
	return nil
}

// groupOf is the key group that an entry's key begins with.
func groupOf(key string) stream.KeyGroup {
	return stream.KeyGroup(binary.BigEndian.Uint16([]byte(key[:2])))
}
