package runlist

import (
	"errors"
	"fmt"
	"os"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/run"
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
func NewCuts(store *table.Store, list *List) *Cuts {
	list.states = store.Descriptors
	return &Cuts{store: store, list: list}
}

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
	s := c.list.Snapshot(id, cut, prev, c.store.Schemas())
	c.flying = append(c.flying, s)
	return s, nil
}

// Resolve tells the store what became of the cuts, oldest first: durable is called
// with the files that the cold tier is to take before the run's entries count as
// clean. It must take no run twice, because there may be operands in it: one that Link has
// found is not among them.
func (c *Cuts) Resolve(durable func(files []string) error) error {
	for len(c.flying) > 0 {
		s := c.flying[0]
		phase, files := s.Phase()
		switch phase {
		case Writing:
			return nil
		case Durable:
			take := durable
			if c.list.linked(s) {
				take = remove
			}
			if len(files) > 0 {
				if err := take(files); err != nil {
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

func remove(files []string) (err error) {
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// Busy reports whether a cut is unresolved.
func (c *Cuts) Busy() bool { return len(c.flying) > 0 }

// Evolve tells the store and the list which schemas the values of a restored snapshot
// have. One that the program's codecs cannot read is an error that names the state.
func (c *Cuts) Evolve(from []statebackend.Restored) error {
	var listed []*metapb.Schema
	for _, r := range from {
		listed = append(listed, r.Schemas...)
	}
	if err := c.store.Evolve(listed); err != nil {
		return err
	}
	c.list.schemas = nil
	for _, s := range c.store.Evolved() {
		c.list.schemas = append(c.list.schemas, run.Schema{State: statebackend.StateID(s.StateId), Bytes: s.Schema})
	}
	return nil
}
