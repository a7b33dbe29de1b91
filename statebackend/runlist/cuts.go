package runlist

import (
	"fmt"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Cuts are the cuts of one store that are on their way into its run list. It
// belongs to the mailbox goroutine.
type Cuts struct {
	store  *table.Store
	list   *List
	flying []*Snapshot // not resolved, oldest first
}

// NewCuts returns the cuts of store, none yet.
func NewCuts(store *table.Store, list *List) *Cuts { return &Cuts{store: store, list: list} }

// Freeze begins a snapshot.
func (c *Cuts) Freeze(id stream.CheckpointID) (*Snapshot, error) {
	if err := c.store.Err(); err != nil {
		return nil, err
	}
	cut, err := c.store.Freeze(c.list.WantsFull())
	if err != nil {
		return nil, fmt.Errorf("freeze keyed state for %v: %w", id, err)
	}
	var prev *Snapshot
	if n := len(c.flying); n > 0 {
		prev = c.flying[n-1]
	}
	s := c.list.Snapshot(id, cut, prev, c.store.Descriptors())
	c.flying = append(c.flying, s)
	return s, nil
}

// Resolve tells the store what became of the cuts, oldest first: durable is called
// with the files that the cold tier is to take before the run's entries count as
// clean.
func (c *Cuts) Resolve(durable func(files []string) error) error {
	for len(c.flying) > 0 {
		s := c.flying[0]
		phase, files := s.Phase()
		switch phase {
		case Writing:
			return nil
		case Durable:
			if len(files) > 0 {
				if err := durable(files); err != nil {
					return err
				}
			}
			c.store.Durable(s.Cut)
		case Failed:
			c.store.Failed(s.Cut)
		}
		c.flying[0] = nil
		c.flying = c.flying[1:]
	}
	return nil
}

// Busy reports whether a cut is unresolved.
func (c *Cuts) Busy() bool { return len(c.flying) > 0 }

// CheckSchemas compares the states of a snapshot with those of the program. A
// difference that the program's codecs cannot read is an error that names it.
func CheckSchemas(ds []statebackend.Descriptor, from []statebackend.Restored) error {
	for _, r := range from {
		for _, old := range r.Schemas {
			for _, d := range ds {
				if uint32(d.ID) != old.StateId {
					continue
				}
				if err := checkSchema(d, old); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkSchema(d statebackend.Descriptor, old *metapb.Schema) error {
	if old.Kind != metapb.StateKind_STATE_KIND_UNSPECIFIED && old.Kind != d.Kind {
		return fmt.Errorf("state %q was a %v in the snapshot and is a %v now: %w", d.Name, old.Kind, d.Kind, statebackend.ErrSchema)
	}
	for _, p := range []struct {
		what     string
		old, now []byte
	}{{"value", old.Schema, d.ValueSchema}, {"map key", old.NamespaceSchema, d.NamespaceSchema}} {
		if string(p.old) == string(p.now) {
			continue
		}
		if c, why := codec.Compatible(p.old, p.now); c != codec.AsIs {
			return fmt.Errorf("state %q: the %s's type has changed since the snapshot (%s): %w", d.Name, p.what, why, statebackend.ErrSchema)
		}
	}
	return nil
}
