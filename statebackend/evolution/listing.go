package evolution

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
)

// Listing is which schemas the values of a subtask's keyed states may have: what a snapshot
// lists. The zero Listing is that of a fresh start.
type Listing struct {
	schemas []*metapb.Schema // by state id and ordinal
	begun   bool
}

// State is a keyed state of the program.
type State struct {
	statebackend.Descriptor
	// From returns how payloads of another schema of the state's values become those of the
	// program's; nil if they are the same. A nil From: the values have no schema.
	From func(writer []byte) (Mover, error)
}

// Restore makes the listing that of a restored snapshot: listed is what any of its
// subtasks lists. It returns a reader for each state. A schema that the program
// can't read is an ErrSchema that names the state.
func (l *Listing) Restore(listed []*metapb.Schema, states []State) ([]Reader, error) {
	*l = Listing{begun: true}
	for _, s := range listed {
		if err := l.add(s); err != nil {
			return nil, err
		}
	}
	for i, s := range l.Table() {
		if s.Ordinal != uint32(i)+1 {
			return nil, fmt.Errorf("schemas of keyed state: ordinal %d stands at place %d: %w", s.Ordinal, i+1, statebackend.ErrCorrupt)
		}
	}
	l.schemas = slices.DeleteFunc(l.schemas, func(s *metapb.Schema) bool {
		return s.Ordinal == 0 && !slices.ContainsFunc(states, func(t State) bool { return uint32(t.ID) == s.StateId })
	})
	readers := make([]Reader, len(states))
	for i, t := range states { // in the order of creation: the same in every subtask
		var err error
		if readers[i], err = l.admit(t); err != nil {
			return nil, err
		}
	}
	return readers, nil
}

// Begin makes the listing that of a fresh start, unless it is one of a restore or has begun.
func (l *Listing) Begin(states []statebackend.Descriptor) {
	if l.begun {
		return
	}
	l.begun = true
	for _, d := range states {
		l.schemas = append(l.schemas, schemaOf(d))
	}
	l.sort()
}

func schemaOf(d statebackend.Descriptor) *metapb.Schema {
	return &metapb.Schema{StateId: uint32(d.ID), Schema: d.ValueSchema, NamespaceSchema: d.NamespaceSchema, Kind: d.Kind}
}

func (l *Listing) sort() {
	slices.SortFunc(l.schemas, func(a, b *metapb.Schema) int {
		return cmp.Or(cmp.Compare(a.StateId, b.StateId), cmp.Compare(a.Ordinal, b.Ordinal))
	})
}

// add adds a schema, which another subtask may have listed too.
func (l *Listing) add(s *metapb.Schema) error {
	for _, o := range l.schemas {
		if o.StateId != s.StateId || o.Ordinal != s.Ordinal {
			continue
		}
		if !bytes.Equal(o.Schema, s.Schema) || !bytes.Equal(o.NamespaceSchema, s.NamespaceSchema) || o.Kind != s.Kind {
			return fmt.Errorf("schemas of keyed state: state %d has two with ordinal %d: %w", s.StateId, s.Ordinal, statebackend.ErrCorrupt)
		}
		return nil
	}
	l.schemas = append(l.schemas, s)
	l.sort()
	return nil
}

// admit finds out what the present schema of t is to those listed, and lists it.
func (l *Listing) admit(t State) (Reader, error) {
	now := schemaOf(t.Descriptor)
	known, first := false, true
	movers := map[uint64]Mover{}
	for _, s := range l.schemas {
		if s.StateId != now.StateId {
			continue
		}
		first = false
		move, err := t.from(s)
		if err != nil {
			return Reader{}, fmt.Errorf("state %q: %w", t.Name, err)
		}
		if movers[uint64(s.Ordinal)] = move; move == nil {
			known, now.Ordinal = true, s.Ordinal // the newest that is the same
		}
	}
	switch {
	case known:
	case first:
		l.schemas = append(l.schemas, now)
	default:
		now.Ordinal = uint32(len(l.Table())) + 1
		l.schemas = append(l.schemas, now)
	}
	l.sort()
	return Reader{Ordinal: uint64(now.Ordinal), kind: t.Kind, movers: movers}, nil
}

// from returns how values that s describes become values of the program's schema: nil if
// they are the same.
func (t *State) from(s *metapb.Schema) (Mover, error) {
	if s.Kind != metapb.StateKind_STATE_KIND_UNSPECIFIED && s.Kind != t.Kind {
		return nil, fmt.Errorf("%w: it was a %v in the snapshot and is a %v now", statebackend.ErrSchema, s.Kind, t.Kind)
	}
	if !bytes.Equal(s.NamespaceSchema, t.NamespaceSchema) {
		if c, why := codec.Compatible(s.NamespaceSchema, t.NamespaceSchema); c != codec.AsIs {
			return nil, fmt.Errorf("%w: the type of its map's keys has changed since the snapshot: %s", statebackend.ErrSchema, why)
		}
	}
	if bytes.Equal(s.Schema, t.ValueSchema) || t.From == nil {
		return nil, nil
	}
	move, err := t.From(s.Schema)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", statebackend.ErrSchema, err)
	}
	return move, nil
}

// All is what a snapshot lists: every schema that a value in its runs may have. Of a
// state that the program no longer has the ordinals stay taken, but its first schema is
// gone from the list, and with it the state.
func (l *Listing) All() []*metapb.Schema { return slices.Clone(l.schemas) }

// Table are the schemas with an ordinal from 1, in its order: the table of the runs
// that are written from now on.
func (l *Listing) Table() []*metapb.Schema {
	var all []*metapb.Schema
	for _, s := range l.schemas {
		if s.Ordinal > 0 {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *metapb.Schema) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	return all
}
