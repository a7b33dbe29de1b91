package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

const (
	// blockSize is how much is read at a time: the cost of a call (~1 µs) vanishes, and
	// the block stays in the L2 cache until its lines are taken.
	blockSize = 256 << 10 // bytes
	// chunkSize is how much text is copied at a time for the strings of its lines to
	// share, unless a line is longer. A copy for each line more than doubles the time
	// (BenchmarkPoll); a larger chunk is hardly faster, and a line that is kept keeps
	// its whole chunk in memory. Lines that come from another worker share as much
	// (frames, package exchange).
	chunkSize = 32 << 10 // bytes
	// maxReads bounds the blocks read, and files opened, in one Poll, so that barriers
	// don't wait for long.
	maxReads = 16
)

// reader reads the lines of its ranges, one range after the other.
type reader struct {
	c      *operator.SourceContext
	ranges []fileRange // the first is being read

	f     *os.File // of the first range, nil if it is not open
	buf   []byte
	r, w  int    // buf[r:w] is read and not yet taken
	clean int    // so many bytes of buf[r:w] hold no newline
	text  string // lines taken and not yet handed on; the first begins at ranges[0].next
	reads int    // left in this Poll

	from, to position // of the last batch
}

// position is a place in a file.
type position struct {
	path string
	at   int64
}

// Start implements operator.Reader.
func (r *reader) Start(splits [][]byte, _ func()) error { return r.AddSplits(splits) }

// AddSplits implements operator.Reader.
func (r *reader) AddSplits(splits [][]byte) (err error) {
	for _, b := range splits {
		if r.ranges, err = decodeSplit(r.ranges, b); err != nil {
			return err
		}
	}
	return nil
}

// NoMoreSplits implements operator.Reader.
func (r *reader) NoMoreSplits() error { return nil }

// Poll implements operator.Reader.
func (r *reader) Poll(b *stream.Batch[string]) (operator.Polled, error) {
	r.reads = maxReads
	if len(r.ranges) > 0 {
		r.from = position{r.ranges[0].path, r.ranges[0].next}
	}
	for taken := 0; len(b.Values) < cap(b.Values) && taken < chunkSize && r.reads > 0; {
		if len(r.ranges) == 0 {
			return operator.Polled{Status: operator.PollIdle}, nil
		}
		if r.text == "" {
			if err := r.next(); err != nil {
				return operator.Polled{}, fmt.Errorf("read file %s: %w", r.ranges[0].path, err)
			}
			continue
		}
		taken += r.take(b)
	}
	return operator.Polled{Status: operator.PollMore}, nil
}

// take moves lines of r.text into b and returns how many bytes they were.
func (r *reader) take(b *stream.Batch[string]) int {
	cur := &r.ranges[0]
	begin, text := cur.next, r.text
	next := begin
	for len(b.Values) < cap(b.Values) && text != "" && next < cur.end {
		i := strings.IndexByte(text, '\n')
		if i < 0 { // the file's last line
			b.Values = append(b.Values, text)
			next += int64(len(text))
			text = ""
			break
		}
		b.Values = append(b.Values, text[:i])
		text = text[i+1:]
		next += int64(i + 1)
	}
	cur.next, r.text = next, text
	r.to = position{cur.path, next}
	if next >= cur.end {
		r.finish()
	}
	return int(next - begin)
}

// finish goes on to the next range.
func (r *reader) finish() {
	r.close()
	r.ranges[0] = fileRange{}
	r.ranges = r.ranges[1:]
}

// close lets go of the file that is open. It was only read: nothing is lost if
// closing it fails.
func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
	r.r, r.w, r.clean, r.text = 0, 0, 0, ""
	if len(r.buf) > blockSize {
		r.buf = nil // grown for a long line
	}
}

// next makes some progress towards more text of the first range: text may still be
// "" after it, and the range may be finished.
func (r *reader) next() error {
	if r.f == nil {
		return r.open()
	}
	if !r.ranges[0].aligned {
		return r.align()
	}
	return r.chunk()
}

// open opens the file of the first range.
func (r *reader) open() error {
	r.reads--
	cur := &r.ranges[0]
	f, err := os.Open(cur.path)
	if errors.Is(err, fs.ErrNotExist) {
		return changed("it was there when it was listed and is gone now: %w", cause(err))
	}
	if err != nil {
		return cause(err)
	}
	r.f = f
	info, err := f.Stat()
	if err != nil {
		return cause(err)
	}
	switch {
	case !info.Mode().IsRegular():
		return changed("it was a file when it was listed and is %v now", info.Mode())
	case info.Size() < cur.size:
		return changed("it had %d bytes when it was listed and has %d now", cur.size, info.Size())
	case info.Size() == cur.size && info.ModTime().UnixNano() != cur.mtime:
		r.c.Log.Warn("file was written to since it was listed", "file", cur.path, "modified", info.ModTime())
	}
	if r.buf == nil {
		r.buf = make([]byte, blockSize)
	}
	return nil
}

// changed says what became of a file since it was listed. A restart reads the same
// list: the job fails at once, with the file's name, instead of trying for ever.
func changed(format string, args ...any) error {
	return operator.Fatal(fmt.Errorf(format, args...))
}

// cause is an error of package os without the path, which the caller names.
func cause(err error) error {
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return err
}

// align looks for the first line that begins in the range: the byte before it is a
// newline. One block a call.
func (r *reader) align() error {
	cur := &r.ranges[0]
	at := cur.next - 1
	n, err := r.readAt(r.buf, at)
	if err != nil {
		return err
	}
	i := bytes.IndexByte(r.buf[:n], '\n')
	if i >= 0 {
		cur.aligned = true
		r.r, r.w = i+1, n
		cur.next = at + int64(i) + 1
	} else {
		cur.next += int64(n)
	}
	if cur.next >= cur.end {
		r.finish()
	}
	return nil
}

// chunk takes the next lines from the buffer, or the next one if it is long, and
// reads more if there is none.
func (r *reader) chunk() error {
	cur := &r.ranges[0]
	have := r.buf[r.r:r.w]
	n := bytes.LastIndexByte(have[:min(len(have), chunkSize)], '\n') + 1
	if n == 0 && len(have) > r.clean {
		if i := bytes.IndexByte(have[r.clean:], '\n'); i >= 0 {
			n = r.clean + i + 1
		} else {
			r.clean = len(have)
		}
	}
	at := cur.next + int64(len(have)) // where to read on
	if n == 0 && at == cur.size {
		n = len(have)
	}
	if n > 0 {
		r.text = string(have[:n])
		r.r += n
		r.clean = 0
		return nil
	}
	r.w = copy(r.buf, have)
	r.r = 0
	switch {
	case r.w == len(r.buf):
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	case r.w < blockSize/2 && len(r.buf) > 2*blockSize:
		r.buf = append(make([]byte, 0, blockSize), r.buf[:r.w]...)[:blockSize] // the long line is behind us
	}
	n, err := r.readAt(r.buf[r.w:], at)
	r.w += n
	return err
}

// readAt reads at least a byte of what the file held when it was listed.
func (r *reader) readAt(b []byte, at int64) (int, error) {
	r.reads--
	size := r.ranges[0].size
	n, err := r.f.ReadAt(b[:min(int64(len(b)), size-at)], at)
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, changed("it had %d bytes when it was listed and ends at byte %d now", size, at)
	case err == nil:
		err = io.ErrNoProgress
	}
	return 0, fmt.Errorf("at byte %d: %w", at, cause(err))
}

// Snapshot implements operator.Reader.
func (r *reader) Snapshot(dst [][]byte) ([][]byte, error) {
	return appendSplits(dst, r.ranges), nil
}

// Position implements operator.Reader: the record that is being processed came with
// the last batch.
func (r *reader) Position() string {
	switch {
	case r.to.path == "":
		return "before the first line"
	case r.from.path != r.to.path:
		return fmt.Sprintf("file %s, byte %d, to file %s, byte %d", r.from.path, r.from.at, r.to.path, r.to.at)
	}
	return fmt.Sprintf("file %s, bytes %d to %d", r.from.path, r.from.at, r.to.at)
}

// Close implements operator.Reader.
func (r *reader) Close() error {
	r.close()
	r.ranges, r.buf = nil, nil
	return nil
}
