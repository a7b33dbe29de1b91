package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

const (
	// bufferSize is how much is written at a time.
	bufferSize = 128 << 10 // bytes
	// rollSize is the default size at which a file is closed and another begun.
	rollSize = 256 << 20 // bytes
)

// SinkOption tunes Sink.
type SinkOption interface{ applySink(*sinkConfig) }

type sinkConfig struct {
	dir  string
	roll int64
}

type sinkOption func(*sinkConfig)

func (f sinkOption) applySink(c *sinkConfig) { f(c) }

// RollSize sets at what size, roughly, a file is finished and another begun; the
// default is 256 MiB. A file is also finished at every checkpoint.
func RollSize(bytes int64) SinkOption {
	return sinkOption(func(c *sinkConfig) { c.roll = max(1, bytes) })
}

// Sink returns a sink that writes records to files in the folder dir, each exactly
// once: appendTo appends a record, with its newline if it is to have one, to a buffer.
// Files appear when a checkpoint has completed; unfinished ones begin with a dot.
// The folder is made if it does not exist. All TaskManagers must see the same one; in
// jobs that run on a cluster it must be an absolute path.
func Sink[T any](dir string, appendTo func(dst []byte, v T) []byte, opts ...SinkOption) *SinkOf[T] {
	s := &SinkOf[T]{config: sinkConfig{dir: dir, roll: rollSize}, appendTo: appendTo}
	for _, o := range opts {
		o.applySink(&s.config)
	}
	return s
}

// LineSink is Sink for strings that are lines.
func LineSink(dir string, opts ...SinkOption) *SinkOf[string] {
	return Sink(dir, func(dst []byte, line string) []byte { return append(append(dst, line...), '\n') }, opts...)
}

// SinkOf is what Sink returns.
type SinkOf[T any] struct {
	config   sinkConfig
	appendTo func([]byte, T) []byte
}

var _ operator.Sink[int] = (*SinkOf[int])(nil)

// NewWriter implements operator.Sink.
func (s *SinkOf[T]) NewWriter(setup *operator.Setup) (operator.Writer[T], error) {
	switch {
	case s.config.dir == "":
		return nil, errors.New("write files: the path of the folder is empty")
	case s.appendTo == nil:
		return nil, errors.New("write files: the function that appends a record is nil")
	}
	return &writer[T]{files: newFiles(s.config, setup), appendTo: s.appendTo}, nil
}

// writer writes the records of one subtask.
type writer[T any] struct {
	*files
	appendTo func([]byte, T) []byte
}

// Write implements operator.Writer.
func (w *writer[T]) Write(v T) error {
	w.buf = w.appendTo(w.buf, v)
	if len(w.buf) < bufferSize {
		return nil
	}
	return w.flush()
}

// pending is a file that is closed and durable, and not yet published. It is the
// element of the sink's state "pending".
//
// NB: persisted; its fields are for ever.
type pending struct {
	Unfinished string // absolute path now
	Finished   string // absolute path when published
	Size       int64  // bytes
	Checkpoint uint64 // the first that names it; 0 = none yet
}

// files is the writer's part that does not depend on the type of the records.
//
//	in progress → (roll) → closed → (Prepare) → pending → (Commit) → finished
type files struct {
	config sinkConfig
	setup  *operator.Setup
	names  namer
	// list is the state: at a snapshot, what this subtask has to publish.
	list *operator.OperatorList[pending]

	restored bool // list holds elements of an earlier attempt
	current  *os.File
	target   string // what current will be called
	size     int64  // of current
	buf      []byte // not yet in current
}

func newFiles(c sinkConfig, setup *operator.Setup) *files {
	return &files{
		config: c, setup: setup, names: newNamer(setup.UID(), setup.Runtime()),
		list: setup.UnionList[pending]("pending"),
	}
}

// Open implements operator.Opener.
func (w *files) Open() error {
	dir, err := openFolder(w.config.dir)
	if err != nil {
		return operator.Fatal(fmt.Errorf("open output folder %q: %w", w.config.dir, err))
	}
	w.config.dir = dir
	w.buf = make([]byte, 0, bufferSize+bufferSize/8)
	if err := w.probe(); err != nil {
		return err
	}
	if w.setup.Subtask() != 0 {
		w.list.Set(nil) // subtask 0 has them all
		return nil
	}
	w.restored = len(w.list.Get()) > 0
	return w.sweep()
}

// openFolder makes the folder, durably, if need be, and returns its absolute path.
func openFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // what is not a folder is found by the probe
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	return dir, syncFolder(filepath.Dir(dir))
}

// probe makes sure that files can be written, before there is something to write.
func (w *files) probe() error {
	err := w.begin()
	if err == nil {
		name := w.current.Name()
		err = errors.Join(w.current.Close(), os.Remove(name))
		w.current = nil
		w.names.number-- // the name is free again
	}
	if err != nil {
		return operator.Fatal(fmt.Errorf("output folder %q can't be written to: %w", w.config.dir, cause(err)))
	}
	return nil
}

// begin makes a new file.
func (w *files) begin() error {
	name := w.names.next()
	f, err := os.OpenFile(filepath.Join(w.config.dir, "."+name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	w.current, w.size = f, 0
	w.target = filepath.Join(w.config.dir, name)
	return nil
}

// flush writes the buffer out, to a new file if there is none.
func (w *files) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if w.current == nil {
		if err := w.begin(); err != nil {
			return fmt.Errorf("make output file: %w", err)
		}
	}
	n, err := w.current.Write(w.buf)
	w.size += int64(n)
	if err != nil {
		return fmt.Errorf("write %d bytes to output file at byte %d: %w", len(w.buf), w.size, err)
	}
	w.buf = w.buf[:0]
	if cap(w.buf) > 8*bufferSize {
		w.buf = make([]byte, 0, bufferSize+bufferSize/8) // there was a huge record
	}
	if w.size >= w.config.roll {
		return w.roll()
	}
	return nil
}

// roll closes the current file, durably.
func (w *files) roll() error {
	if w.current == nil {
		return nil
	}
	f := w.current
	w.current = nil
	err := f.Sync() // never again after an error: the kernel has dropped what it could not write
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("finish output file of %d bytes: %w", w.size, err)
	}
	w.list.Append(pending{Unfinished: f.Name(), Finished: w.target, Size: w.size})
	return nil
}

// Prepare implements operator.Preparer: what was written is durable and in the state.
func (w *files) Prepare(id stream.CheckpointID) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.roll(); err != nil {
		return err
	}
	news := false
	all := w.list.Get()
	for i := range all {
		if all[i].Checkpoint == 0 {
			all[i].Checkpoint = uint64(id)
			news = true
		}
	}
	if !news {
		return nil
	}
	if err := syncFolder(w.config.dir); err != nil {
		return fmt.Errorf("make output folder durable: %w", err)
	}
	return nil
}

// Close implements operator.Closer. What no checkpoint names will never be
// published, and goes; the rest stays, for whoever restores it.
func (w *files) Close() error {
	var errs []error
	if f := w.current; f != nil {
		w.current = nil
		errs = append(errs, f.Close(), os.Remove(f.Name()))
	}
	for _, p := range w.list.Get() {
		if p.Checkpoint == 0 {
			errs = append(errs, os.Remove(p.Unfinished))
		}
	}
	w.list.Set(nil)
	return errors.Join(errs...)
}
