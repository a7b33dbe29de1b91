package table

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// declareAs makes a store with values of type V by name of state and id.
func declareAs[V any](t *testing.T, ids ...int) *Store {
	t.Helper()
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8, Fail: func(err error) { t.Error(err) }})
	c, err := codec.For[V]()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		d := statebackend.Descriptor{ID: statebackend.StateID(id), Name: fmt.Sprint("s", id), Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: c.Schema()}
		if _, err := NewValue(s, d, c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// listing is the ordinals that a store lists, as "state/ordinal:writes".
func listing(s *Store) string {
	var all []string
	for _, l := range s.Schemas() {
		text := fmt.Sprintf("%d/%d", l.StateId, l.Ordinal)
		for _, st := range s.states {
			if t := st.(*tbl[ref]); uint32(t.d.ID) == l.StateId && t.values.Ordinal == uint64(l.Ordinal) {
				text += "*"
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestOrdinals: an ordinal is given once, each subtask gives the same, and a schema that
// was there before gets its old one.
func TestOrdinals(t *testing.T) {
	type v1 struct{ Name string }
	type v2 struct{ Name, Note string }
	type v3 struct {
		Name string
		N    []int8
	}
	step := func(s *Store, from *Store, want string) *Store {
		t.Helper()
		if from != nil {
			listed := from.Schemas()
			if err := s.Evolve(append(listed, listed...)); err != nil { // of two subtasks
				t.Fatal(err)
			}
		}
		if got := listing(s); got != want {
			t.Errorf("listed %s, want %s", got, want)
		}
		return s
	}
	s := step(declareAs[v1](t, 7, 3), nil, "3/0* 7/0*")
	s = step(declareAs[v1](t, 3, 7), s, "3/0* 7/0*")
	s = step(declareAs[v2](t, 7, 3), s, "3/0 3/2* 7/0 7/1*") // in the order of declaration
	s = step(declareAs[v2](t, 3, 7, 9), s, "3/0 3/2* 7/0 7/1* 9/0*")
	s = step(declareAs[v1](t, 3, 7), s, "3/0* 3/2 7/0* 7/1") // 9 was dropped
	s = step(declareAs[v3](t, 7), s, "3/2 7/0 7/1 7/3*")     // and 3, whose ordinal stays taken
	if table := s.Evolved(); len(table) != 3 || table[0].StateId != 7 || table[1].StateId != 3 || table[2].StateId != 7 {
		t.Errorf("table %v", table)
	}
	if got := listing(step(declareAs[v1](t, 7), nil, "7/0*")); got == "" {
		t.Error("a fresh start lists nothing")
	}
}

func TestEvolveRefuses(t *testing.T) {
	type v1 struct{ Name string }
	type v2 struct{ Name int64 }
	schema := declareAs[v1](t, 1).Schemas()[0]
	other := declareAs[v2](t, 1).Schemas()[0]
	for name, c := range map[string]struct {
		listed []*metapb.Schema
		want   error
	}{
		"another type": {[]*metapb.Schema{other}, statebackend.ErrSchema},
		"another kind": {[]*metapb.Schema{{StateId: 1, Kind: metapb.StateKind_STATE_KIND_LIST, Schema: schema.Schema}}, statebackend.ErrSchema},
		"two of one":   {[]*metapb.Schema{schema, other}, statebackend.ErrCorrupt},
		"a gap":        {[]*metapb.Schema{schema, {StateId: 1, Ordinal: 2, Kind: schema.Kind, Schema: schema.Schema}}, statebackend.ErrCorrupt},
		"no schema":    {[]*metapb.Schema{{StateId: 1, Kind: schema.Kind}}, statebackend.ErrSchema},
	} {
		if err := declareAs[v1](t, 1).Evolve(c.listed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// A value of a schema that nobody lists.
	s := declareAs[v1](t, 1)
	if err := s.Evolve([]*metapb.Schema{schema}); err != nil {
		t.Fatal(err)
	}
	word := uint64(5)
	hash := codec.HashWord(word, 8)
	key := appendWord(appendPrefix(nil, groupOf(hash), 1), word, 8)
	if err := s.Load(key, []byte{byte(metapb.StateKind_STATE_KIND_VALUE), 4, 1, 'x'}); !errors.Is(err, statebackend.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}
