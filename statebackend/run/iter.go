package run

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// Source yields entries in key order; a range clear counts with its start and comes
// before a point there. Iter and Merged are Sources.
type Source interface {
	// Next yields the next entry; ok is false at the end and after an error. The entry's
	// bytes are valid until the next call.
	Next() (e Entry, ok bool)
	// Err is the error that ended the entries, or nil.
	Err() error
	// Close releases what the source holds.
	Close() error
}

// Opener opens a file of a run by its object name: Store.Open of an objstore, or
// LocalOpener.
type Opener func(ctx context.Context, name string) (objstore.Reader, error)

// LocalOpener opens the files that a Writer left in dir. fs nil is the operating
// system's.
func LocalOpener(fs vfs.FS, dir string) Opener {
	if fs == nil {
		fs = vfs.Default
	}
	return func(_ context.Context, name string) (objstore.Reader, error) {
		f, err := fs.Open(fs.PathJoin(dir, File{Name: name}.Base()))
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		return localReader{f, st.Size()}, nil
	}
}

type localReader struct {
	vfs.File
	size int64
}

func (r localReader) Size() int64 { return r.size }

// Iter reads a run in key order. It opens one file at a time.
type Iter struct {
	ctx    context.Context // of NewIter: for the reads
	run    Run
	open   Opener
	lo, hi []byte // bounds: [lo, hi)

	next   int // file to open next
	table  *Table
	points sstable.Iterator
	clears []clearSpan // of the table, within the bounds, not yet handed out
	head   Entry       // next point
	live   bool        // head is one
	begun  bool        // points is positioned
	taken  bool        // head has been handed out
	err    error
}

// NewIter reads what is visible of r within groups.
func NewIter(ctx context.Context, r Run, open Opener, groups stream.KeyGroupRange) *Iter {
	it := &Iter{ctx: ctx, run: r, open: open}
	visible, ok := r.Visible.Intersect(groups)
	if !ok {
		it.next = it.files()
		return it
	}
	it.lo, it.hi = GroupStart(visible.First), GroupEnd(visible.Last)
	return it
}

func (it *Iter) files() int {
	if it.run.Inline != nil {
		return 1
	}
	return len(it.run.Files)
}

// advance opens the next file that has anything in the bounds. After the last one
// the table stays nil.
func (it *Iter) advance() {
	for it.err == nil && it.next < it.files() {
		n := it.next
		it.next++
		var f File
		var r objstore.Reader
		if it.run.Inline != nil {
			f = it.run.inlineFile()
			r = objstore.BytesReader(it.run.Inline)
		} else {
			f = it.run.Files[n]
			if bytes.Compare(f.Largest, it.lo) < 0 || bytes.Compare(f.Smallest, it.hi) >= 0 {
				continue
			}
			if r, it.err = it.run.openFile(it.ctx, f, it.open); it.err != nil {
				it.err = fmt.Errorf("open run %s, file %s: %w", it.run.ID, f.Name, it.err)
				return
			}
		}
		if it.table, it.err = Open(it.ctx, r, it.run.ID, n, f); it.err != nil {
			it.table = nil
			return
		}
		it.start()
		return
	}
}

// start makes an iterator of the open table.
func (it *Iter) start() {
	t := it.table
	it.clears = it.clears[:0]
	for _, c := range t.clears {
		c = clearSpan{maxKey(c.start, it.lo), minKey(c.end, it.hi)}
		if bytes.Compare(c.start, c.end) < 0 {
			it.clears = append(it.clears, c)
		}
	}
	it.live, it.begun, it.taken = false, false, false
	it.err = t.guard("read", func() (err error) {
		it.points, err = t.reader.NewPointIter(it.ctx, sstable.IterOptions{
			Lower: it.lo, Upper: it.hi,
			FilterBlockSizeLimit: sstable.NeverUseFilterBlock,
			Env:                  sstable.NoReadEnv,
			ReaderProvider:       sstable.MakeTrivialReaderProvider(t.reader),
			BlobContext:          sstable.AssertNoBlobHandles,
		})
		return err
	})
}

// Next implements Source.
func (it *Iter) Next() (e Entry, ok bool) {
	for it.err == nil {
		if it.table == nil {
			if it.advance(); it.table == nil || it.err != nil {
				break
			}
		}
		if it.taken || !it.begun {
			it.step()
			if it.err != nil {
				break
			}
		}
		if len(it.clears) > 0 && (!it.live || bytes.Compare(it.clears[0].start, it.head.Key) <= 0) {
			c := it.clears[0]
			it.clears = it.clears[1:]
			return Entry{Key: c.start, Value: c.end, Kind: KindClear}, true
		}
		if it.live {
			it.taken = true
			return it.head, true
		}
		it.closeTable()
	}
	return Entry{}, false
}

// step reads the next point into head.
func (it *Iter) step() {
	defer func() {
		if p := recover(); p != nil {
			it.live = false
			it.err = it.table.failed("read", fmt.Errorf("the table reader panicked: %v", p))
		}
	}()
	it.taken, it.live = false, false
	if !it.begun {
		it.begun = true
		if kv := it.points.SeekGE(it.lo, 0); kv != nil {
			it.take(kv.K, kv.InPlaceValue())
			return
		}
	} else if kv := it.points.Next(); kv != nil {
		it.take(kv.K, kv.InPlaceValue())
		return
	}
	if err := it.points.Error(); err != nil {
		it.err = it.table.failed("read", err)
	}
}

func (it *Iter) take(key sstable.InternalKey, value []byte) {
	switch key.Kind() {
	case sstable.InternalKeyKindSet:
		it.head = Entry{Key: key.UserKey, Value: value, Kind: KindSet}
	case sstable.InternalKeyKindMerge:
		it.head = Entry{Key: key.UserKey, Value: value, Kind: KindMerge}
	case sstable.InternalKeyKindDelete:
		it.head = Entry{Key: key.UserKey, Kind: KindDelete}
	default:
		it.err = it.table.failed("read", fmt.Errorf("key %x is of kind %d, which format %d has not", key.UserKey, key.Kind(), FormatVersion))
		return
	}
	it.live = true
}

func (it *Iter) closeTable() {
	if it.table == nil {
		return
	}
	t := it.table
	err := t.guard("close", func() error {
		if it.points == nil {
			return nil
		}
		p := it.points
		it.points = nil
		return p.Close()
	})
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if it.err == nil {
		it.err = err
	}
	it.table, it.live, it.clears = nil, false, it.clears[:0]
}

// Err implements Source.
func (it *Iter) Err() error { return it.err }

// Close implements Source. It returns no error that Err has not told.
func (it *Iter) Close() error {
	before := it.err
	it.closeTable()
	it.next = it.files()
	if before == nil {
		return it.err
	}
	return nil
}
