package savepoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// Reader reads the state of one operator. States are found by their names; their types
// are checked against the snapshot's: what the program's codec can read, or bring up to
// date, is read. It may be used by several goroutines.
type Reader struct {
	s   *Snapshot
	op  *metapb.OperatorSnapshot
	ids map[string]uint32 // of keyed states, by name
}

// Use names types as the program does (weir.Env.Use), for those that are read.
func (s *Snapshot) Use(types ...codec.Type) error {
	for _, t := range types {
		if err := s.types.Add(t); err != nil {
			return err
		}
	}
	return nil
}

// Operator returns a reader of the operator with that uid.
func (s *Snapshot) Operator(uid string) (*Reader, error) {
	for _, op := range s.meta.Operators {
		if op.Uid != uid {
			continue
		}
		r := &Reader{s: s, op: op, ids: map[string]uint32{}}
		for _, id := range s.meta.StateIds {
			if id.Uid == uid {
				r.ids[id.Name] = id.Id
			}
		}
		return r, nil
	}
	var uids []string
	for _, op := range s.meta.Operators {
		uids = append(uids, op.Uid)
	}
	return nil, fmt.Errorf("snapshot %s: no operator %q; it has %q", s.folder, uid, uids)
}

// keyed is a keyed state that is being read.
type keyed struct {
	id   uint32
	kind metapb.StateKind
}

// state finds a keyed state of the given kind, and compares the operator's key type.
func (r *Reader) state(name string, kind metapb.StateKind, key codec.Schema) (keyed, error) {
	id, ok := r.ids[name]
	if !ok {
		return keyed{}, fmt.Errorf("operator %q: no keyed state %q; it has %q", r.op.Uid, name, slices.Sorted(maps.Keys(r.ids)))
	}
	if len(r.op.KeySchema) > 0 {
		if c, why := codec.Compatible(r.op.KeySchema, key); c != codec.AsIs {
			return keyed{}, fmt.Errorf("operator %q: its keys: %s", r.op.Uid, why)
		}
	}
	for _, sub := range r.op.Subtasks {
		for _, c := range sub.Schemas {
			if c.StateId == id && c.Kind != kind && !(kind == metapb.StateKind_STATE_KIND_VALUE && holdsValue(c.Kind)) {
				return keyed{}, fmt.Errorf("operator %q: state %q is a %s, not a %s", r.op.Uid, name, kindText(c.Kind), kindText(kind))
			}
			if c.StateId == id {
				kind = c.Kind
			}
		}
	}
	return keyed{id, kind}, nil
}

// holdsValue reports whether entries of kind k are one value each.
func holdsValue(k metapb.StateKind) bool {
	switch k {
	case metapb.StateKind_STATE_KIND_VALUE, metapb.StateKind_STATE_KIND_REDUCING, metapb.StateKind_STATE_KIND_AGGREGATING:
		return true
	}
	return false
}

// raw is an entry of one keyed state: what follows the state id in its key, and its value
// with the envelope. Both are valid until the next one.
type raw struct {
	group stream.KeyGroup
	rest  []byte
	value []byte
	sub   *metapb.SubtaskSnapshot
}

// entries calls f for each live entry of a state within groups, ordered by key group, then
// key.
func (r *Reader) entries(ctx context.Context, k keyed, groups stream.KeyGroupRange, f func(raw) error) error {
	for _, sub := range r.op.Subtasks {
		own := stream.KeyGroupRange{First: stream.KeyGroup(sub.FirstGroup), Last: stream.KeyGroup(sub.LastGroup)}
		shared, ok := own.Intersect(groups)
		if !ok || len(sub.Runs) == 0 {
			continue
		}
		if err := r.entriesOf(ctx, sub, shared, k, f); err != nil {
			return fmt.Errorf("operator %q, subtask %d: %w", r.op.Uid, sub.Index, err)
		}
	}
	return nil
}

func (r *Reader) entriesOf(ctx context.Context, sub *metapb.SubtaskSnapshot, groups stream.KeyGroupRange, k keyed, f func(raw) error) error {
	merged, err := r.s.entriesIn(ctx, sub, groups)
	if err != nil {
		return err
	}
	defer merged.Close()
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e, ok := merged.Next()
		if !ok {
			return merged.Err()
		}
		if binary.BigEndian.Uint32(e.Key[2:]) != k.id {
			continue
		}
		if err := f(raw{run.Group(e.Key), e.Key[prefixLen:], e.Value, sub}); err != nil {
			return err
		}
	}
}

// prefixLen is the length of key group and state id.
const prefixLen = 6

// Values calls f for each key that has a value in a state of one value for each: a Value,
// or what Reduce and Fold keep. The order is by key group, then encoded key.
func (r *Reader) Values[K, V any](ctx context.Context, state string, f func(k K, v V) error) error {
	k, o, err := r.opened[K, V](state, metapb.StateKind_STATE_KIND_VALUE)
	if err != nil {
		return err
	}
	return r.entries(ctx, k, stream.AllKeyGroups, func(e raw) error {
		key, err := o.wholeKey(e)
		if err != nil {
			return err
		}
		v, err := o.value(e)
		if err != nil {
			return err
		}
		return f(key, v)
	})
}

// Value returns the value of one key; ok is false if it has none. It reads the blocks of
// the key's group only.
func (r *Reader) Value[K, V any](ctx context.Context, state string, key K) (v V, ok bool, err error) {
	k, o, err := r.opened[K, V](state, metapb.StateKind_STATE_KIND_VALUE)
	if err != nil {
		return v, false, err
	}
	enc, hash := o.keys.AppendHash(nil, key)
	group := stream.GroupOf(hash)
	err = r.entries(ctx, k, stream.KeyGroupRange{First: group, Last: group}, func(e raw) (err error) {
		if bytes.Equal(e.rest, enc) {
			v, err = o.value(e)
			ok = err == nil
		}
		return err
	})
	return v, ok, err
}

// Lists calls f for each key that has a list. The slice is f's to keep.
func (r *Reader) Lists[K, E any](ctx context.Context, state string, f func(k K, list []E) error) error {
	k, o, err := r.opened[K, E](state, metapb.StateKind_STATE_KIND_LIST)
	if err != nil {
		return err
	}
	return r.entries(ctx, k, stream.AllKeyGroups, func(e raw) error {
		key, err := o.wholeKey(e)
		if err != nil {
			return err
		}
		list, err := o.list(e)
		if err != nil {
			return err
		}
		return f(key, list)
	})
}

// Maps calls f for each entry of each key's map, those of one key one after the other.
func (r *Reader) Maps[K, N, V any](ctx context.Context, state string, f func(k K, n N, v V) error) error {
	names, err := codec.ForKey[N]()
	if err != nil {
		return err
	}
	k, o, err := r.opened[K, V](state, metapb.StateKind_STATE_KIND_MAP)
	if err != nil {
		return err
	}
	for _, sub := range r.op.Subtasks {
		for _, c := range sub.Schemas {
			if c.StateId == k.id {
				if same, why := codec.Compatible(c.NamespaceSchema, names.Schema()); same != codec.AsIs {
					return fmt.Errorf("operator %q: the map keys of state %q: %s", r.op.Uid, state, why)
				}
			}
		}
	}
	return r.entries(ctx, k, stream.AllKeyGroups, func(e raw) error {
		key, rest, err := o.key(e)
		if err != nil {
			return err
		}
		n, w, err := names.Decode(rest)
		if err != nil || w != len(rest) {
			return fmt.Errorf("map key of %d bytes: %w: %w", len(rest), ErrDamaged, cmp.Or(err, codec.ErrMalformed))
		}
		v, err := o.value(e)
		if err != nil {
			return err
		}
		return f(key, n, v)
	})
}

// Timers calls f for each timer that waits: its key, and the time in ms.
func (r *Reader) Timers[K any](ctx context.Context, state string, f func(k K, at int64) error) error {
	keys, err := codec.ForKey[K]()
	if err != nil {
		return err
	}
	k, err := r.state(state, metapb.StateKind_STATE_KIND_TIMER, keys.Schema())
	if err != nil {
		return err
	}
	return r.entries(ctx, k, stream.AllKeyGroups, func(e raw) error {
		if len(e.rest) < 8 {
			return fmt.Errorf("timer of %d bytes: %w", len(e.rest), ErrDamaged)
		}
		key, w, err := keys.Decode(e.rest[8:])
		if err != nil || w != len(e.rest)-8 {
			return fmt.Errorf("key of a timer: %w: %w", ErrDamaged, cmp.Or(err, codec.ErrMalformed))
		}
		return f(key, int64(binary.BigEndian.Uint64(e.rest)^1<<63))
	})
}

// Entries yields the entries of an operator state (a split or union list, a broadcast
// state) as each subtask keeps them: encoded by whoever keeps the state.
func (r *Reader) Entries(state string) iter.Seq2[int, []byte] {
	return func(yield func(subtask int, entry []byte) bool) {
		for _, sub := range r.op.Subtasks {
			for _, st := range sub.OperatorStates {
				if st.Name != state {
					continue
				}
				for _, e := range st.Entries {
					if !yield(int(sub.Index), e) {
						return
					}
				}
			}
		}
	}
}

// decoder decodes the keys and values of one state.
type decoder[K, V any] struct {
	keys   codec.Key[K]
	values codec.Codec[V]
	// movers bring values of older schemas up to date, by ordinal; nil: the same bytes.
	movers map[uint64]codec.Mover
	buf    []byte
}

func (r *Reader) opened[K, V any](state string, kind metapb.StateKind) (keyed, *decoder[K, V], error) {
	keys, err := codec.ForKey[K]()
	if err != nil {
		return keyed{}, nil, err
	}
	values, err := codec.In[V](&r.s.types)
	if err != nil {
		return keyed{}, nil, err
	}
	k, err := r.state(state, kind, keys.Schema())
	if err != nil {
		return keyed{}, nil, err
	}
	o := &decoder[K, V]{keys: keys, values: values, movers: map[uint64]codec.Mover{}}
	for _, sub := range r.op.Subtasks {
		for _, c := range sub.Schemas {
			if _, done := o.movers[uint64(c.Ordinal)]; c.StateId != k.id || done {
				continue
			}
			move, err := values.From(c.Schema)
			if err != nil {
				return keyed{}, nil, fmt.Errorf("operator %q: state %q: %w", r.op.Uid, state, err)
			}
			o.movers[uint64(c.Ordinal)] = move
		}
	}
	return k, o, nil
}

// key decodes the key at the head of what follows the state id.
func (o *decoder[K, V]) key(e raw) (k K, rest []byte, err error) {
	k, n, err := o.keys.Decode(e.rest)
	if err != nil {
		return k, nil, fmt.Errorf("key of %d bytes: %w: %w", len(e.rest), ErrDamaged, err)
	}
	if got := stream.GroupOf(codec.HashBytes(e.rest[:n])); got != e.group {
		return k, nil, fmt.Errorf("key of group %d lies in group %d: %w", got, e.group, ErrDamaged)
	}
	return k, e.rest[n:], nil
}

// wholeKey decodes the key of an entry that has nothing behind it.
func (o *decoder[K, V]) wholeKey(e raw) (K, error) {
	key, rest, err := o.key(e)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("key of %d bytes has %d too many: %w", len(e.rest), len(rest), ErrDamaged)
	}
	return key, err
}

// open takes a value out of its envelope; move says how it is brought up to date.
func (o *decoder[K, V]) open(e raw) (payload []byte, move codec.Mover, err error) {
	head, payload, err := envelope.Decode(e.value)
	if err != nil {
		return nil, nil, err
	}
	move, err = o.mover(head.Schema)
	if err == nil && head.Pieces {
		err = fmt.Errorf("value of kind %d is in pieces: %w", head.Kind, ErrDamaged)
	}
	return payload, move, err
}

func (o *decoder[K, V]) mover(ordinal uint64) (codec.Mover, error) {
	move, ok := o.movers[ordinal]
	if !ok {
		return nil, fmt.Errorf("value names schema %d, which is not listed: %w", ordinal, ErrDamaged)
	}
	return move, nil
}

// list decodes the elements of an entry that has a list.
func (o *decoder[K, V]) list(e raw) (list []V, err error) {
	head, payload, err := envelope.Decode(e.value)
	if err != nil {
		return nil, err
	}
	pieces, err := envelope.Split(nil, head, payload)
	if err != nil {
		return nil, err
	}
	for _, p := range pieces {
		move, err := o.mover(p.Schema)
		if err != nil {
			return nil, err
		}
		list = slices.Grow(list, int(min(p.Count, 1024)))
		for range p.Count {
			v, w, err := o.decode(p.Elements, move)
			if err != nil {
				return nil, err
			}
			list, p.Elements = append(list, v), p.Elements[w:]
		}
		if len(p.Elements) > 0 {
			return nil, fmt.Errorf("list has %d bytes too many: %w", len(p.Elements), ErrDamaged)
		}
	}
	return list, nil
}

// decode decodes the value at the front of b and says how many bytes it took.
func (o *decoder[K, V]) decode(b []byte, move codec.Mover) (v V, n int, err error) {
	if move == nil {
		v, n, err = o.values.Decode(b)
	} else if o.buf, n, err = move(o.buf[:0], b); err == nil {
		v, _, err = o.values.Decode(o.buf)
	}
	if err != nil {
		return v, 0, fmt.Errorf("value of %d bytes: %w: %w", len(b), ErrDamaged, err)
	}
	return v, n, nil
}

// value decodes the one value of an entry.
func (o *decoder[K, V]) value(e raw) (v V, err error) {
	payload, move, err := o.open(e)
	if err != nil {
		return v, err
	}
	v, n, err := o.decode(payload, move)
	if err == nil && n != len(payload) {
		err = fmt.Errorf("value takes %d of %d bytes: %w", n, len(payload), ErrDamaged)
	}
	return v, err
}
