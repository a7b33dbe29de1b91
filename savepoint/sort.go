package savepoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// sortMemory is how many bytes of entries a sorter keeps before it writes them to disk.
const sortMemory = 64 << 20

// sorter orders the entries of one operator, of which there may be more than fit in
// memory: full buffers are written as runs and merged in the end. Of entries with one key
// the last counts.
type sorter struct {
	dir    string // made when needed, removed by close
	memory int    // bytes
	bytes  []byte
	spots  []spot
	runs   run.List // spilled, oldest first
}

// spot is an entry in sorter.bytes: its key, then its value.
type spot struct{ key, value, end int }

func (s *sorter) add(key, value []byte) error {
	if len(s.spots) > 0 && len(s.bytes)+len(key)+len(value) > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	at := len(s.bytes)
	s.bytes = append(append(s.bytes, key...), value...)
	s.spots = append(s.spots, spot{at, at + len(key), len(s.bytes)})
	return nil
}

// sort orders what is in memory, each key once.
func (s *sorter) sort() {
	slices.SortStableFunc(s.spots, func(a, b spot) int {
		return bytes.Compare(s.bytes[a.key:a.value], s.bytes[b.key:b.value])
	})
	kept := s.spots[:0]
	for i, p := range s.spots {
		if i+1 < len(s.spots) {
			if next := s.spots[i+1]; bytes.Equal(s.bytes[p.key:p.value], s.bytes[next.key:next.value]) {
				continue
			}
		}
		kept = append(kept, p)
	}
	s.spots = kept
}

// spill writes what is in memory as a run.
func (s *sorter) spill() (err error) {
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "weir-sort-"); err != nil {
			return fmt.Errorf("make a folder to sort in: %w", err)
		}
	}
	s.sort()
	w, err := run.NewWriter(run.Options{ID: fmt.Sprintf("sorted-%d", len(s.runs)), Dir: s.dir})
	if err != nil {
		return err
	}
	for _, p := range s.spots {
		if err := w.Set(s.bytes[p.key:p.value], s.bytes[p.value:p.end]); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	r, err := w.Finish()
	if err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	s.bytes, s.spots = s.bytes[:0], s.spots[:0]
	return nil
}

// sorted yields all entries in order. No entry may be added any more; it can be called
// again.
func (s *sorter) sorted(ctx context.Context) run.Source {
	s.sort()
	var sources []run.Source
	for _, r := range s.runs {
		sources = append(sources, run.NewIter(ctx, r, run.LocalOpener(nil, s.dir), stream.AllKeyGroups))
	}
	return run.Merge(append(sources, &inMemory{s: s}), true)
}

func (s *sorter) close() error {
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// inMemory are the entries of a sorter that were not spilled.
type inMemory struct {
	s    *sorter
	next int
}

// Next implements run.Source.
func (m *inMemory) Next() (run.Entry, bool) {
	if m.next == len(m.s.spots) {
		return run.Entry{}, false
	}
	p := m.s.spots[m.next]
	m.next++
	return run.Entry{Key: m.s.bytes[p.key:p.value], Value: m.s.bytes[p.value:p.end], Kind: run.KindSet}, true
}

// Err implements run.Source.
func (m *inMemory) Err() error { return nil }

// Close implements run.Source.
func (m *inMemory) Close() error { return nil }
