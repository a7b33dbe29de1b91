package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/stream"
)

// Rebase merges the adjacent runs list[from:to], as far as they are visible within
// groups, into one run written as o says; o.Schemas is made from theirs. It reads
// runs only, never live state. Tombstones and range clears are dropped only if no
// run before list[from] may hold a key that these do. A list with the new run in
// place of the old ones, clipped to groups, holds the same entries.
//
// Of one run it is a copy clipped to groups. Entries are not looked at but for the
// ordinals of their schemas: expiry (TTL) has no writer in format 1.
func (l List) Rebase(ctx context.Context, from, to int, groups stream.KeyGroupRange, open Opener, o Options) (Run, error) {
	if from < 0 || from >= to || to > len(l) {
		return Run{}, fmt.Errorf("rebase into run %s: BUG: runs %d to %d of a list of %d", o.ID, from, to, len(l))
	}
	r, err := l.rebase(ctx, from, to, groups, open, o)
	if err != nil {
		return Run{}, fmt.Errorf("rebase %d runs into %s: %w", to-from, o.ID, err)
	}
	return r, nil
}

func (l List) rebase(ctx context.Context, from, to int, groups stream.KeyGroupRange, open Opener, o Options) (Run, error) {
	sources := l[from:to].iters(ctx, open, groups)
	defer func() {
		for _, s := range sources {
			s.Close()
		}
	}()
	table := schemaTable{}
	for i, s := range sources {
		schemas, err := s.(*Iter).Schemas()
		if err != nil {
			return Run{}, err
		}
		if ordinals := table.add(schemas); ordinals != nil {
			sources[i] = &renumbered{Source: s, ordinals: ordinals}
		}
	}
	o.Schemas = table.schemas
	w, err := NewWriter(o)
	if err != nil {
		return Run{}, err
	}
	defer w.Abort()
	if err := Copy(ctx, w, Merge(sources, l.bottom(from, to))); err != nil {
		return Run{}, err
	}
	return w.Finish()
}

// Copy writes all entries of s to w.
func Copy(ctx context.Context, w *Writer, s Source) error {
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		e, ok := s.Next()
		if !ok {
			return s.Err()
		}
		var err error
		switch e.Kind {
		case KindSet:
			err = w.Set(e.Key, e.Value)
		case KindDelete:
			err = w.Delete(e.Key)
		case KindClear:
			err = w.ClearRange(e.Key, e.Value)
		}
		if err != nil {
			return err
		}
	}
}

// schemaTable is the union of the schema tables of several runs.
type schemaTable struct{ schemas []Schema }

// add adds the schemas of one run and returns their ordinals here by their ordinals
// there, or nil if those are the same.
func (t *schemaTable) add(schemas []Schema) (ordinals []uint64) {
	same := true
	ordinals = make([]uint64, len(schemas)+1) // 0 stays 0
	for i, s := range schemas {
		at := 0
		for at < len(t.schemas) && !(t.schemas[at].State == s.State && bytes.Equal(t.schemas[at].Bytes, s.Bytes)) {
			at++
		}
		if at == len(t.schemas) {
			t.schemas = append(t.schemas, s)
		}
		ordinals[i+1] = uint64(at) + 1
		same = same && at == i
	}
	if same {
		return nil
	}
	return ordinals
}

// renumbered rewrites the ordinals of schemas in a run's values.
type renumbered struct {
	Source
	ordinals []uint64
	buf      []byte
	err      error
}

// Next implements Source.
func (r *renumbered) Next() (Entry, bool) {
	e, ok := r.Source.Next()
	if !ok || r.err != nil {
		return Entry{}, false
	}
	if e.Kind != KindSet {
		return e, true
	}
	head, payload, err := DecodeEnvelope(e.Value)
	if err != nil || head.Schema >= uint64(len(r.ordinals)) {
		r.err = fmt.Errorf("key %x: schema %d of %d: value begins with %.12x: %w", e.Key, head.Schema, len(r.ordinals)-1, e.Value, ErrCorrupt)
		return Entry{}, false
	}
	if head.Schema == 0 {
		return e, true
	}
	head.Schema = r.ordinals[head.Schema]
	r.buf = append(AppendEnvelope(r.buf[:0], head), payload...)
	e.Value = r.buf
	return e, true
}

// Err implements Source.
func (r *renumbered) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.Source.Err()
}

// SchemaOf returns the schema that a value of state says it has, by its ordinal in
// the run's table, or nil if the snapshot's list counts.
func SchemaOf(value []byte, schemas []Schema) ([]byte, error) {
	if len(value) < 2 {
		return nil, fmt.Errorf("value of %d bytes has no envelope: %w", len(value), ErrCorrupt)
	}
	n, k := binary.Uvarint(value[1:])
	switch {
	case k <= 0 || n > uint64(len(schemas)):
		return nil, fmt.Errorf("value names schema %d of %d: %w", n, len(schemas), ErrCorrupt)
	case n == 0:
		return nil, nil
	}
	return schemas[n-1].Bytes, nil
}
