package runlist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// objectName is where a run's file lies below the job's checkpoint folder.
func objectName(id string) string { return "shared/" + id + ".sst" }

// write makes a run on local disk of what encode yields.
func (l *List) write(ctx context.Context, id string, encode func(table.Sink) error) (*entry, error) {
	path := filepath.Join(l.o.Dir, id+".sst")
	w, err := newWriter(path)
	if err != nil {
		return nil, err
	}
	sink := &bounds{w: w}
	err = encode(sink)
	if err == nil {
		err = context.Cause(ctx)
	}
	size, cerr := w.close()
	if err = errors.Join(err, cerr); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &entry{
		run: &metapb.Run{
			Id: id, FirstGroup: sink.first, LastGroup: sink.last, Entries: sink.n, Bytes: uint64(size), Attempt: l.o.Attempt,
		},
		files: []string{path},
	}, nil
}

// bounds notes what a run holds as it is written.
type bounds struct {
	w           *writer
	n           uint64
	first, last uint32
}

func (b *bounds) note(key []byte) {
	b.last = uint32(binary.BigEndian.Uint16(key))
	if b.n == 0 {
		b.first = b.last
	}
	b.n++
}

// Set implements table.Sink.
func (b *bounds) Set(key, value []byte) error { b.note(key); return b.w.set(key, value) }

// Delete implements table.Sink.
func (b *bounds) Delete(key []byte) error { b.note(key); return b.w.delete(key) }

// merge writes the merger of adjacent runs as a new one; nil if nothing is left.
// Without older runs below, tombstones are dropped.
func (l *List) merge(ctx context.Context, old []*entry, oldest bool) (*entry, error) {
	e, err := l.write(ctx, l.name(), func(sink table.Sink) error {
		return l.each(ctx, old, func(key, value []byte, deleted bool) error {
			if !deleted {
				return sink.Set(key, value)
			}
			if oldest {
				return nil
			}
			return sink.Delete(key)
		})
	})
	if err != nil {
		return nil, err
	}
	if e.run.Entries == 0 {
		return nil, l.forget([]*entry{e})
	}
	return e, nil
}

// Read calls f for each key that has a value in the list, in key order.
func (l *List) Read(ctx context.Context, f func(key, value []byte) error) error {
	return l.each(ctx, l.copyEntries(), func(key, value []byte, deleted bool) error {
		if deleted {
			return nil
		}
		return f(key, value)
	})
}

// each merges the entries, newest first for each key, within their clips.
func (l *List) each(ctx context.Context, entries []*entry, f func(key, value []byte, deleted bool) error) (err error) {
	var m merger
	defer func() { err = errors.Join(err, m.close()) }()
	for i, e := range entries {
		if err := l.openInto(ctx, &m, e, i); err != nil {
			return fmt.Errorf("open run %s: %w", e.run.Id, err)
		}
	}
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		key, value, deleted, err := m.next()
		if err != nil || key == nil {
			return err
		}
		if err := f(key, value, deleted); err != nil {
			return err
		}
	}
}

func (l *List) openInto(ctx context.Context, m *merger, e *entry, age int) error {
	clip := groups(e.run)
	switch {
	case e.files != nil:
		for _, p := range e.files {
			if err := m.addFile(p, clip, age); err != nil {
				return err
			}
		}
	case e.run.InlineTable != nil:
		return m.addBytes(e.run.InlineTable, clip, age)
	default:
		for _, f := range e.run.Files {
			r, err := l.o.Store.Open(ctx, f.Name)
			if err != nil {
				return err
			}
			if err := m.addReader(r, clip, age); err != nil {
				return err
			}
		}
	}
	return nil
}

// Link makes files of the whole list below dir that the caller may take, in list
// order. Runs of which only a part counts are merged into a fresh file, as the
// order of runs of different old subtasks says nothing.
func (l *List) Link(ctx context.Context, dir string) (runs [][]string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Under the lock, so that nobody removes a local file meanwhile.
	local := true
	for _, e := range l.mu.entries {
		local = local && e.files != nil
	}
	if !local {
		to := filepath.Join(dir, "restored.sst")
		w, err := newWriter(to)
		if err != nil {
			return nil, err
		}
		n := 0
		err = l.each(ctx, l.mu.entries, func(key, value []byte, deleted bool) error {
			if deleted {
				return nil
			}
			n++
			return w.set(key, value)
		})
		_, cerr := w.close()
		if err = errors.Join(err, cerr); err != nil || n == 0 {
			return nil, err
		}
		return [][]string{{to}}, nil
	}
	for i, e := range l.mu.entries {
		var files []string
		for j, f := range e.files {
			to := filepath.Join(dir, fmt.Sprintf("listed-%d-%d.sst", i, j))
			if err := os.Link(f, to); err != nil {
				return nil, err
			}
			files = append(files, to)
		}
		runs = append(runs, files)
	}
	return runs, nil
}

// store uploads a run's file. The name is ours alone: an object that is there
// already is one that an unknown result left (I4).
func (l *List) store(ctx context.Context, e *entry) error {
	name := objectName(e.run.Id)
	err := objstore.Import(ctx, l.o.Store, e.files[0], name)
	if errors.Is(err, objstore.ErrUnknown) || errors.Is(err, objstore.ErrExists) {
		r, oerr := l.o.Store.Open(ctx, name)
		if oerr != nil {
			return errors.Join(err, oerr)
		}
		if size := r.Size(); size != int64(e.run.Bytes) {
			err = fmt.Errorf("object %s has %d bytes, the run %d: %w", name, size, e.run.Bytes, statebackend.ErrCorrupt)
		} else {
			err = nil
		}
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return err
	}
	e.run.Files = []*metapb.RunFile{{Name: name, Size: e.run.Bytes}}
	e.stored = true
	return nil
}

func (l *List) fitsInline(e *entry) bool {
	return e.files != nil && int64(e.run.Bytes) <= l.o.InlineLimit
}

// makeInline puts a run that nobody has seen yet into its list entry.
func (l *List) makeInline(e *entry) error {
	b, err := os.ReadFile(e.files[0])
	if err != nil {
		return fmt.Errorf("read run %s: %w", e.run.Id, err)
	}
	e.run.InlineTable, e.stored = b, true
	return nil
}

// outline lists an inline run, which is not the newest any more, as one that is to
// be stored.
func (l *List) outline(e *entry) *entry {
	r := e.run
	out := &entry{files: e.files, run: &metapb.Run{
		Id: r.Id, FirstGroup: r.FirstGroup, LastGroup: r.LastGroup, Entries: r.Entries, Bytes: r.Bytes,
		FirstAck: r.FirstAck, Attempt: r.Attempt,
	}}
	l.replace([]*entry{e}, out)
	return out
}

func groupOf(key []byte) stream.KeyGroup { return stream.KeyGroup(binary.BigEndian.Uint16(key)) }
