package generator

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// Interleaved has the subtasks take the records in turn, in blocks of 512, instead of in
// contiguous ranges: all of them are at about the same place of the input at any time, as
// readers of a partitioned log are. It is for records whose event time grows with their
// number; with contiguous ranges event time stands still until the first range ends.
func Interleaved() Option { return optionFunc(func(c *config) { c.interleaved = true }) }

// A stripe in a snapshot: 29 bytes, big endian. Stripe k of s holds the blocks k, k+s,
// k+2s, … of the records 0 … end−1.
//
//	0       format, 2
//	1…8     next: the first record not yet read; it is of stripe k, and less than end
//	9…16    end: the number of records
//	17…20   k, less than s
//	21…24   s
//	25…28   records of a block
//
// NB: persisted; a new layout takes a new format number.
const (
	stripeFormat = 2
	stripeSize   = 29
)

// blockSize is how many records a stripe has in a row: a batch, so that it is handed on
// in one.
const blockSize = stream.MaxBatch

// stripe is what is left of one.
type stripe struct {
	next, end          uint64
	k, stripes, length uint32
	id                 int32 // of the reader's event time; not persisted
}

func (s *stripe) ended() bool { return s.next >= s.end }

// inBlock is how many records are left of the block that next is in.
func (s *stripe) inBlock() uint64 {
	length := uint64(s.length)
	return min(length-s.next%length, s.end-s.next)
}

// advance puts n records, of one block, behind.
func (s *stripe) advance(n uint64) {
	s.next += n
	if length := uint64(s.length); s.next%length == 0 && n > 0 {
		s.next += length * uint64(s.stripes-1)
	}
}

func (s *stripe) encode() []byte {
	b := make([]byte, 0, stripeSize)
	b = append(b, stripeFormat)
	b = binary.BigEndian.AppendUint64(b, s.next)
	b = binary.BigEndian.AppendUint64(b, s.end)
	b = binary.BigEndian.AppendUint32(b, s.k)
	b = binary.BigEndian.AppendUint32(b, s.stripes)
	return binary.BigEndian.AppendUint32(b, s.length)
}

func decodeStripe(b []byte) (stripe, error) {
	if len(b) == 0 || b[0] != stripeFormat {
		return stripe{}, fmt.Errorf("decode generator stripe % x: unknown format, an interleaved source reads format %d", b, stripeFormat)
	}
	if len(b) != stripeSize {
		return stripe{}, fmt.Errorf("decode generator stripe % x: %d bytes, want %d", b, len(b), stripeSize)
	}
	s := stripe{
		next:    binary.BigEndian.Uint64(b[1:]),
		end:     binary.BigEndian.Uint64(b[9:]),
		k:       binary.BigEndian.Uint32(b[17:]),
		stripes: binary.BigEndian.Uint32(b[21:]),
		length:  binary.BigEndian.Uint32(b[25:]),
	}
	if s.k >= s.stripes || s.length == 0 || s.end > 1<<63 || uint64(s.length)*uint64(s.stripes) > 1<<62 || s.next >= s.end || s.next/uint64(s.length)%uint64(s.stripes) != uint64(s.k) {
		return stripe{}, fmt.Errorf("decode generator stripe: record %d of %d in stripe %d of %d with blocks of %d is not possible",
			s.next, s.end, s.k, s.stripes, s.length)
	}
	return s, nil
}

// striped is the reader of an interleaved source.
type striped[T any] struct {
	source  *Source[T]
	c       *operator.SourceContext
	now     func() time.Time
	stripes []stripe // one that has ended stays until the next Poll: its last records are still on their way
	pace    pace
}

// Start implements operator.Reader. A fresh source has `pieces` stripes for each subtask,
// so that the parallelism may grow as often before one gets nothing.
func (r *striped[T]) Start(splits [][]byte, _ func()) error {
	if !r.c.Restored {
		all := uint32(pieces * r.c.Parallelism)
		for k := uint32(r.c.Subtask); k < all; k += uint32(r.c.Parallelism) {
			if s := (stripe{next: uint64(k) * blockSize, end: r.source.n, k: k, stripes: all, length: blockSize}); !s.ended() {
				r.stripes = append(r.stripes, s)
			}
		}
	}
	return r.AddSplits(splits)
}

// AddSplits implements operator.Reader.
func (r *striped[T]) AddSplits(splits [][]byte) error {
	for _, b := range splits {
		s, err := decodeStripe(b)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(r.stripes, func(o stripe) bool { return o.k == s.k }) {
			return fmt.Errorf("generator stripe %d of %d is there twice", s.k, s.stripes)
		}
		r.stripes = append(r.stripes, s)
	}
	share := 0.0
	for i := range r.stripes {
		share += 1 / float64(r.stripes[i].stripes)
		r.stripes[i].id = int32(i)
	}
	r.pace = pace{perSecond: r.source.config.rate * share}
	return nil
}

// NoMoreSplits implements operator.Reader.
func (r *striped[T]) NoMoreSplits() error { return nil }

// Poll implements operator.Reader: the stripe that is furthest behind is read.
func (r *striped[T]) Poll(b *stream.Batch[T]) (operator.Polled, error) {
	var s *stripe
	gone := false
	for i := range r.stripes {
		if o := &r.stripes[i]; o.ended() {
			gone = true
		} else if s == nil || o.next < s.next {
			s = o
		}
	}
	if s == nil {
		r.stripes = nil
		return operator.Polled{Status: operator.PollEnd}, nil
	}
	n, wait, due := r.source.read(b, &r.pace, r.now, s.next, s.inBlock())
	if !due {
		return operator.Polled{Status: operator.PollWait, Wake: wait}, nil
	}
	s.advance(n)
	id := s.id
	if gone {
		r.stripes = slices.DeleteFunc(r.stripes, func(o stripe) bool { return o.id != id && o.ended() })
	}
	return operator.Polled{Status: operator.PollMore, Split: id}, nil
}

// ActiveSplits implements operator.SplitReader. No stripe ever waits: its next record is
// known.
func (r *striped[T]) ActiveSplits(dst []operator.ActiveSplit) []operator.ActiveSplit {
	for _, s := range r.stripes {
		dst = append(dst, operator.ActiveSplit{ID: s.id})
	}
	return dst
}

// Snapshot implements operator.Reader.
func (r *striped[T]) Snapshot(dst [][]byte) ([][]byte, error) {
	for i := range r.stripes {
		if s := &r.stripes[i]; !s.ended() {
			dst = append(dst, s.encode())
		}
	}
	return dst, nil
}

// Position implements operator.Reader.
func (r *striped[T]) Position() string {
	first := uint64(0)
	found := false
	for i := range r.stripes {
		if s := &r.stripes[i]; !s.ended() && (!found || s.next < first) {
			first, found = s.next, true
		}
	}
	if !found {
		return "after the last record"
	}
	return fmt.Sprintf("before record %d", first)
}

// Close implements operator.Reader.
func (r *striped[T]) Close() error { return nil }
