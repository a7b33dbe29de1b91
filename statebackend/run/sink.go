package run

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"
)

// sink takes the bytes of one SSTable: in memory up to a limit, then into a local
// file. It digests them on the way. Pebble calls Write from one goroutine at a time.
type sink struct {
	create func() (vfs.File, error)
	limit  int // bytes that stay in memory before the file is created

	buf  []byte
	file vfs.File // nil: all is in buf
	size int64
	hash xxh3.Hasher128
	err  error // first error of the file: nothing is written after it
	done bool
}

// writeSize is how much is written to the file at once. 256 KiB: larger showed no gain.
const writeSize = 256 << 10

func newSink(limit int, create func() (vfs.File, error)) *sink {
	return &sink{create: create, limit: limit, hash: *xxh3.New128()}
}

// Write implements objstorage.Writable.
func (s *sink) Write(p []byte) error {
	if s.err != nil {
		return s.err
	}
	s.hash.Write(p)
	s.size += int64(len(p))
	s.buf = append(s.buf, p...)
	if s.file == nil && len(s.buf) <= s.limit {
		return nil
	}
	if len(s.buf) < writeSize && s.file != nil {
		return nil
	}
	return s.flush()
}

func (s *sink) flush() error {
	if s.file == nil {
		if s.file, s.err = s.create(); s.err != nil {
			return s.err
		}
	}
	if len(s.buf) > 0 {
		_, s.err = s.file.Write(s.buf)
		s.buf = s.buf[:0]
	}
	return s.err
}

// Finish implements objstorage.Writable: the file is durable, its name not yet.
func (s *sink) Finish() error {
	if s.err != nil || s.file == nil {
		return s.err
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.err = s.file.Sync()
	return s.err
}

// spill moves a finished table from memory into the file.
func (s *sink) spill() error {
	if err := s.flush(); err != nil {
		return err
	}
	s.err = s.file.Sync()
	return s.err
}

// Abort implements objstorage.Writable. Pebble also calls it after Finish.
func (s *sink) Abort() {}

// tail reads the last n bytes back.
func (s *sink) tail(n int64) ([]byte, error) {
	if n <= 0 || n > s.size || n > maxTail {
		return nil, fmt.Errorf("BUG: tail of %d bytes in a table of %d", n, s.size)
	}
	if s.file == nil {
		return s.buf[s.size-n:], nil
	}
	b := make([]byte, n)
	_, err := s.file.ReadAt(b, s.size-n)
	return b, err
}

// close closes the file.
func (s *sink) close() error {
	if s.file == nil || s.done {
		return nil
	}
	s.done = true
	return s.file.Close()
}
