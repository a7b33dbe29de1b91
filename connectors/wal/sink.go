package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// Batch is what one subtask was given between two checkpoints.
type Batch struct {
	ID         string              // given once for ever, in all jobs: letters, digits, - and _ . of the uid
	Checkpoint stream.CheckpointID // the first that covers it
	Subtask    int                 // that wrote it
	Records    uint64
}

// Target is the system that results are written to. It belongs to one subtask; it may
// also be an io.Closer. Both methods block the subtask: they should obey the context.
type Target[T any] interface {
	// Committed reports whether Write has succeeded for the batch, in this process or
	// another. A target that can't know says false: then it is written again after some
	// failures.
	Committed(ctx context.Context, b Batch) (bool, error)
	// Write writes all records of the batch and notes that it has. An error fails the
	// attempt, and the batch is written again.
	Write(ctx context.Context, b Batch, records iter.Seq[T]) error
}

// Option tunes Sink.
type Option interface{ apply(*config) }

type config struct{ fileSize int }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// fileSize is how much is collected before a file is written: a durable file costs some
// milliseconds, and the memory is held twice.
const fileSize = 4 << 20

// FileSize sets how many bytes of results are held in memory before they are written to a
// file; the default is 4 MiB.
func FileSize(bytes int) Option { return optionFunc(func(c *config) { c.fileSize = max(1, bytes) }) }

// Sink returns a sink that writes records of a type that has a codec to what open returns,
// which is called in each subtask. The results of a checkpoint appear there when it has
// completed.
func Sink[T any](open func(s *operator.Setup) (Target[T], error), opts ...Option) operator.Sink[T] {
	s := &sink[T]{open: open, config: config{fileSize: fileSize}}
	for _, o := range opts {
		o.apply(&s.config)
	}
	return s
}

type sink[T any] struct {
	open   func(s *operator.Setup) (Target[T], error)
	config config
}

// NewWriter implements operator.Sink.
func (s *sink[T]) NewWriter(setup *operator.Setup) (operator.Writer[T], error) {
	if s.open == nil {
		return nil, errors.New("write ahead: the function that opens the target is nil")
	}
	c, err := codec.In[T](setup.Types())
	if err != nil {
		return nil, fmt.Errorf("write ahead: %w", err)
	}
	w := &writer[T]{
		sink: s, setup: setup, codec: c, owned: setup.Owned(), pending: setup.SplitList[promise]("pending"),
	}
	w.head = len(beginFile(nil, c.Schema()))
	return w, nil
}

// promise is a batch that is to be written, the element of the sink's state.
//
// NB: persisted; fields may be added.
type promise struct {
	ID         string
	Checkpoint uint64
	Subtask    int32
	Records    uint64
	Files      []string
}

// writer is the sink in one subtask.
//
//	buffer → (full) → file on its way → files → (Prepare) → pending → (Commit) → target
type writer[T any] struct {
	sink    *sink[T]
	setup   *operator.Setup
	codec   codec.Codec[T]
	owned   *operator.Owned
	pending *operator.OperatorList[promise]
	target  Target[T]

	head    int // bytes of a file without records
	buffer  []byte
	going   *operator.Upload // the file on its way, or nil
	files   []string         // of the batch, durable
	records uint64           // of the batch

	prepared stream.CheckpointID // the last one
	done     []written           // whose files are still there
}

// written are files of batches that the target has. They go when a checkpoint has
// completed that was prepared after `after`: no restore will want them.
type written struct {
	after stream.CheckpointID
	files []string
}

// Open implements operator.Opener.
func (w *writer[T]) Open() error {
	for _, p := range w.pending.Get() {
		for _, f := range p.Files {
			w.owned.Keep(f)
		}
	}
	if w.setup.Subtask() == 0 {
		if err := w.owned.Sweep(); err != nil {
			return err
		}
	}
	var err error
	if w.target, err = w.sink.open(w.setup); err == nil && w.target == nil {
		err = errors.New("it is nil")
	}
	if err != nil {
		return fmt.Errorf("open the target of sink %q: %w", w.setup.UID(), err)
	}
	return nil
}

// Write implements operator.Writer.
func (w *writer[T]) Write(v T) error {
	if len(w.buffer) == 0 {
		w.buffer = beginFile(w.buffer, w.codec.Schema())
	}
	w.buffer = w.codec.Append(w.buffer, v)
	w.records++
	if len(w.buffer) < w.sink.config.fileSize {
		return nil
	}
	return w.send()
}

// send has the buffer written to a file.
func (w *writer[T]) send() error {
	if len(w.buffer) <= w.head {
		return nil
	}
	if err := w.settle(); err != nil {
		return err
	}
	w.going = w.owned.Put(w.buffer)
	w.buffer = nil // the upload has it
	return nil
}

// settle waits for the file on its way.
func (w *writer[T]) settle() error {
	if w.going == nil {
		return nil
	}
	name, err := w.going.Wait()
	w.going = nil
	if err != nil {
		return err
	}
	w.files = append(w.files, name)
	return nil
}

// Prepare implements operator.Preparer: the batch is durable and in the state.
func (w *writer[T]) Prepare(id stream.CheckpointID) error {
	w.prepared = id
	if err := w.send(); err != nil {
		return err
	}
	if err := w.settle(); err != nil {
		return err
	}
	if w.records == 0 {
		return nil
	}
	rt := w.setup.Runtime()
	w.pending.Append(promise{
		ID:         fmt.Sprintf("%s-%s-%d-%d-%d", cmp.Or(rt.JobID, "0"), w.setup.UID(), rt.Incarnation, rt.Subtask, id),
		Checkpoint: uint64(id), Subtask: int32(rt.Subtask), Records: w.records, Files: w.files,
	})
	w.files, w.records = nil, 0
	return nil
}

// Commit implements operator.Committer: it writes the batches that checkpoint id covers to
// the target, in their order.
func (w *writer[T]) Commit(id stream.CheckpointID) error {
	var later, now []promise
	for _, p := range w.pending.Get() {
		if p.Checkpoint > uint64(id) {
			later = append(later, p)
		} else {
			now = append(now, p)
		}
	}
	slices.SortStableFunc(now, func(a, b promise) int { return cmp.Compare(a.Checkpoint, b.Checkpoint) })
	for i, p := range now {
		if err := w.commit(p, id); err != nil {
			w.pending.Set(append(now[i:], later...))
			return fmt.Errorf("write batch %s of %d results: %w", p.ID, p.Records, err)
		}
	}
	w.pending.Set(later)
	return w.tidy(id)
}

// commit has the target take a batch; id is the newest completed checkpoint, which may
// name it too.
func (w *writer[T]) commit(p promise, id stream.CheckpointID) error {
	ctx := w.setup.Runtime().Context
	b := Batch{ID: p.ID, Checkpoint: stream.CheckpointID(p.Checkpoint), Subtask: int(p.Subtask), Records: p.Records}
	known, err := w.target.Committed(ctx, b)
	if err != nil {
		return fmt.Errorf("ask whether it is there: %w", err)
	}
	if !known {
		if err := w.write(ctx, b, p.Files); err != nil {
			return err
		}
	}
	if mine := w.owned.Forget(p.Files...); len(mine) > 0 {
		w.done = append(w.done, written{max(w.prepared, id), mine})
	}
	return nil
}

// write hands the records of a batch to the target.
func (w *writer[T]) write(ctx context.Context, b Batch, files []string) error {
	var broken error
	var given uint64
	stopped := false
	err := w.target.Write(ctx, b, func(yield func(T) bool) {
		given, stopped = 0, false
		for _, name := range files {
			file, err := w.owned.Get(name)
			more := false
			if err == nil {
				more, err = eachRecord(file, w.codec, func(v T) bool { given++; return yield(v) })
			}
			if broken = err; err != nil || !more {
				stopped = true
				return
			}
		}
	})
	switch {
	case errors.Is(broken, operator.ErrNotOwned):
		return operator.Fatal(fmt.Errorf("its results are gone, and the target does not have them: %w", broken))
	case broken != nil:
		return broken
	case err != nil:
		return err
	case stopped || given != b.Records:
		return fmt.Errorf("the target has taken %d records", given)
	}
	return nil
}

// tidy removes files that no restore will want, now that checkpoint id has completed.
func (w *writer[T]) tidy(id stream.CheckpointID) error {
	var names []string
	w.done = slices.DeleteFunc(w.done, func(d written) bool {
		if d.after >= id {
			return false
		}
		names = append(names, d.files...)
		return true
	})
	return w.owned.Remove(names...)
}

// Close implements operator.Closer.
func (w *writer[T]) Close() error {
	if w.going != nil {
		_, _ = w.going.Wait() // no checkpoint names it: the next attempt sweeps it
		w.going = nil
	}
	if c, ok := w.target.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
