package generator

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// A split in a snapshot: 25 bytes, big endian.
//
//	0      format, 1
//	1…8    next: the first record not yet read
//	9…16   end: the record after the last; next < end
//	17…24  share of the job's rate, IEEE 754 float64
//
// NB: persisted; a new layout takes a new format number.
const (
	splitFormat = 1
	splitSize   = 25
)

// pieces is how many splits a reader's snapshot holds at least (if it has as many
// records): the parallelism may grow so many times before a subtask gets nothing.
const pieces = 8

// split is the range [next, end) and its share of the job's rate.
type split struct {
	next, end uint64
	share     float64
	id        int32 // of the reader's event time; not persisted
}

func (s split) encode() []byte {
	b := make([]byte, 0, splitSize)
	b = append(b, splitFormat)
	b = binary.BigEndian.AppendUint64(b, s.next)
	b = binary.BigEndian.AppendUint64(b, s.end)
	return binary.BigEndian.AppendUint64(b, math.Float64bits(s.share))
}

func decodeSplit(b []byte) (split, error) {
	if len(b) == 0 || b[0] != splitFormat {
		return split{}, fmt.Errorf("decode generator split % x: unknown format, this program reads format %d", b, splitFormat)
	}
	if len(b) != splitSize {
		return split{}, fmt.Errorf("decode generator split % x: %d bytes, want %d", b, len(b), splitSize)
	}
	s := split{
		next:  binary.BigEndian.Uint64(b[1:]),
		end:   binary.BigEndian.Uint64(b[9:]),
		share: math.Float64frombits(binary.BigEndian.Uint64(b[17:])),
	}
	if s.next >= s.end || !(s.share > 0 && s.share < 1+1e-6) {
		return split{}, fmt.Errorf("decode generator split: range [%d,%d) with share %g is not possible", s.next, s.end, s.share)
	}
	return s, nil
}

// part returns the range of records of part i of parts many, of n records.
func part(n uint64, i, parts int) (first, next uint64) {
	q, r := n/uint64(parts), n%uint64(parts)
	first = q*uint64(i) + min(uint64(i), r)
	next = first + q
	if uint64(i) < r {
		next++
	}
	return first, next
}

// join sorts splits and joins those that follow one another without a gap.
func join(splits []split) ([]split, error) {
	slices.SortFunc(splits, func(a, b split) int { return cmp.Compare(a.next, b.next) })
	joined := splits[:0]
	for _, s := range splits {
		if n := len(joined); n > 0 {
			last := &joined[n-1]
			if s.next < last.end {
				return nil, fmt.Errorf("generator splits [%d,%d) and [%d,%d) overlap", last.next, last.end, s.next, s.end)
			}
			if s.next == last.end {
				last.end = s.end
				last.share += s.share
				continue
			}
		}
		joined = append(joined, s)
	}
	return joined, nil
}

// divide appends what is left of splits to dst, cut into at least `pieces` pieces
// where there are enough records. share is divided in proportion to the records.
func divide(dst [][]byte, splits []split, share float64) [][]byte {
	var left uint64
	for _, s := range splits {
		left += s.end - s.next
	}
	if left == 0 {
		return dst
	}
	each := max(1, (left+pieces-1)/pieces)
	for _, s := range splits {
		n := s.end - s.next
		parts := int((n + each - 1) / each)
		for i := range parts {
			first, next := part(n, i, parts)
			p := split{next: s.next + first, end: s.next + next}
			// Not 0 by underflow: the range still has to be read.
			p.share = max(share*(float64(p.end-p.next)/float64(left)), math.SmallestNonzeroFloat64)
			dst = append(dst, p.encode())
		}
	}
	return dst
}
