package savepoint

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// Change is one change that Transform makes. Changes are made in the order given; each
// sees the names that those before have left.
type Change func(t *transform) error

// Transform writes the snapshot at from, changed, as a savepoint in the folder to. The
// source stays as it is. Operators whose keyed state is not touched keep their runs as
// they are; that of others is streamed and merged. What needs other keys is read with a
// Reader and written with a Writer instead.
func Transform(ctx context.Context, from, to string, changes ...Change) (Description, error) {
	s, err := Open(ctx, from)
	if err != nil {
		return Description{}, err
	}
	d, err := s.transform(ctx, to, changes)
	return d, errors.Join(err, s.Close())
}

func (s *Snapshot) transform(ctx context.Context, to string, changes []Change) (Description, error) {
	t := &transform{s: s, m: proto.CloneOf(s.meta), touched: map[*metapb.OperatorSnapshot]*rewrite{}}
	t.m.SelfContained, t.m.StillReads = true, nil
	t.m.Type = metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE
	t.m.ClusterId, t.m.JobId = "", newJobID() // no job has taken this
	for _, c := range changes {
		if err := c(t); err != nil {
			return Description{}, fmt.Errorf("transform snapshot %s: %w", s.folder, err)
		}
	}
	slices.SortFunc(t.m.Operators, func(a, b *metapb.OperatorSnapshot) int { return cmp.Compare(a.Uid, b.Uid) })
	target, err := openTarget(ctx, to)
	if err != nil {
		return Description{}, err
	}
	defer target.close()
	if err := target.empty(ctx); err != nil {
		return Description{}, err
	}
	t.c = &copier{s: s, t: target, inline: inlineMost}
	if err := t.write(ctx); err != nil {
		return Description{}, errors.Join(fmt.Errorf("transform snapshot %s to %s: %w", s.folder, to, err), target.undo())
	}
	return target.describe(ctx)
}

// transform is a snapshot on its way to another.
type transform struct {
	s       *Snapshot
	c       *copier
	m       *metapb.CheckpointMetadata // of what it becomes
	touched map[*metapb.OperatorSnapshot]*rewrite
}

// rewrite is what becomes of an operator's keyed entries.
type rewrite struct {
	drop map[uint32]bool   // states
	maps map[uint32]mapper // of states
}

// makeValue appends what an entry's value becomes, with its envelope, to dst. It belongs
// to one goroutine.
type makeValue func(e raw, dst []byte) (value []byte, keep bool, err error)

// mapper makes the values of a state others.
type mapper struct {
	schema codec.Schema // of what it makes
	make   func() makeValue
}

func (t *transform) operator(uid string) (*metapb.OperatorSnapshot, error) {
	for _, op := range t.m.Operators {
		if op.Uid == uid {
			return op, nil
		}
	}
	return nil, fmt.Errorf("no operator %q", uid)
}

// keyed finds the id of a keyed state.
func (t *transform) keyed(uid, state string) (*metapb.StateID, error) {
	for _, id := range t.m.StateIds {
		if id.Uid == uid && id.Name == state {
			return id, nil
		}
	}
	return nil, fmt.Errorf("operator %q: no keyed state %q", uid, state)
}

func (t *transform) touch(op *metapb.OperatorSnapshot) *rewrite {
	if t.touched[op] == nil {
		t.touched[op] = &rewrite{drop: map[uint32]bool{}, maps: map[uint32]mapper{}}
	}
	return t.touched[op]
}

// Types names types as the program does (weir.Env.Use), for the changes after it.
func Types(types ...codec.Type) Change {
	return func(t *transform) error { return t.s.Use(types...) }
}

// RenameUID gives an operator another uid.
func RenameUID(from, to string) Change {
	return func(t *transform) error {
		op, err := t.operator(from)
		if err != nil {
			return err
		}
		if _, err := t.operator(to); err == nil || to == "" {
			return fmt.Errorf("rename operator %q: there is a %q already, or it is no uid", from, to)
		}
		op.Uid = to
		for _, id := range t.m.StateIds {
			if id.Uid == from {
				id.Uid = to
			}
		}
		for _, p := range channelParts(t.m) {
			if p.c.FromUid == from {
				p.c.FromUid = to
			}
		}
		return nil
	}
}

// DropOperator leaves all state of an operator behind.
func DropOperator(uid string) Change {
	return func(t *transform) error {
		op, err := t.operator(uid)
		if err != nil {
			return err
		}
		t.m.Operators = slices.DeleteFunc(t.m.Operators, func(o *metapb.OperatorSnapshot) bool { return o == op })
		t.m.StateIds = slices.DeleteFunc(t.m.StateIds, func(id *metapb.StateID) bool { return id.Uid == uid })
		return nil
	}
}

// RenameState gives a state of an operator another name.
func RenameState(uid, from, to string) Change {
	return func(t *transform) error {
		op, err := t.operator(uid)
		if err != nil {
			return err
		}
		if to == "" || t.has(op, to) {
			return fmt.Errorf("operator %q: rename state %q: there is a %q already, or it is no name", uid, from, to)
		}
		if !t.has(op, from) {
			return fmt.Errorf("operator %q: no state %q", uid, from)
		}
		if id, err := t.keyed(uid, from); err == nil {
			id.Name = to
		}
		for _, sub := range op.Subtasks {
			for _, st := range sub.OperatorStates {
				if st.Name == from {
					st.Name = to
				}
			}
		}
		return nil
	}
}

// has reports whether the operator has a state of that name, of either kind.
func (t *transform) has(op *metapb.OperatorSnapshot, state string) bool {
	if _, err := t.keyed(op.Uid, state); err == nil {
		return true
	}
	for _, sub := range op.Subtasks {
		if slices.ContainsFunc(sub.OperatorStates, func(s *metapb.OperatorState) bool { return s.Name == state }) {
			return true
		}
	}
	return false
}

// DropState leaves a state of an operator behind.
func DropState(uid, state string) Change {
	return func(t *transform) error {
		op, err := t.operator(uid)
		if err != nil {
			return err
		}
		if !t.has(op, state) {
			return fmt.Errorf("operator %q: no state %q", uid, state)
		}
		if id, err := t.keyed(uid, state); err == nil {
			t.touch(op).drop[id.Id] = true
			t.m.StateIds = slices.DeleteFunc(t.m.StateIds, func(o *metapb.StateID) bool { return o == id })
		}
		for _, sub := range op.Subtasks {
			sub.OperatorStates = slices.DeleteFunc(sub.OperatorStates, func(s *metapb.OperatorState) bool { return s.Name == state })
		}
		return nil
	}
}

// MapValues gives each key of a state of one value for each key what f makes of its
// value, which may be of another type; keep false drops the key's. f is called from
// several goroutines.
func MapValues[K, V, W any](uid, state string, f func(k K, v V) (w W, keep bool, err error)) Change {
	return func(t *transform) error {
		op, err := t.operator(uid)
		if err != nil {
			return err
		}
		id, err := t.keyed(uid, state)
		if err != nil {
			return err
		}
		to, err := codec.In[W](&t.s.types)
		if err != nil {
			return err
		}
		// The subtasks' lists of schemas change while others are still read.
		r := &Reader{s: t.s, op: proto.CloneOf(op), ids: map[string]uint32{state: id.Id}}
		if t.touch(op).maps[id.Id].make != nil {
			return fmt.Errorf("operator %q: state %q is mapped twice", uid, state)
		}
		k, _, err := r.opened[K, V](state, metapb.StateKind_STATE_KIND_VALUE)
		if err != nil {
			return err
		}
		m := mapper{schema: to.Schema()}
		m.make = func() makeValue {
			_, o, err := r.opened[K, V](state, metapb.StateKind_STATE_KIND_VALUE)
			return func(e raw, dst []byte) ([]byte, bool, error) {
				if err != nil {
					return nil, false, err
				}
				key, _, err := o.key(e)
				if err != nil {
					return nil, false, err
				}
				v, err := o.value(e)
				if err != nil {
					return nil, false, err
				}
				w, keep, err := f(key, v)
				if err != nil || !keep {
					return nil, false, err
				}
				return to.Append(envelope.Append(dst, envelope.Head{Kind: uint8(k.kind)}), w), true, nil
			}
		}
		t.touch(op).maps[id.Id] = m
		return nil
	}
}

// write makes the snapshot.
func (t *transform) write(ctx context.Context) error {
	plain := &metapb.CheckpointMetadata{}
	for _, op := range t.m.Operators {
		if t.touched[op] == nil {
			plain.Operators = append(plain.Operators, op)
			continue
		}
		err := parallel(ctx, len(op.Subtasks), func(i int) error { return t.rewrite(ctx, op, op.Subtasks[i]) })
		if err != nil {
			return fmt.Errorf("operator %q: %w", op.Uid, err)
		}
	}
	if err := t.c.takeAll(ctx, plain); err != nil {
		return err
	}
	if err := errors.Join(t.c.takeChannels(ctx, t.m), t.c.takeOwned(ctx, t.m)); err != nil {
		return err
	}
	return t.c.t.finish(ctx, t.m)
}

// rewrite makes one run of a subtask's entries as they become.
func (t *transform) rewrite(ctx context.Context, op *metapb.OperatorSnapshot, sub *metapb.SubtaskSnapshot) error {
	rw := t.touched[op]
	entries, err := t.s.entries(ctx, sub)
	if err != nil {
		return err
	}
	schemas, ordinals := rw.schemas(sub.Schemas)
	src := &rewritten{Source: entries, rw: rw, ordinals: ordinals, sub: sub, makers: map[uint32]makeValue{}}
	for id, m := range rw.maps {
		src.makers[id] = m.make()
	}
	r, err := t.c.t.write(ctx, runID(t.m, op.Uid, sub.Index), t.c.inline, tableOf(schemas), func(w *run.Writer) error {
		return run.Copy(ctx, w, src)
	})
	if err := errors.Join(err, entries.Close()); err != nil {
		return fmt.Errorf("subtask %d: %w", sub.Index, err)
	}
	sub.Runs, sub.Schemas = nil, schemas
	if r != nil {
		sub.Runs = []*metapb.Run{r}
	}
	return nil
}

// version is a schema as values name it: the ordinal says it for each state.
type version struct {
	state   uint32
	ordinal uint64
}

// schemas are those listed after the rewrite, and what becomes of the ordinals: those from
// 1 have no gaps.
func (rw *rewrite) schemas(old []*metapb.Schema) (fresh []*metapb.Schema, ordinals map[version]uint64) {
	ordinals = map[version]uint64{}
	mapped := map[uint32]bool{}
	byOrdinal := slices.SortedFunc(slices.Values(old), func(a, b *metapb.Schema) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	next := uint32(1)
	for _, c := range byOrdinal {
		if rw.drop[c.StateId] {
			continue
		}
		c = proto.CloneOf(c)
		if m := rw.maps[c.StateId]; m.make != nil {
			if mapped[c.StateId] {
				continue
			}
			mapped[c.StateId] = true
			c.Schema, c.Ordinal = m.schema, 0
		} else {
			was := c.Ordinal
			if was > 0 {
				c.Ordinal = next
				next++
			}
			ordinals[version{c.StateId, uint64(was)}] = uint64(c.Ordinal)
		}
		fresh = append(fresh, c)
	}
	slices.SortFunc(fresh, func(a, b *metapb.Schema) int {
		return cmp.Or(cmp.Compare(a.StateId, b.StateId), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return fresh, ordinals
}

// rewritten are the entries of a subtask as they become.
type rewritten struct {
	run.Source
	rw       *rewrite
	sub      *metapb.SubtaskSnapshot
	ordinals map[version]uint64
	makers   map[uint32]makeValue
	buf      []byte
	err      error
}

// Next implements run.Source.
func (r *rewritten) Next() (run.Entry, bool) {
	for r.err == nil {
		e, ok := r.Source.Next()
		if !ok {
			break
		}
		keep := false
		if e.Value, keep, r.err = r.value(e); keep && r.err == nil {
			return e, true
		}
	}
	return run.Entry{}, false
}

// value is what becomes of an entry's.
func (r *rewritten) value(e run.Entry) (value []byte, keep bool, err error) {
	id := binary.BigEndian.Uint32(e.Key[2:])
	if r.rw.drop[id] {
		return nil, false, nil
	}
	if f := r.makers[id]; f != nil {
		r.buf, keep, err = f(raw{stream.KeyGroup(binary.BigEndian.Uint16(e.Key)), e.Key[prefixLen:], e.Value, r.sub}, r.buf[:0])
		if err != nil {
			err = fmt.Errorf("key %x: %w", e.Key, err)
		}
		return r.buf, keep, err
	}
	head, payload, err := envelope.Decode(e.Value)
	if err != nil {
		return nil, false, err
	}
	if head.Pieces {
		return r.pieces(id, head, payload)
	}
	ordinal, ok := r.ordinals[version{id, head.Schema}]
	if !ok {
		return nil, false, nil // of a state that the program no longer has
	}
	if ordinal == head.Schema {
		return e.Value, true, nil
	}
	head.Schema = ordinal
	r.buf = append(envelope.Append(r.buf[:0], head), payload...)
	return r.buf, true, nil
}

// pieces is what becomes of a list whose elements have several schemas.
func (r *rewritten) pieces(id uint32, head envelope.Head, payload []byte) (value []byte, keep bool, err error) {
	pieces, err := envelope.Split(nil, head, payload)
	if err != nil {
		return nil, false, err
	}
	for i := range pieces {
		ordinal, ok := r.ordinals[version{id, pieces[i].Schema}]
		if !ok {
			return nil, false, nil // of a state that the program no longer has
		}
		pieces[i].Schema = ordinal
	}
	r.buf = envelope.AppendList(r.buf[:0], head, pieces)
	return r.buf, true, nil
}

// Err implements run.Source.
func (r *rewritten) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.Source.Err()
}
