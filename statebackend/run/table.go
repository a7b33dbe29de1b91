package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/weirstream/weir/statebackend/objstore"
)

// Table is one open file of a run, its tail verified.
type Table struct {
	run    string
	file   File
	rd     *readable
	reader *sstable.Reader
	prop   properties
	clears []clearSpan // ascending
}

// clearSpan is a range clear: [start, end).
type clearSpan struct{ start, end []byte }

// Open opens file number of run id, and closes r if that fails. It checks the size,
// the digest of the tail, and that the properties name this run and number.
func Open(ctx context.Context, r objstore.Reader, id string, number int, f File) (*Table, error) {
	t := &Table{run: id, file: f}
	err := t.open(ctx, r, number)
	if err == nil {
		return t, nil
	}
	if t.reader != nil {
		t.reader.Close() // closes r
	} else {
		r.Close()
	}
	return nil, err
}

func (t *Table) open(ctx context.Context, r objstore.Reader, number int) (err error) {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("open run %s, file %s: %w", t.run, t.file.Name, err)
	}
	f := t.file
	if r.Size() != f.Size {
		return t.corrupt(0, "size in bytes", fmt.Sprint(f.Size), fmt.Sprint(r.Size()))
	}
	from := f.Size - f.TailSize
	if from < 0 || f.TailSize <= 0 || f.TailSize > maxTail {
		return t.corrupt(-1, "size of the tail", fmt.Sprintf("1 to %d", min(f.Size, maxTail)), fmt.Sprint(f.TailSize))
	}
	t.rd = &readable{r: r, tail: make([]byte, f.TailSize), from: from}
	if err := objstore.ReadFull(r, t.rd.tail, from); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return t.corrupt(from, "tail", fmt.Sprintf("%d bytes", f.TailSize), "an earlier end of the file")
		}
		return fmt.Errorf("open run %s, file %s: read its tail: %w", t.run, f.Name, err)
	}
	if got := digest(t.rd.tail); !bytes.Equal(got, f.TailDigest) {
		return t.corrupt(from, "digest of the tail", fmt.Sprintf("%x", f.TailDigest), fmt.Sprintf("%x", got))
	}
	if err := t.guard("open", func() error { return t.read(ctx) }); err != nil {
		return err
	}
	if t.prop.ID != t.run || t.prop.Number != number {
		return t.corrupt(-1, "run and number in the properties (a swapped file?)",
			fmt.Sprintf("%s-%d", t.run, number), fmt.Sprintf("%s-%d", t.prop.ID, t.prop.Number))
	}
	return nil
}

// read opens the SSTable and reads properties and range clears, all of them in the
// tail.
func (t *Table) read(ctx context.Context) (err error) {
	if t.reader, err = sstable.NewReader(ctx, t.rd, sstable.ReaderOptions{}); err != nil {
		return err
	}
	p, err := t.reader.ReadPropertiesBlock(ctx, nil)
	if err != nil {
		return err
	}
	prop := p.UserProperties[propertyName]
	if len(prop) > 0 {
		prop = prop[1:] // Pebble's short id of the collector
	}
	if t.prop, err = decodeProperties([]byte(prop)); err != nil {
		return err
	}
	if p.NumEntries != t.prop.Points+t.prop.Spans || p.NumRangeDeletions != t.prop.Spans || p.NumMergeOperands != t.prop.Operands ||
		p.NumRangeKeyDels+p.NumRangeKeySets+p.NumRangeKeyUnsets+p.NumValueBlocks+p.NumValuesInBlobFiles > 0 {
		return fmt.Errorf("entries of kinds or counts that format %d has not", FormatVersion)
	}
	it, err := t.reader.NewRawRangeDelIter(ctx, sstable.NoFragmentTransforms, sstable.NoReadEnv)
	if err != nil || it == nil {
		return err
	}
	defer it.Close()
	for s, err := it.First(); s != nil || err != nil; s, err = it.Next() {
		if err != nil {
			return err
		}
		t.clears = append(t.clears, clearSpan{bytes.Clone(s.Start), bytes.Clone(s.End)})
	}
	if uint64(len(t.clears)) != t.prop.Spans {
		return fmt.Errorf("%d range clears, %d said", len(t.clears), t.prop.Spans)
	}
	return nil
}

// Close closes the table and the reader it was opened with.
func (t *Table) Close() error {
	if err := t.reader.Close(); err != nil {
		return fmt.Errorf("close run %s, file %s: %w", t.run, t.file.Name, err)
	}
	return nil
}

func (t *Table) corrupt(offset int64, what, want, got string) error {
	return &CorruptError{Run: t.run, File: t.file.Name, Offset: offset, What: what, Want: want, Got: got}
}

// guard runs f, which is in Pebble's hands, and turns its panics and errors into
// those of this package.
func (t *Table) guard(verb string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = t.failed(verb, fmt.Errorf("the table reader panicked: %v", p))
		}
	}()
	if err := f(); err != nil {
		return t.failed(verb, err)
	}
	return nil
}

// failed says what an error of Pebble's reader means: the store failed, or else the
// bytes are wrong.
func (t *Table) failed(verb string, err error) error {
	if errors.Is(err, ErrFormat) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s run %s, file %s: %w", verb, t.run, t.file.Name, err)
	}
	if e := t.rd.failed.Load(); e != nil {
		if e.short {
			return t.corrupt(e.offset, "read", fmt.Sprintf("%d bytes", e.length), "an earlier end of the file")
		}
		return fmt.Errorf("%s run %s, file %s: read %d bytes at offset %d: %w", verb, t.run, t.file.Name, e.length, e.offset, e.err)
	}
	return &CorruptError{Run: t.run, File: t.file.Name, Offset: t.rd.last.Load(), What: verb, Err: err}
}

// readable serves Pebble's reader: the tail from memory, as it was verified, the rest
// from the store.
type readable struct {
	r    objstore.Reader
	tail []byte
	from int64 // offset of the tail

	last   atomic.Int64 // offset of the last read
	failed atomic.Pointer[readError]
}

type readError struct {
	offset int64
	length int
	short  bool // the file ends before
	err    error
}

// ReadAt implements objstorage.Readable.
func (r *readable) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.last.Store(off)
	if off < 0 || off+int64(len(p)) > r.Size() {
		return fmt.Errorf("a block of %d bytes at offset %d lies beyond the end at %d", len(p), off, r.Size())
	}
	n := 0
	if off < r.from {
		n = int(min(int64(len(p)), r.from-off))
		if err := objstore.ReadFull(r.r, p[:n], off); err != nil {
			r.failed.Store(&readError{off, n, errors.Is(err, io.ErrUnexpectedEOF), err})
			return err
		}
	}
	if n < len(p) {
		copy(p[n:], r.tail[off+int64(n)-r.from:])
	}
	return nil
}

// Close implements objstorage.Readable.
func (r *readable) Close() error { return r.r.Close() }

// Size implements objstorage.Readable.
func (r *readable) Size() int64 { return r.from + int64(len(r.tail)) }

// NewReadHandle implements objstorage.Readable. The operating system reads ahead.
func (r *readable) NewReadHandle(objstorage.ReadBeforeSize) objstorage.ReadHandle {
	h := objstorage.MakeNoopReadHandle(r)
	return &h
}
