package runlist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// Linked is a run's files where a cold tier can take them.
type Linked struct {
	Files []string
	// Behind has an entry for each file, or is nil: one that is not nil stands for a file
	// that is not there yet.
	Behind []*Behind
	// Clip says what counts of each file, if not everything within the subtask's range; it
	// is there with Behind too.
	Clip []Span
}

// Span is the key range [From, To) of a file.
type Span struct {
	From, To []byte
	Size     int64 // bytes of the whole file
}

// Link makes files of the whole list below dir that the caller may take, in list
// order: by hard link where the run lies on dir's file system. Else another job's are
// copied, and this job's are read where they are until they have been (Behind). What lies
// in a pack, which is small, is copied. Files
// that this attempt did not write are checked as when they are read: size and digest
// of the tail; copied ones as a whole.
func (l *List) Link(ctx context.Context, dir string) (runs []Linked, err error) {
	l.filters.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.links++
	// Under the lock, so that nobody removes a local file meanwhile.
	behind := map[*entry][]*Behind{}
	for i, e := range l.mu.entries {
		r, err := l.linkEntry(ctx, e, dir, i)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", e.run.ID, err)
		}
		if len(r.Files) > 0 {
			runs = append(runs, r)
		}
		for _, b := range r.Behind {
			if b != nil {
				behind[e] = append(behind[e], b)
			}
		}
	}
	l.bringBehind(behind)
	return runs, nil
}

func (l *List) linkEntry(ctx context.Context, e *entry, dir string, number int) (r Linked, err error) {
	visible, ok := e.run.Visible.Intersect(l.o.Range)
	if !ok {
		return Linked{}, nil
	}
	if e.own {
		r.Files, err = l.link(e, dir)
		return r, err
	}
	from, to := run.GroupStart(visible.First), run.GroupEnd(visible.Last)
	clipped := false
	if e.run.Inline != nil {
		if err := e.run.Verify(ctx, nil); err != nil {
			return Linked{}, err
		}
		path := filepath.Join(dir, fmt.Sprintf("restored-%d.sst", number))
		r.Files = []string{path}
		r.Clip = []Span{{from, to, e.run.Bytes}}
		return r, os.WriteFile(path, e.run.Inline, 0o644)
	}
	var numbers []int
	for n, f := range e.run.Files {
		if bytes.Compare(f.Largest, from) < 0 || bytes.Compare(f.Smallest, to) >= 0 {
			continue
		}
		numbers = append(numbers, n)
		r.Files = append(r.Files, filepath.Join(dir, fmt.Sprintf("restored-%d-%d.sst", number, n)))
		s := l.clip(f, visible)
		s.Size = f.Size
		if i := len(r.Clip) - 1; i >= 0 && bytes.Compare(r.Clip[i].To, s.From) > 0 {
			r.Clip[i].To = s.From // the end of a range clear is exclusive
		}
		r.Clip = append(r.Clip, s)
		clipped = clipped || l.hides(f, visible)
	}
	if r.Behind, err = l.bringAll(ctx, e, numbers, r.Files); err != nil {
		return Linked{}, err
	}
	behind := slices.ContainsFunc(r.Behind, func(b *Behind) bool { return b != nil })
	if !behind {
		r.Behind = nil
	}
	if !clipped && !behind {
		r.Clip = nil
	}
	return r, nil
}

// bringers is how many files are looked at together: each costs a round trip where the
// store is far away.
const bringers = 16

// bringAll is bring of some files of a run, several at a time.
func (l *List) bringAll(ctx context.Context, e *entry, numbers []int, paths []string) ([]*Behind, error) {
	all, errs := make([]*Behind, len(numbers)), make([]error, len(numbers))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(bringers, len(numbers)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(numbers)); i = next.Add(1) - 1 {
				var err error
				if all[i], err = l.bring(ctx, e, numbers[i], paths[i]); err != nil {
					errs[i] = fmt.Errorf("bring file %s: %w", e.run.Files[numbers[i]].Name, err)
				}
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// clip is the part of f's key range that lies within visible.
func (l *List) clip(f run.File, visible stream.KeyGroupRange) (s Span) {
	s.From, s.To = run.GroupStart(visible.First), run.GroupEnd(visible.Last)
	if bytes.Compare(f.Smallest, s.From) > 0 {
		s.From = f.Smallest
	}
	if end := append(bytes.Clone(f.Largest), 0); bytes.Compare(end, s.To) < 0 {
		s.To = end // the next key: Largest may be one
	}
	return s
}

// hides reports whether f holds something within the subtask's range that does not
// count.
func (l *List) hides(f run.File, visible stream.KeyGroupRange) bool {
	first, last := run.Group(f.Smallest), run.Group(f.Largest)
	return max(first, l.o.Range.First) < visible.First || min(last, l.o.Range.Last) > visible.Last
}

// bring puts file n of a run that lies in a store at path, or says how it is read until
// it is there.
func (l *List) bring(ctx context.Context, e *entry, n int, path string) (*Behind, error) {
	f := e.run.Files[n]
	url := e.base
	if url == "" {
		url = l.o.Store.URL()
	}
	packed := f.PackSize > 0 // and has no name of its own
	linked := false
	if folder, err := objstore.LocalPath(url); err == nil && !packed && objstore.ValidName(f.Name) == nil {
		// Whatever stands in the way of a link may not be in that of a copy.
		linked = os.Link(filepath.Join(folder, filepath.FromSlash(f.Name)), path) == nil
	}
	if !linked && !packed && e.base == "" {
		b := &Behind{path: path, r: e.run, n: n, open: l.opener(e)}
		return b, e.run.CheckFile(ctx, n, b.open)
	}
	if !linked {
		if err := copyFile(ctx, l.opener(e), e.run, n, path); err != nil {
			return nil, err
		}
	}
	alone := e.run.Moved(n, f.Name)
	return nil, alone.CheckFile(ctx, n, func(context.Context, string) (objstore.Reader, error) { return objstore.OpenFile(path) })
}

// copyFile copies file n of a run to path.
func copyFile(ctx context.Context, open run.Opener, r run.Run, n int, path string) (err error) {
	w, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return r.CopyFile(ctx, n, open, w)
}
