package runlist

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Phase is how far a snapshot's run has come.
//
//	writing ──► durable   the run is on local disk and in the list
//	    └─────► failed    it never will be: the cut's keys go back
type Phase uint8

// Phases of a snapshot.
const (
	Writing Phase = iota
	Durable
	Failed
)

// Snapshot is a cut on its way into the list. It implements statebackend.Snapshot.
type Snapshot struct {
	// Immutable after List.Snapshot.
	ID      stream.CheckpointID
	Cut     *table.Cut
	l       *List
	prev    *Snapshot // the one before, if it was still being written
	schemas []*metapb.Schema
	full    bool    // set before Finish
	packing *member // in the worker's packs for ID
	links   int     // calls of Link before the run was listed; guarded by List.mu

	mu struct {
		sync.Mutex
		phase Phase
		files []string // links to the cut's run, for the cold tier
	}
	done chan struct{} // closed when phase is not Writing
}

// ErrPrevious: the cut before was lost, so that this one, which holds only what
// changed since, is too. The next one holds both.
var ErrPrevious = errors.New("the cut before it was lost, and this one holds only what changed since")

// Snapshot makes the snapshot of a cut. prev is the last one, if it had not been
// resolved at the freeze. Mailbox goroutine.
func (l *List) Snapshot(id stream.CheckpointID, c *table.Cut, prev *Snapshot, schemas []*metapb.Schema) *Snapshot {
	return &Snapshot{ID: id, Cut: c, l: l, prev: prev, schemas: schemas, packing: l.o.Packer.join(id), done: make(chan struct{})}
}

// Phase says how far the snapshot has come, and which files the cold tier, if there
// is one, is to take.
func (s *Snapshot) Phase() (Phase, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.phase, s.mu.files
}

// Fail gives a snapshot up whose Finish was not called, and reports whether the
// cut is lost: it isn't once its run is durable.
func (s *Snapshot) Fail() bool {
	s.packing.leave()
	return s.resolve(Failed, nil) == Failed
}

func (s *Snapshot) resolve(p Phase, files []string) Phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.phase == Writing {
		s.mu.phase, s.mu.files = p, files
		s.prev = nil
		close(s.done)
	}
	return s.mu.phase
}

// MakeFull implements statebackend.Snapshot.
func (s *Snapshot) MakeFull() { s.full = true }

// Finish implements statebackend.Snapshot.
func (s *Snapshot) Finish(ctx context.Context) (statebackend.Result, error) {
	defer s.packing.leave()
	if prev := s.prev; prev != nil {
		select {
		case <-prev.done:
		case <-ctx.Done():
			s.Fail()
			return statebackend.Result{}, fmt.Errorf("wait for the cut before: %w", context.Cause(ctx))
		}
		if p, _ := prev.Phase(); p == Failed && !s.Cut.Full() {
			s.Fail()
			return statebackend.Result{}, ErrPrevious
		}
	}
	s.l.finish.Lock()
	defer s.l.finish.Unlock()
	if p, _ := s.Phase(); p == Failed {
		return statebackend.Result{}, fmt.Errorf("the cut of %v was given up", s.ID)
	}
	runs, written, err := s.l.listCut(ctx, s)
	s.l.startRebase() // an earlier one that failed is tried again, whatever became of this cut
	if err != nil {
		return statebackend.Result{}, err
	}
	return statebackend.Result{Runs: runs, Schemas: s.schemas, NewBytes: written}, nil
}

// listCut writes the cut's run, and makes all that the list then holds durable in the
// store. written counts what rebases wrote since the last time.
func (l *List) listCut(ctx context.Context, s *Snapshot) (runs []*metapb.Run, written int64, err error) {
	l.change.Lock()
	defer l.change.Unlock()
	defer l.unlist()
	if written, err = l.addCut(ctx, s); err != nil {
		s.Fail()
		return nil, 0, fmt.Errorf("write the run of %v: %w", s.ID, err)
	}
	switch {
	case s.full:
		n, err := l.mergeAll(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("merge all runs for %v: %w", s.ID, err)
		}
		written += n
	case l.o.MemoryLimit == 0:
		n, err := l.squeeze(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("merge runs for %v: %w", s.ID, err)
		}
		written += n
	}
	if l.o.MemoryLimit > 0 {
		n, err := l.intoMemory(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("put all runs for %v into one: %w", s.ID, err)
		}
		written += n
	}
	if runs, err = l.upload(ctx, s.ID, s.packing); err != nil {
		return nil, 0, fmt.Errorf("upload the runs of %v: %w", s.ID, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	written += l.mu.merged
	l.mu.merged = 0
	return runs, written, nil
}

// addCut writes the cut's run and lists it; the snapshot is durable from here on.
// A cut that holds everything takes the place of the whole list; one that follows
// an inline run absorbs it.
func (l *List) addCut(ctx context.Context, s *Snapshot) (written int64, err error) {
	old := l.copyEntries()
	var e *entry
	if s.Cut.Len() > 0 {
		if e, err = l.write(ctx, l.name(), l.o.InlineLimit, s.Cut.Encode); err != nil {
			return 0, err
		}
		if e.run.Empty() {
			e = nil
		}
	}
	var links []string
	if l.o.Cold && e != nil {
		// The list may drop the run, and its files, before the mailbox goroutine has come
		// to ingest them. NB: the cut's own run, not what it is merged into below: that
		// one may lack tombstones, and the tier still has what they hide.
		if links, err = l.link(e, l.o.Dir); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	reading := l.reading() > 0
	l.mu.Unlock()
	switch {
	case s.Cut.Full() && len(old) > 0 && !reading:
	case l.o.MemoryLimit > 0: // intoMemory merges all
		old = nil
	case e != nil && len(old) > 0 && old[len(old)-1].run.Inline != nil:
		oldest := len(old) == 1
		old = append(old[len(old)-1:], e)
		if e, err = l.merge(ctx, old, oldest, l.o.InlineLimit); err != nil {
			return 0, err
		}
		if err = l.forget(old[1:]); err != nil {
			return 0, err
		}
		old = old[:1]
	default:
		old = nil
	}
	l.place(old, e, s) // before the mailbox goroutine may evict what has changed since the cut
	s.resolve(Durable, links)
	err = l.forget(old)
	if e == nil {
		return 0, err
	}
	return e.run.Bytes, err
}

// upload stores what the store lacks and returns the list as it is now. The caller holds
// change.
func (l *List) upload(ctx context.Context, id stream.CheckpointID, m *member) ([]*metapb.Run, error) {
	entries := l.listed()
	for i, e := range entries {
		if e.run.Inline != nil && i < len(entries)-1 && e.own {
			var err error
			if entries[i], err = l.outline(e); err != nil {
				return nil, fmt.Errorf("run %s: %w", e.run.ID, err)
			}
		}
	}
	if err := l.storeAll(ctx, entries, m); err != nil {
		return nil, err
	}
	if err := l.unpack(ctx, entries); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	runs := make([]*metapb.Run, len(entries))
	for i, e := range entries {
		e.stored = true
		if e.firstAck == 0 {
			e.firstAck = uint64(id)
		}
		e.acks++
		runs[i] = e.proto()
	}
	return runs, nil
}

// proto is the entry in an ack. The caller holds change and mu.
func (e *entry) proto() *metapb.Run {
	p := e.run.Proto()
	p.BasePath, p.FirstAck = e.base, e.firstAck
	for n, at := range e.places {
		if at.pack > 0 {
			f := p.Files[n]
			f.Name, f.Offset, f.PackSize = at.object, uint64(at.offset), uint64(at.pack)
		}
	}
	return p
}
