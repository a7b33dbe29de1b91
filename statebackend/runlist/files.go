package runlist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/statebackend/table"
)

// folder of runs below the job's checkpoint folder.
const folder = "shared"

// coldBlock is the block size of runs from which a cold tier reads single keys: of what it
// costs to read one that is not in the cache, some 10 µs, a third goes with the size. Smaller
// ones showed no gain: their index takes the room in the cache that they leave.
const coldBlock = 4 << 10

// write makes a run of what encode yields: on local disk, or inline if it is not
// larger than inline bytes.
func (l *List) write(ctx context.Context, id string, inline int64, encode func(table.Sink) error) (*entry, error) {
	o := run.Options{ID: id, Dir: l.o.Dir, Folder: folder, InlineLimit: int(inline), Attempt: l.o.Attempt, Schemas: l.schemas}
	if l.o.Cold {
		o.BlockSize, o.Filter = coldBlock, l.filters.Load()
	}
	w, err := run.NewWriter(o)
	if err != nil {
		return nil, err
	}
	if err = encode(w); err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	r, err := w.Finish()
	if err != nil {
		return nil, err
	}
	return &entry{run: r, local: r.Inline == nil, own: true, stored: r.Inline != nil}, nil
}

// merge writes the merger of adjacent runs as a new one; nil if nothing is left.
// Without older runs below, tombstones are dropped.
func (l *List) merge(ctx context.Context, old []*entry, oldest bool, inline int64) (*entry, error) {
	e, err := l.write(ctx, l.name(), inline, func(sink table.Sink) error {
		return l.each(ctx, old, oldest, func(e run.Entry) error {
			switch e.Kind {
			case run.KindSet:
				return sink.Set(e.Key, e.Value)
			case run.KindMerge:
				return sink.Merge(e.Key, e.Value)
			case run.KindDelete:
				return sink.Delete(e.Key)
			}
			if c, ok := sink.(interface{ ClearRange(start, end []byte) error }); ok {
				return c.ClearRange(e.Key, e.Value)
			}
			panic(fmt.Sprintf("weir: BUG: entry of kind %d cannot be merged", e.Kind))
		})
	})
	if err != nil {
		return nil, err
	}
	if e.run.Empty() {
		return nil, nil
	}
	return e, nil
}

// Read calls f for each key that has a value in the list, in key order.
func (l *List) Read(ctx context.Context, f func(key, value []byte) error) error {
	return l.each(ctx, l.copyEntries(), true, func(e run.Entry) error { return f(e.Key, e.Value) })
}

// each merges the entries, oldest first, within what of them is visible.
func (l *List) each(ctx context.Context, entries []*entry, drop bool, f func(e run.Entry) error) (err error) {
	sources := make([]run.Source, len(entries))
	for i, e := range entries {
		sources[i] = run.NewIter(ctx, e.run, l.opener(e), l.o.Range)
	}
	m := run.Merge(sources, drop)
	defer func() { err = errors.Join(err, m.Close()) }()
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		e, ok := m.Next()
		if !ok {
			return m.Err()
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// opener opens e's files where they are: on local disk, in the job's checkpoint
// folder, or in that of the snapshot restored from.
func (l *List) opener(e *entry) run.Opener {
	switch {
	case e.local:
		return run.LocalOpener(nil, l.o.Dir)
	case e.base == "":
		return l.o.Store.Open
	}
	return func(ctx context.Context, name string) (objstore.Reader, error) {
		s, err := l.foreignStore(e.base)
		if err != nil {
			return nil, fmt.Errorf("open the snapshot restored from: %w", err)
		}
		return s.Open(ctx, name)
	}
}

// foreignStore is the store that foreign runs with that base lie in.
func (l *List) foreignStore(base string) (*objstore.FS, error) {
	l.foreign.Lock()
	defer l.foreign.Unlock()
	if s := l.foreign.stores[base]; s != nil {
		return s, nil
	}
	s, err := objstore.OpenExisting(base)
	if err != nil {
		return nil, err
	}
	if l.foreign.stores == nil {
		l.foreign.stores = map[string]*objstore.FS{}
	}
	l.foreign.stores[base] = s
	return s, nil
}

// link makes links in dir to e's files, which are on local disk or inline.
func (l *List) link(e *entry, dir string) (files []string, err error) {
	if e.run.Inline != nil {
		to := filepath.Join(dir, e.run.ID+"-inline.sst")
		return []string{to}, os.WriteFile(to, e.run.Inline, 0o644)
	}
	for _, f := range e.run.Files {
		to := filepath.Join(dir, "link-"+f.Base())
		if err := os.Link(filepath.Join(l.o.Dir, f.Base()), to); err != nil {
			return nil, err
		}
		files = append(files, to)
	}
	return files, nil
}

// store uploads a run's files, each as an object.
func (l *List) store(ctx context.Context, e *entry) error {
	for _, f := range e.run.Files {
		if err := l.storeFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// storeFile uploads one file. The name is ours alone: an object that is there already is
// one that an unknown result left (I4).
func (l *List) storeFile(ctx context.Context, f run.File) error {
	err := objstore.Import(ctx, l.o.Store, filepath.Join(l.o.Dir, f.Base()), f.Name)
	if errors.Is(err, objstore.ErrUnknown) || errors.Is(err, objstore.ErrExists) {
		err = readBack(ctx, l.o.Store, f.Name, f.Size, err)
	}
	return err
}

// outline gives an inline run a file: a newer run follows it, and only the newest
// may be inline.
func (l *List) outline(e *entry) (*entry, error) {
	r := e.run
	f := run.File{
		Name: folder + "/" + r.ID + "-0.sst", Size: r.Bytes, TailSize: r.Bytes, TailDigest: r.Digest, Digest: r.Digest,
		Smallest: run.GroupStart(r.Visible.First), Largest: run.GroupEnd(r.Visible.Last),
	}
	if err := os.WriteFile(filepath.Join(l.o.Dir, f.Base()), r.Inline, 0o644); err != nil {
		return nil, err
	}
	r.Inline, r.Digest, r.Files = nil, nil, []run.File{f}
	out := &entry{run: r, local: true, own: true, firstAck: e.firstAck}
	l.replace([]*entry{e}, out)
	return out, nil
}
