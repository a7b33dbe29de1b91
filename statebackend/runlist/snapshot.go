package runlist

import (
	"context"
	"errors"
	"fmt"
	"os"
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

	mu struct {
		sync.Mutex
		phase Phase
		files []string // links to the run (with what it absorbed), for the cold tier
	}
	done chan struct{} // closed when phase is not Writing
}

var errPrevious = errors.New("the cut before it was lost, and this one holds only what changed since")

// Snapshot makes the snapshot of a cut. prev is the last one, if it had not been
// resolved at the freeze. Mailbox goroutine.
func (l *List) Snapshot(id stream.CheckpointID, c *table.Cut, prev *Snapshot, ds []statebackend.Descriptor) *Snapshot {
	return &Snapshot{ID: id, Cut: c, l: l, prev: prev, schemas: schemasOf(ds), done: make(chan struct{})}
}

func schemasOf(ds []statebackend.Descriptor) []*metapb.Schema {
	out := make([]*metapb.Schema, 0, len(ds))
	for _, d := range ds {
		out = append(out, &metapb.Schema{StateId: uint32(d.ID), Schema: d.ValueSchema, NamespaceSchema: d.NamespaceSchema, Kind: d.Kind})
	}
	return out
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
func (s *Snapshot) Fail() bool { return s.resolve(Failed, nil) == Failed }

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

// Finish implements statebackend.Snapshot.
func (s *Snapshot) Finish(ctx context.Context) (statebackend.Result, error) {
	if prev := s.prev; prev != nil {
		select {
		case <-prev.done:
		case <-ctx.Done():
			s.Fail()
			return statebackend.Result{}, fmt.Errorf("wait for the cut before: %w", context.Cause(ctx))
		}
		if p, _ := prev.Phase(); p == Failed && !s.Cut.Full() {
			s.Fail()
			return statebackend.Result{}, errPrevious
		}
	}
	s.l.finish.Lock()
	defer s.l.finish.Unlock()
	if p, _ := s.Phase(); p == Failed {
		return statebackend.Result{}, fmt.Errorf("the cut of %v was given up", s.ID)
	}
	written, err := s.l.addCut(ctx, s)
	if err != nil {
		s.Fail()
		return statebackend.Result{}, fmt.Errorf("write the run of %v: %w", s.ID, err)
	}
	merged, err := s.l.rebase(ctx)
	if err != nil {
		return statebackend.Result{}, fmt.Errorf("merge runs: %w", err)
	}
	runs, err := s.l.upload(ctx, s.ID)
	if err != nil {
		return statebackend.Result{}, fmt.Errorf("upload the runs of %v: %w", s.ID, err)
	}
	return statebackend.Result{Runs: runs, Schemas: s.schemas, NewBytes: written + merged}, nil
}

// addCut writes the cut's run and lists it; the snapshot is durable from here on.
// A cut that holds everything takes the place of the whole list; a small one
// absorbs the inline run before it.
func (l *List) addCut(ctx context.Context, s *Snapshot) (written int64, err error) {
	old := l.copyEntries()
	var e *entry
	if s.Cut.Len() > 0 {
		if e, err = l.write(ctx, l.name(), s.Cut.Encode); err != nil {
			return 0, err
		}
	}
	switch {
	case s.Cut.Full() && len(old) > 0:
		l.replace(old, e)
		err = l.forget(old)
	case e == nil:
	case len(old) > 0 && old[len(old)-1].run.InlineTable != nil:
		last := old[len(old)-1:]
		if e, err = l.merge(ctx, []*entry{last[0], e}, len(old) == 1); err == nil {
			l.replace(last, e)
			err = l.forget(last)
		}
	default:
		l.append(e)
	}
	if err != nil {
		return 0, err
	}
	if e == nil {
		s.resolve(Durable, nil)
		return 0, nil
	}
	links, err := l.linkCold(e)
	if err != nil {
		return 0, err
	}
	s.resolve(Durable, links)
	return int64(e.run.Bytes), nil
}

// linkCold makes links to e's files for the cold tier: the list may drop the run,
// and its files, before the mailbox goroutine has come to ingest them.
func (l *List) linkCold(e *entry) (links []string, err error) {
	if !l.o.Cold {
		return nil, nil
	}
	for i, f := range e.files {
		to := fmt.Sprintf("%s.cold-%d", f, i)
		if err := os.Link(f, to); err != nil {
			return nil, err
		}
		links = append(links, to)
	}
	return links, nil
}

func (l *List) append(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.entries = append(l.mu.entries, e)
}

// upload stores what the store lacks and returns the list. The newest run, if
// small, is put inline; an older inline one gets a file.
func (l *List) upload(ctx context.Context, id stream.CheckpointID) ([]*metapb.Run, error) {
	entries := l.copyEntries()
	runs := make([]*metapb.Run, 0, len(entries))
	for i, e := range entries {
		newest := i == len(entries)-1
		if newest && !e.stored && l.fitsInline(e) {
			if err := l.makeInline(e); err != nil {
				return nil, err
			}
		}
		if e.run.InlineTable != nil && !newest && e.files != nil {
			e = l.outline(e)
		}
		if !e.stored {
			if err := l.store(ctx, e); err != nil {
				return nil, fmt.Errorf("run %s: %w", e.run.Id, err)
			}
		}
		if e.run.FirstAck == 0 {
			e.run.FirstAck = uint64(id)
		}
		runs = append(runs, e.run)
	}
	return runs, nil
}
