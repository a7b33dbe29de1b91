package table

import (
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/evolution"
)

// Evolve tells the store which schemas the values of a restored snapshot have: those
// that any of its subtasks lists. It comes before the first entry, at every restore, even
// of nothing. A schema that the program can't read is an ErrSchema that names the state.
func (s *Store) Evolve(listed []*metapb.Schema) error {
	states := make([]evolution.State, len(s.states))
	for i, t := range s.states {
		states[i] = t.evolving()
	}
	readers, err := s.listing.Restore(listed, states)
	if err != nil {
		return err
	}
	for i, t := range s.states {
		t.evolved(readers[i])
	}
	return nil
}

// Schemas is what a snapshot lists: every schema that a value in its runs may have.
func (s *Store) Schemas() []*metapb.Schema {
	s.listing.Begin(s.Descriptors())
	return s.listing.All()
}

// Evolved are the schemas with an ordinal from 1, in its order: the table of the runs
// that are written from now on.
func (s *Store) Evolved() []*metapb.Schema { return s.listing.Table() }

func (t *tbl[V]) evolving() evolution.State {
	return evolution.State{Descriptor: t.d, From: t.hooks.from}
}
func (t *tbl[V]) evolved(r evolution.Reader) { t.values = r }
