package table

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
)

// Runs are taken over by reference, so values of older schemas lie in them for as long
// as nobody writes their keys. Each value says by an ordinal which schema it has:
//
//   - 0 is the first schema that the state ever had. It stands for nothing else until
//     the state is gone.
//   - Ordinals from 1 are given to the schemas that came later, whichever state's, in
//     the order in which programs came with them.
//
// All subtasks of an operator give the same ones, because they start from what one
// snapshot lists; so a run's table is the beginning of every later run's, and runs are
// merged, and read through Pebble, without a look at their values. Of a list to which
// programs with several schemas have appended, each piece names its own.

// payloadMover brings the payload of a value into its state's present schema.
type payloadMover func(dst, payload []byte) ([]byte, error)

// older is what a table knows of the values of other schemas than its own.
type older struct {
	movers map[uint64]payloadMover // by ordinal; nil: the same bytes
	moved  []byte                  // scratch, and so is piece
	piece  []byte
}

// Evolve tells the store which schemas the values of a restored snapshot have: those
// that any of its subtasks lists. It comes before the first entry, at every restore, even
// of nothing. A schema that the program can't read is an ErrSchema that names the state.
func (s *Store) Evolve(listed []*metapb.Schema) error {
	s.listed = nil
	for _, l := range listed {
		if err := s.list(l); err != nil {
			return err
		}
	}
	for i, l := range s.table() {
		if l.Ordinal != uint32(i)+1 {
			return fmt.Errorf("schemas of keyed state: ordinal %d stands at place %d: %w", l.Ordinal, i+1, statebackend.ErrCorrupt)
		}
	}
	s.listed = slices.DeleteFunc(s.listed, func(l *metapb.Schema) bool {
		return l.Ordinal == 0 && !slices.ContainsFunc(s.states, func(t state) bool { return uint32(t.desc().ID) == l.StateId })
	})
	for _, t := range s.states { // in the order of creation: the same in every subtask
		if err := s.evolve(t); err != nil {
			return err
		}
	}
	return nil
}

// list adds a schema, which another subtask may have listed too.
func (s *Store) list(l *metapb.Schema) error {
	for _, o := range s.listed {
		if o.StateId != l.StateId || o.Ordinal != l.Ordinal {
			continue
		}
		if !bytes.Equal(o.Schema, l.Schema) || !bytes.Equal(o.NamespaceSchema, l.NamespaceSchema) || o.Kind != l.Kind {
			return fmt.Errorf("schemas of keyed state: state %d has two with ordinal %d: %w", l.StateId, l.Ordinal, statebackend.ErrCorrupt)
		}
		return nil
	}
	s.listed = append(s.listed, l)
	slices.SortFunc(s.listed, func(a, b *metapb.Schema) int {
		return cmp.Or(cmp.Compare(a.StateId, b.StateId), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return nil
}

// table are the schemas with an ordinal, in its order.
func (s *Store) table() []*metapb.Schema {
	var all []*metapb.Schema
	for _, l := range s.listed {
		if l.Ordinal > 0 {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *metapb.Schema) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	return all
}

// evolve finds out what the present schema of t is to those listed, and lists it.
func (s *Store) evolve(t state) error {
	d := t.desc()
	now := &metapb.Schema{StateId: uint32(d.ID), Schema: d.ValueSchema, NamespaceSchema: d.NamespaceSchema, Kind: d.Kind}
	known, first := false, true
	movers := map[uint64]payloadMover{}
	for _, l := range s.listed {
		if l.StateId != now.StateId {
			continue
		}
		first = false
		move, err := t.from(l)
		if err != nil {
			return fmt.Errorf("state %q: %w", d.Name, err)
		}
		if movers[uint64(l.Ordinal)] = move; move == nil {
			known, now.Ordinal = true, l.Ordinal // the newest that is the same
		}
	}
	switch {
	case known:
	case first:
		s.listed = append(s.listed, now)
	default:
		now.Ordinal = uint32(len(s.table())) + 1
		s.listed = append(s.listed, now)
	}
	slices.SortFunc(s.listed, func(a, b *metapb.Schema) int {
		return cmp.Or(cmp.Compare(a.StateId, b.StateId), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	t.setSchema(uint64(now.Ordinal), movers)
	return nil
}

// Schemas is what a snapshot lists: every schema that a value in its runs may have. Of a
// state that the program no longer has the ordinals stay taken, but its first schema is
// gone from the list, and with it the state.
func (s *Store) Schemas() []*metapb.Schema {
	if s.listed == nil { // a fresh start
		for _, t := range s.states {
			d := t.desc()
			s.listed = append(s.listed, &metapb.Schema{StateId: uint32(d.ID), Schema: d.ValueSchema, NamespaceSchema: d.NamespaceSchema, Kind: d.Kind})
		}
		slices.SortFunc(s.listed, func(a, b *metapb.Schema) int { return cmp.Compare(a.StateId, b.StateId) })
	}
	return slices.Clone(s.listed)
}

// Evolved are the schemas with an ordinal from 1, in its order: the table of the runs
// that are written from now on.
func (s *Store) Evolved() []*metapb.Schema { return s.table() }

// from returns how values that l describes become values of the program's schema: nil if
// they are the same.
func (t *tbl[V]) from(l *metapb.Schema) (payloadMover, error) {
	if l.Kind != metapb.StateKind_STATE_KIND_UNSPECIFIED && l.Kind != t.d.Kind {
		return nil, fmt.Errorf("%w: it was a %v in the snapshot and is a %v now", statebackend.ErrSchema, l.Kind, t.d.Kind)
	}
	if !bytes.Equal(l.NamespaceSchema, t.d.NamespaceSchema) {
		if c, why := codec.Compatible(l.NamespaceSchema, t.d.NamespaceSchema); c != codec.AsIs {
			return nil, fmt.Errorf("%w: the type of its map's keys has changed since the snapshot: %s", statebackend.ErrSchema, why)
		}
	}
	if bytes.Equal(l.Schema, t.d.ValueSchema) || t.hooks.from == nil {
		return nil, nil
	}
	move, err := t.hooks.from(l.Schema)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", statebackend.ErrSchema, err)
	}
	return move, nil
}

func (t *tbl[V]) setSchema(ordinal uint64, movers map[uint64]payloadMover) {
	t.ordinal, t.older.movers = ordinal, movers
}

// open returns the payload of a value, in the present schema. It is valid until the next
// call.
func (t *tbl[V]) open(value []byte) ([]byte, error) {
	payload, ordinal, pieces, err := openEnvelope(value, t.d.Kind)
	switch {
	case err != nil:
		return nil, err
	case pieces:
		t.older.moved, err = t.openPieces(t.older.moved[:0], payload)
		return t.older.moved, err
	case ordinal == t.ordinal:
		return payload, nil
	}
	move, err := t.mover(ordinal)
	if err != nil || move == nil {
		return payload, err
	}
	t.older.moved, err = move(t.older.moved[:0], payload)
	return t.older.moved, broken(ordinal, err)
}

// mover says how payloads with that ordinal are brought up to date.
func (t *tbl[V]) mover(ordinal uint64) (payloadMover, error) {
	move, ok := t.older.movers[ordinal]
	if !ok && ordinal != t.ordinal {
		return nil, fmt.Errorf("value names schema %d, which the snapshot does not list for the state: %w", ordinal, statebackend.ErrCorrupt)
	}
	return move, nil
}

func broken(ordinal uint64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bring a value of schema %d up to date: %w: %w", ordinal, statebackend.ErrCorrupt, err)
}

var errPieces = fmt.Errorf("list is not in the pieces that it says: %w", statebackend.ErrCorrupt)

// openPieces appends the payload of a list to dst that is in pieces: their number, then of each
// the ordinal of its schema, its elements' number and length, and these.
func (t *tbl[V]) openPieces(dst, payload []byte) ([]byte, error) {
	type piece struct {
		ordinal, count uint64
		elements       []byte
	}
	var few [8]piece
	pieces, all := few[:0], uint64(0)
	number, w := binary.Uvarint(payload)
	if w <= 0 {
		return dst, errPieces
	}
	for payload = payload[w:]; len(payload) > 0; {
		var head [3]uint64
		for i := range head {
			v, w := binary.Uvarint(payload)
			if w <= 0 {
				return dst, errPieces
			}
			head[i], payload = v, payload[w:]
		}
		if head[2] > uint64(len(payload)) || head[1] > math.MaxUint32 {
			return dst, errPieces
		}
		pieces = append(pieces, piece{head[0], head[1], payload[:head[2]]})
		payload = payload[head[2]:]
		all += head[1]
	}
	if uint64(len(pieces)) != number || number < 2 {
		return dst, errPieces
	}
	dst = binary.AppendUvarint(dst, all)
	for _, p := range pieces {
		move, err := t.mover(p.ordinal)
		if err != nil {
			return dst, err
		}
		if move == nil {
			dst = append(dst, p.elements...)
			continue
		}
		from := len(dst)
		t.older.piece = append(binary.AppendUvarint(t.older.piece[:0], p.count), p.elements...)
		if dst, err = move(dst, t.older.piece); err != nil {
			return dst, broken(p.ordinal, err)
		}
		_, w := binary.Uvarint(dst[from:])
		dst = append(dst[:from], dst[from+w:]...)
	}
	return dst, nil
}

// moveOne makes the mover of payloads that are one value each.
func moveOne[T any](c codec.Codec[T]) func(writer []byte) (payloadMover, error) {
	return func(writer []byte) (payloadMover, error) {
		move, err := c.From(writer)
		if err != nil || move == nil {
			return nil, err
		}
		return func(dst, payload []byte) ([]byte, error) {
			dst, n, err := move(dst, payload)
			if err == nil && n != len(payload) {
				err = fmt.Errorf("value takes %d of %d bytes", n, len(payload))
			}
			return dst, err
		}, nil
	}
}

// moveMany makes the mover of payloads that are lists: a count, then values.
func moveMany[T any](c codec.Codec[T]) func(writer []byte) (payloadMover, error) {
	return func(writer []byte) (payloadMover, error) {
		move, err := c.From(writer)
		if err != nil || move == nil {
			return nil, err
		}
		return func(dst, payload []byte) ([]byte, error) {
			count, w := binary.Uvarint(payload)
			if w <= 0 {
				return dst, errList
			}
			dst = append(dst, payload[:w]...)
			for payload = payload[w:]; count > 0 && len(payload) > 0; count-- {
				var n int
				var err error
				if dst, n, err = move(dst, payload); err != nil {
					return dst, err
				}
				payload = payload[n:]
			}
			if len(payload) > 0 {
				return dst, errList
			}
			return dst, nil // a count that is too large is found when the list is read
		}, nil
	}
}
