package savepoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// Writer writes a canonical savepoint from data: a bootstrap. Operators and states are
// given the uids and names that the job will look for them by; entries come in any order
// and may be more than fit in memory. Finish or Abort must be called.
type Writer struct {
	ctx   context.Context // of Create, for all that is written
	t     *target
	meta  *metapb.CheckpointMetadata
	ops   []*OperatorWriter
	types codec.Types
	err   error // the first
	done  bool

	inline int // bytes of the largest inline run
}

// noWatermark is an absent watermark.
const noWatermark = -1 << 63

// Create begins a savepoint in the folder to, which is created and must hold no snapshot.
// jobName is for people.
func Create(ctx context.Context, to, jobName string) (*Writer, error) {
	t, err := openTarget(ctx, to)
	if err != nil {
		return nil, err
	}
	m := &metapb.CheckpointMetadata{
		FormatVersion: 1, JobId: newJobID(), JobName: jobName, CheckpointId: 1, Kind: uint32(stream.SavepointBarrier),
		HashName: stream.HashName, KeyGroups: stream.KeyGroups, NextStateId: 1,
		TriggeredAtMs: time.Now().UnixMilli(), SelfContained: true, Type: metapb.SnapshotType_SNAPSHOT_TYPE_CANONICAL,
	}
	if err := t.empty(ctx); err != nil {
		t.close()
		return nil, err
	}
	return &Writer{ctx: ctx, t: t, meta: m}, nil
}

// newJobID is an id that no job has.
func newJobID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Use names types as the program does (weir.Env.Use), for those that are written.
func (w *Writer) Use(types ...codec.Type) error {
	for _, t := range types {
		if err := w.types.Add(t); err != nil {
			return w.keep(err)
		}
	}
	return nil
}

// OperatorWriter writes the state of one operator.
type OperatorWriter struct {
	w      *Writer
	op     *metapb.OperatorSnapshot
	key    codec.Schema // nil: no keyed state yet
	sorter sorter
	states map[string]*metapb.Schema // keyed ones, by name
	buf    []byte
	value  []byte
}

// Operator begins the state of an operator: its uid, and over how many subtasks it is
// divided, which binds nobody: a job restores at any parallelism.
func (w *Writer) Operator(uid string, parallelism int) *OperatorWriter {
	o := &OperatorWriter{
		w: w, sorter: sorter{memory: sortMemory}, states: map[string]*metapb.Schema{},
		op: &metapb.OperatorSnapshot{Uid: uid, Parallelism: uint32(parallelism)},
	}
	if parallelism < 1 || parallelism > stream.KeyGroups {
		w.keep(fmt.Errorf("operator %q: parallelism %d, want 1 to %d", uid, parallelism, stream.KeyGroups))
		return o
	}
	for i := range parallelism {
		r := stream.RangeOf(i, parallelism)
		o.op.Subtasks = append(o.op.Subtasks, &metapb.SubtaskSnapshot{
			Index: uint32(i), FirstGroup: uint32(r.First), LastGroup: uint32(r.Last), Watermark: noWatermark,
		})
	}
	w.ops = append(w.ops, o)
	return o
}

// keep keeps the first error, which Finish returns.
func (w *Writer) keep(err error) error {
	if w.err == nil && err != nil {
		w.err = err
	}
	return w.err
}

// ValueWriter adds to a state of one value for each key.
type ValueWriter[K, V any] struct{ s stateWriter[K, V] }

// ListWriter adds to a list state.
type ListWriter[K, E any] struct{ s stateWriter[K, E] }

// MapWriter adds to a map state.
type MapWriter[K, N, V any] struct {
	s     stateWriter[K, V]
	names codec.Key[N]
}

// TimerWriter adds timers.
type TimerWriter[K any] struct{ s stateWriter[K, struct{}] }

// stateWriter is what they have in common.
type stateWriter[K, V any] struct {
	o      *OperatorWriter
	id     uint32
	kind   metapb.StateKind
	keys   codec.Key[K]
	values codec.Codec[V] // nil: of timers
}

// Values declares a Value state, or one that Reduce or Fold keeps.
func (o *OperatorWriter) Values[K, V any](state string) (*ValueWriter[K, V], error) {
	s, err := declare[K, V](o, state, metapb.StateKind_STATE_KIND_VALUE, nil)
	return &ValueWriter[K, V]{s}, err
}

// Lists declares a List state.
func (o *OperatorWriter) Lists[K, E any](state string) (*ListWriter[K, E], error) {
	s, err := declare[K, E](o, state, metapb.StateKind_STATE_KIND_LIST, nil)
	return &ListWriter[K, E]{s}, err
}

// Maps declares a Map state.
func (o *OperatorWriter) Maps[K, N, V any](state string) (*MapWriter[K, N, V], error) {
	names, err := codec.ForKey[N]()
	if err != nil {
		return nil, o.w.keep(err)
	}
	s, err := declare[K, V](o, state, metapb.StateKind_STATE_KIND_MAP, names.Schema())
	return &MapWriter[K, N, V]{s, names}, err
}

// Timers declares timers.
func (o *OperatorWriter) Timers[K any](state string) (*TimerWriter[K], error) {
	s, err := declare[K, struct{}](o, state, metapb.StateKind_STATE_KIND_TIMER, nil)
	return &TimerWriter[K]{s}, err
}

func declare[K, V any](o *OperatorWriter, state string, kind metapb.StateKind, names codec.Schema) (s stateWriter[K, V], err error) {
	s = stateWriter[K, V]{o: o, kind: kind}
	if s.keys, err = codec.ForKey[K](); err != nil {
		return s, o.w.keep(err)
	}
	var schema codec.Schema
	if kind != metapb.StateKind_STATE_KIND_TIMER {
		if s.values, err = codec.In[V](&o.w.types); err != nil {
			return s, o.w.keep(err)
		}
		schema = s.values.Schema()
	}
	if o.key == nil {
		o.key = s.keys.Schema()
	}
	if !bytes.Equal(o.key, s.keys.Schema()) {
		return s, o.w.keep(fmt.Errorf("operator %q: state %q has keys %v, others have %v", o.op.Uid, state, s.keys.Schema(), o.key))
	}
	if o.states[state] != nil || state == "" {
		return s, o.w.keep(fmt.Errorf("operator %q: state %q is declared twice, or has no name", o.op.Uid, state))
	}
	m := o.w.meta
	s.id = m.NextStateId
	m.NextStateId++
	m.StateIds = append(m.StateIds, &metapb.StateID{Uid: o.op.Uid, Name: state, Id: s.id})
	o.states[state] = &metapb.Schema{StateId: s.id, Schema: schema, NamespaceSchema: names, Kind: kind}
	return s, nil
}

// begin makes buf the key of k's entry: key group, state id, key.
func (s *stateWriter[K, V]) begin(k K) {
	o := s.o
	enc, hash := s.keys.AppendHash(append(o.buf[:0], make([]byte, prefixLen)...), k)
	binary.BigEndian.PutUint16(enc, uint16(stream.GroupOf(hash)))
	binary.BigEndian.PutUint32(enc[2:], s.id)
	o.buf = enc
}

// envelope begins the value.
func (s *stateWriter[K, V]) envelope() {
	s.o.value = envelope.Append(s.o.value[:0], envelope.Head{Kind: uint8(s.kind)})
}

func (s *stateWriter[K, V]) add() error {
	if s.o.w.err != nil {
		return s.o.w.err
	}
	return s.o.w.keep(s.o.sorter.add(s.o.buf, s.o.value))
}

// Put gives k the value v. The last one counts.
func (w *ValueWriter[K, V]) Put(k K, v V) error {
	s := &w.s
	s.begin(k)
	s.envelope()
	s.o.value = s.values.Append(s.o.value, v)
	return s.add()
}

// Put gives k a list, which replaces one put before. An empty one counts as none.
func (w *ListWriter[K, E]) Put(k K, list []E) error {
	if len(list) == 0 {
		return w.s.o.w.err
	}
	s := &w.s
	s.begin(k)
	s.envelope()
	s.o.value = binary.AppendUvarint(s.o.value, uint64(len(list)))
	for _, e := range list {
		s.o.value = s.values.Append(s.o.value, e)
	}
	return s.add()
}

// Put gives n the value v in the map of k.
func (w *MapWriter[K, N, V]) Put(k K, n N, v V) error {
	s := &w.s
	s.begin(k)
	s.o.buf = w.names.Append(s.o.buf, n)
	s.envelope()
	s.o.value = s.values.Append(s.o.value, v)
	return s.add()
}

// Put has k called at time at, in ms.
func (w *TimerWriter[K]) Put(k K, at int64) error {
	s := &w.s
	s.begin(k)
	time := binary.BigEndian.AppendUint64(nil, uint64(at)^1<<63)
	s.o.buf = slices.Insert(s.o.buf, prefixLen, time...)
	s.envelope()
	return s.add()
}

// Entries adds an operator state (a split or union list, a broadcast state) of one
// subtask: entries encoded as its owner does.
func (o *OperatorWriter) Entries(subtask int, state string, kind metapb.StateKind, entries ...[]byte) error {
	if subtask < 0 || subtask >= len(o.op.Subtasks) {
		return o.w.keep(fmt.Errorf("operator %q: subtask %d of %d", o.op.Uid, subtask, len(o.op.Subtasks)))
	}
	switch kind {
	case metapb.StateKind_STATE_KIND_SPLIT_LIST, metapb.StateKind_STATE_KIND_UNION_LIST, metapb.StateKind_STATE_KIND_BROADCAST:
	default:
		return o.w.keep(fmt.Errorf("operator %q: state %q: a %s is no operator state", o.op.Uid, state, kindText(kind)))
	}
	sub := o.op.Subtasks[subtask]
	sub.OperatorStates = append(sub.OperatorStates, &metapb.OperatorState{Name: state, Kind: kind, Entries: entries})
	return o.w.err
}

// Finish writes what has been put, and the _metadata, which makes it a savepoint.
func (w *Writer) Finish() (Description, error) {
	if w.done {
		return Description{}, errors.New("savepoint was finished or aborted")
	}
	w.keep(w.finish())
	if w.err != nil {
		return Description{}, errors.Join(fmt.Errorf("write savepoint %s: %w", w.t.store.Path(), w.err), w.Abort())
	}
	d, err := w.t.describe(w.ctx)
	return d, errors.Join(err, w.release())
}

func (w *Writer) finish() error {
	if w.err != nil {
		return w.err
	}
	slices.SortFunc(w.ops, func(a, b *OperatorWriter) int { return cmp.Compare(a.op.Uid, b.op.Uid) })
	subtasks := 1
	for _, o := range w.ops {
		subtasks += len(o.op.Subtasks)
	}
	w.inline = min(inlineMost, inlineTotal/subtasks)
	for _, o := range w.ops {
		if err := o.finish(); err != nil {
			return fmt.Errorf("operator %q: %w", o.op.Uid, err)
		}
		w.meta.Operators = append(w.meta.Operators, o.op)
	}
	return w.t.finish(w.ctx, w.meta)
}

// finish writes the operator's entries, which are in the order of the subtasks.
func (o *OperatorWriter) finish() error {
	var schemas []*metapb.Schema
	for _, c := range o.states {
		schemas = append(schemas, c)
	}
	if len(schemas) == 0 {
		return nil
	}
	slices.SortFunc(schemas, func(a, b *metapb.Schema) int { return cmp.Compare(a.StateId, b.StateId) })
	o.op.KeySchema = o.key
	src := o.sorter.sorted(o.w.ctx)
	p := &peeked{Source: src}
	var err error
	for _, sub := range o.op.Subtasks {
		if err = o.w.subtask(o.op.Uid, sub, schemas, p); err != nil {
			break
		}
	}
	return errors.Join(err, src.Close())
}

// subtask writes those of the next entries that are sub's.
func (w *Writer) subtask(uid string, sub *metapb.SubtaskSnapshot, schemas []*metapb.Schema, p *peeked) error {
	sub.Schemas = schemas
	r, err := w.t.write(w.ctx, runID(w.meta, uid, sub.Index), w.inline, tableOf(schemas), func(to *run.Writer) error {
		return run.Copy(w.ctx, to, below{p, stream.KeyGroup(sub.LastGroup)})
	})
	if r != nil {
		sub.Runs = []*metapb.Run{r}
	}
	return err
}

// peeked is a source of which the next entry can be looked at.
type peeked struct {
	run.Source
	e    run.Entry
	held bool
}

func (p *peeked) peek() (run.Entry, bool) {
	if !p.held {
		p.e, p.held = p.Source.Next()
	}
	return p.e, p.held
}

// below are the next entries up to a key group.
type below struct {
	*peeked
	last stream.KeyGroup
}

// Next implements run.Source.
func (b below) Next() (run.Entry, bool) {
	e, ok := b.peek()
	if !ok || run.Group(e.Key) > b.last {
		return run.Entry{}, false
	}
	b.held = false
	return e, true
}

// Abort gives the savepoint up and removes what was written. After Finish it does
// nothing.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	return errors.Join(w.t.undo(), w.release())
}

func (w *Writer) release() error {
	w.done = true
	var errs []error
	for _, o := range w.ops {
		errs = append(errs, o.sorter.close())
	}
	w.t.close()
	return errors.Join(errs...)
}
