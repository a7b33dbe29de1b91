package savepoint

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// Shown is one entry of a state, decoded by the schemas of the snapshot alone.
type Shown struct {
	State    string     `json:"state"`
	Subtask  int        `json:"subtask"`
	KeyGroup *int       `json:"key-group,omitempty"` // of keyed state
	Key      any        `json:"key,omitempty"`       // of keyed state, as codec.Schema.Show gives it
	MapKey   any        `json:"map-key,omitempty"`
	Value    any        `json:"value,omitempty"` // of a list all elements
	Time     *time.Time `json:"time,omitempty"`  // of a timer
}

// Show calls f for each entry of a state, keyed or not, or of all states of the operator
// if state is "". With key, only for entries of the key that reads so: a string as it is,
// anything else as JSON. What the snapshot has no schema of is hexadecimal text.
func (r *Reader) Show(ctx context.Context, state, key string, f func(Shown) error) error {
	names := map[uint32]string{}
	for name, id := range r.ids {
		if state == "" || name == state {
			names[id] = name
		}
	}
	operator := r.operatorStates()
	if state != "" && len(names) == 0 && !slices.Contains(operator, state) {
		known := append(slices.Sorted(maps.Keys(r.ids)), operator...)
		return fmt.Errorf("operator %q: no state %q; it has %q", r.op.Uid, state, known)
	}
	for _, sub := range r.op.Subtasks {
		if len(names) > 0 && len(sub.Runs) > 0 {
			if err := r.showKeyed(ctx, sub, names, key, f); err != nil {
				return fmt.Errorf("operator %q, subtask %d: %w", r.op.Uid, sub.Index, err)
			}
		}
		for _, st := range sub.OperatorStates {
			if key != "" || state != "" && st.Name != state {
				continue
			}
			for _, e := range st.Entries {
				if err := f(Shown{State: st.Name, Subtask: int(sub.Index), Value: showOr(st.Schema, e)}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// operatorStates are the names of those that are not keyed.
func (r *Reader) operatorStates() (names []string) {
	for _, sub := range r.op.Subtasks {
		for _, st := range sub.OperatorStates {
			names = append(names, st.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// showOr decodes b by a schema, or as hexadecimal text.
func showOr(schema codec.Schema, b []byte) any {
	if len(schema) > 0 {
		if v, n, err := schema.Show(b); err == nil && n == len(b) {
			return v
		}
	}
	return hex.EncodeToString(b)
}

func (r *Reader) showKeyed(ctx context.Context, sub *metapb.SubtaskSnapshot, names map[uint32]string, key string, f func(Shown) error) error {
	groups := stream.KeyGroupRange{First: stream.KeyGroup(sub.FirstGroup), Last: stream.KeyGroup(sub.LastGroup)}
	merged, err := r.s.entriesIn(ctx, sub, groups)
	if err != nil {
		return err
	}
	defer merged.Close()
	schemas := map[version]*metapb.Schema{}
	for _, c := range sub.Schemas {
		schemas[version{c.StateId, uint64(c.Ordinal)}] = c
	}
	for {
		e, ok := merged.Next()
		if !ok {
			return merged.Err()
		}
		name, ok := names[binary.BigEndian.Uint32(e.Key[2:])]
		if !ok {
			continue
		}
		group := int(run.Group(e.Key))
		s := Shown{State: name, Subtask: int(sub.Index), KeyGroup: &group}
		if err := s.decode(r.op.KeySchema, schemas, e); err != nil {
			return fmt.Errorf("state %q, key %x: %w", name, e.Key, err)
		}
		if key != "" && !reads(s.Key, key) {
			continue
		}
		if err := f(s); err != nil {
			return err
		}
	}
}

// decode fills in what an entry says.
func (s *Shown) decode(key codec.Schema, schemas map[version]*metapb.Schema, e run.Entry) error {
	head, payload, err := envelope.Decode(e.Value)
	if err != nil {
		return err
	}
	rest := e.Key[prefixLen:]
	if metapb.StateKind(head.Kind) == metapb.StateKind_STATE_KIND_TIMER {
		if len(rest) < 8 {
			return fmt.Errorf("timer of %d bytes: %w", len(rest), ErrDamaged)
		}
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(rest) ^ 1<<63)).UTC()
		s.Time, rest = &at, rest[8:]
	}
	c := schemas[version{binary.BigEndian.Uint32(e.Key[2:]), head.Schema}]
	if c == nil {
		c = &metapb.Schema{}
	}
	n := len(rest)
	if len(key) > 0 {
		if s.Key, n, err = key.Show(rest); err != nil {
			return fmt.Errorf("key: %w: %w", ErrDamaged, err)
		}
	} else {
		s.Key = hex.EncodeToString(rest)
	}
	if n < len(rest) {
		s.MapKey = showOr(c.NamespaceSchema, rest[n:])
	}
	switch metapb.StateKind(head.Kind) {
	case metapb.StateKind_STATE_KIND_TIMER:
	case metapb.StateKind_STATE_KIND_LIST:
		pieces, err := envelope.Split(nil, head, payload)
		if err != nil {
			return err
		}
		s.Value = showList(pieces, func(ordinal uint64) codec.Schema {
			return schemas[version{binary.BigEndian.Uint32(e.Key[2:]), ordinal}].GetSchema()
		}, payload)
	default:
		s.Value = showOr(c.Schema, payload)
	}
	return nil
}

// showList decodes the elements of a list by their schemas, or shows its payload.
func showList(pieces []envelope.Piece, schema func(ordinal uint64) codec.Schema, payload []byte) any {
	all := []any{}
	for _, p := range pieces {
		c := schema(p.Schema)
		if len(c) == 0 {
			return hex.EncodeToString(payload)
		}
		for range p.Count {
			v, w, err := c.Show(p.Elements)
			if err != nil {
				return hex.EncodeToString(payload)
			}
			all, p.Elements = append(all, v), p.Elements[w:]
		}
	}
	return all
}

// reads reports whether a key reads as text.
func reads(key any, text string) bool {
	if s, ok := key.(string); ok && s == text {
		return true
	}
	b, err := json.Marshal(key)
	return err == nil && string(b) == text
}
