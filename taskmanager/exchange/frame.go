package exchange

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/stream"
)

// frame is one frame in memory, header and payload in one buffer. It has one owner
// at a time and goes back to the pool with release. A frame that has come may have
// further holders, who read it.
type frame struct {
	buf     []byte
	since   time.Time // of a barrier being sent: when its age was written
	holders atomic.Int32
}

// framePool recycles frames of up to pooledBytes; larger ones are left to the
// garbage collector.
var framePool = sync.Pool{New: func() any {
	return &frame{buf: make([]byte, 0, headerBytes+frameBytes+frameBytes/8)}
}}

const pooledBytes = 2 * frameBytes

func newFrame() *frame {
	f := framePool.Get().(*frame)
	f.buf = append(f.buf[:0], make([]byte, headerBytes)...)
	f.since = time.Time{}
	f.holders.Store(1)
	return f
}

// hold adds a holder, who has to release the frame too.
func (f *frame) hold() { f.holders.Add(1) }

func (f *frame) release() {
	if f.holders.Add(-1) > 0 {
		return
	}
	if cap(f.buf) > pooledBytes {
		return
	}
	invariants.Mangle(f.buf)
	framePool.Put(f)
}

func (f *frame) payload() []byte { return f.buf[headerBytes:] }

// cost is what the frame takes of its channel's credit.
func (f *frame) cost() int64 { return int64(len(f.buf)) }

// header is the decoded form of a frame's first headerBytes bytes.
type header struct {
	length      uint32 // bytes of payload
	kind        frameKind
	flags       uint8
	count       uint16 // records of a data frame
	edge        uint32
	from, to    uint32 // subtask indices
	incarnation job.Incarnation
	sum         uint32
}

func (h header) put(b []byte) {
	_ = b[headerBytes-1]
	binary.LittleEndian.PutUint32(b[0:], h.length)
	b[4], b[5] = byte(h.kind), h.flags
	binary.LittleEndian.PutUint16(b[6:], h.count)
	binary.LittleEndian.PutUint32(b[8:], h.edge)
	binary.LittleEndian.PutUint32(b[12:], h.from)
	binary.LittleEndian.PutUint32(b[16:], h.to)
	binary.LittleEndian.PutUint64(b[20:], uint64(h.incarnation))
	binary.LittleEndian.PutUint32(b[28:], h.sum)
}

func parseHeader(b []byte) header {
	_ = b[headerBytes-1]
	return header{
		length: binary.LittleEndian.Uint32(b[0:]), kind: frameKind(b[4]), flags: b[5],
		count: binary.LittleEndian.Uint16(b[6:]),
		edge:  binary.LittleEndian.Uint32(b[8:]), from: binary.LittleEndian.Uint32(b[12:]), to: binary.LittleEndian.Uint32(b[16:]),
		incarnation: job.Incarnation(binary.LittleEndian.Uint64(b[20:])),
		sum:         binary.LittleEndian.Uint32(b[28:]),
	}
}

func (f *frame) header() header { return parseHeader(f.buf) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal writes length and checksum; nothing of the frame may change afterwards.
func (f *frame) seal() {
	binary.LittleEndian.PutUint32(f.buf[0:], uint32(len(f.buf)-headerBytes))
	binary.LittleEndian.PutUint32(f.buf[28:], checksum(f.buf))
}

// checksum covers the frame without the checksum itself.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:28], castagnoli), castagnoli, b[headerBytes:])
}

// errFrame marks bytes that are not a frame of this protocol.
var errFrame = errors.New("not a frame")

// check refuses a header before anything is allocated for its payload.
func (h header) check() error {
	switch h.kind {
	case dataFrame:
		if h.count == 0 || h.count > stream.MaxBatch {
			return fmt.Errorf("%w: %d records", errFrame, h.count)
		}
		if h.flags&^(flagHashes|flagTimes) != 0 {
			return fmt.Errorf("%w: unknown flags %#x", errFrame, h.flags)
		}
		if h.length > frameBytes && h.count > 1 {
			return fmt.Errorf("%w: %d bytes of %d records, the most is %d", errFrame, h.length, h.count, frameBytes)
		}
		if h.length > maxRecordBytes {
			return fmt.Errorf("%w: a record of %d bytes, the most is %d", errFrame, h.length, maxRecordBytes)
		}
		return nil
	case eventFrame:
		return h.checkLength(eventBytes, eventBytes)
	case creditFrame, hintFrame:
		return h.checkLength(4, 4)
	case byeFrame:
		return h.checkLength(0, 0)
	}
	return fmt.Errorf("%w: unknown kind %d", errFrame, h.kind)
}

func (h header) checkLength(least, most uint32) error {
	if h.length < least || h.length > most {
		return fmt.Errorf("%w: kind %d with %d bytes", errFrame, h.kind, h.length)
	}
	return nil
}

// readStep bounds what is allocated for a frame before its bytes have come.
const readStep = 1 << 20

// readFrame reads the next frame. The error is io.EOF only between two frames.
func readFrame(r io.Reader) (*frame, header, error) {
	f := newFrame()
	h, err := f.read(r)
	if err != nil {
		f.release()
		return nil, header{}, err
	}
	return f, h, nil
}

func (f *frame) read(r io.Reader) (header, error) {
	if _, err := io.ReadFull(r, f.buf[:headerBytes]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return header{}, fmt.Errorf("%w: ends inside its header", errFrame)
		}
		return header{}, err
	}
	h := f.header()
	if err := h.check(); err != nil {
		return header{}, err
	}
	for left := int(h.length); left > 0; {
		n := min(left, readStep)
		at := len(f.buf)
		if cap(f.buf)-at < n {
			f.buf = append(f.buf, make([]byte, n)...)
		} else {
			f.buf = f.buf[:at+n]
		}
		if _, err := io.ReadFull(r, f.buf[at:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return header{}, fmt.Errorf("%w: ends inside its payload of %d bytes", errFrame, h.length)
			}
			return header{}, err
		}
		left -= n
	}
	if got := checksum(f.buf); got != h.sum {
		return header{}, fmt.Errorf("%w: checksum %08x, want %08x", errFrame, got, h.sum)
	}
	return h, nil
}

// putEvent makes f the frame of e; its age counts from now.
func (f *frame) putEvent(e stream.Event) {
	var b [eventBytes]byte
	b[0], b[1] = byte(e.Kind), byte(e.Barrier.Kind)
	if e.Barrier.Unaligned {
		b[2] = 1
	}
	binary.LittleEndian.PutUint64(b[4:], uint64(e.Barrier.ID))
	binary.LittleEndian.PutUint64(b[12:], uint64(e.Barrier.Age))
	binary.LittleEndian.PutUint64(b[20:], uint64(e.Time))
	binary.LittleEndian.PutUint64(b[28:], uint64(e.Barrier.AlignmentTimeout))
	f.buf = append(f.buf[:headerBytes], b[:]...)
	if e.Kind == stream.BarrierEvent {
		f.since = time.Now()
	}
}

// addAge adds to a barrier's age what it waited in this worker.
func (f *frame) addAge() {
	if f.since.IsZero() {
		return
	}
	age := f.payload()[12:]
	binary.LittleEndian.PutUint64(age, binary.LittleEndian.Uint64(age)+uint64(time.Since(f.since)))
	f.since = time.Time{}
}

// overtake marks the barrier of f as one that overtakes.
func (f *frame) overtake() { f.payload()[2] = 1 }

// barrier is the checkpoint whose barrier f is, or 0.
func (f *frame) barrier() stream.CheckpointID {
	if f.header().kind != eventFrame || stream.EventKind(f.payload()[0]) != stream.BarrierEvent {
		return 0
	}
	return stream.CheckpointID(binary.LittleEndian.Uint64(f.payload()[4:]))
}

// event is the inverse of putEvent.
func (f *frame) event() (stream.Event, error) {
	b := f.payload()
	e := stream.Event{
		Kind: stream.EventKind(b[0]),
		Barrier: stream.Barrier{
			ID:        stream.CheckpointID(binary.LittleEndian.Uint64(b[4:])),
			Kind:      stream.BarrierKind(b[1]),
			Age:       time.Duration(binary.LittleEndian.Uint64(b[12:])),
			Unaligned: b[2] == 1,

			AlignmentTimeout: time.Duration(binary.LittleEndian.Uint64(b[28:])),
		},
		Time: int64(binary.LittleEndian.Uint64(b[20:])),
	}
	if e.Kind < stream.BarrierEvent || e.Kind > stream.IdleEvent || b[2] > 1 || b[3] != 0 {
		return e, fmt.Errorf("%w: unknown event %x", errFrame, b)
	}
	return e, nil
}

// encode makes f the data frame of n records of b from index from on.
func (e *Edge[T]) encode(f *frame, b *stream.Batch[T], from, n int) {
	f.buf = f.buf[:headerBytes]
	h := f.header()
	h.kind, h.flags, h.count = dataFrame, 0, uint16(n)
	if b.Hashes != nil {
		h.flags |= flagHashes
		for _, v := range b.Hashes[from : from+n] {
			f.buf = binary.LittleEndian.AppendUint64(f.buf, v)
		}
	}
	if b.Times != nil {
		h.flags |= flagTimes
		for _, v := range b.Times[from : from+n] {
			f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(v))
		}
	}
	h.put(f.buf)
	f.buf = e.Codec.AppendBatch(f.buf, b.Values[from:from+n])
}

// decode implements AnyEdge.
func (e *Edge[T]) decode(f *frame, free any) (any, error) {
	h, in := f.header(), f.payload()
	n := int(h.count)
	if (h.flags&flagHashes != 0) != e.keyed() || (h.flags&flagTimes != 0) != e.HasTimes {
		return nil, fmt.Errorf("%w: flags %#x on an edge of %v", errFrame, h.flags, e.recordType())
	}
	b, _ := free.(*stream.Batch[T])
	if b == nil {
		b = e.newBatch(n)
	}
	if e.keyed() {
		if len(in) < 8*n {
			return nil, fmt.Errorf("%w: %d bytes for %d hashes", errFrame, len(in), n)
		}
		for i := range n {
			b.Hashes = append(b.Hashes, binary.LittleEndian.Uint64(in[8*i:]))
		}
		in = in[8*n:]
	}
	if e.HasTimes {
		if len(in) < 8*n {
			return nil, fmt.Errorf("%w: %d bytes for %d times", errFrame, len(in), n)
		}
		for i := range n {
			b.Times = append(b.Times, int64(binary.LittleEndian.Uint64(in[8*i:])))
		}
		in = in[8*n:]
	}
	values, used, err := e.Codec.DecodeBatch(b.Values, in, n)
	if err != nil {
		return nil, fmt.Errorf("decode %d records of %v: %w", n, e.recordType(), err)
	}
	if used != len(in) || len(values) != n {
		return nil, fmt.Errorf("%w: %d records take %d of %d bytes", errFrame, len(values), used, len(in))
	}
	b.Values = values
	return b, nil
}
