package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"
)

const (
	// subBits makes 64 buckets of every power of two: each is at most 1/64 of its lower
	// end wide, 1.6 %.
	subBits = 6
	buckets = (65 - subBits) << subBits
)

// histogram counts durations in ns. Durations below 64 ns have a bucket each.
type histogram struct {
	counts [buckets]uint64
	total  uint64
	max    uint64 // ns, exact
}

func (h *histogram) add(d time.Duration) {
	ns := uint64(max(0, d))
	h.counts[bucketOf(ns)]++
	h.total++
	h.max = max(h.max, ns)
}

func bucketOf(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	exp := bits.Len64(ns) - 1 - subBits // how often the range [64,128) was doubled
	return (exp+1)<<subBits + int(ns>>exp) - 1<<subBits
}

// upper is the largest value of bucket b.
func upper(b int) uint64 {
	if b < 1<<subBits {
		return uint64(b)
	}
	exp := b>>subBits - 1
	return (uint64(b&(1<<subBits-1)+1<<subBits)+1)<<exp - 1
}

// quantile is the value that the fraction q of all durations do not exceed, as the
// upper end of its bucket.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := max(1, uint64(q*float64(h.total)+0.999999))
	var seen uint64
	for b, n := range h.counts {
		if seen += n; seen >= rank {
			return time.Duration(min(upper(b), h.max))
		}
	}
	return time.Duration(h.max)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// encode writes uvarints: the maximum, then for each bucket that is not empty its
// distance from the one before and its count.
func (h *histogram) encode() []byte {
	b := binary.AppendUvarint(nil, h.max)
	last := 0
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(i-last))
		b = binary.AppendUvarint(b, n)
		last = i
	}
	return b
}

// decode merges what encode wrote into h.
func (h *histogram) decode(b []byte) error {
	var o histogram
	next := func() (v uint64, ok bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	var ok bool
	if o.max, ok = next(); !ok {
		return fmt.Errorf("decode histogram: no maximum")
	}
	for at := uint64(0); len(b) > 0; {
		distance, ok1 := next()
		n, ok2 := next()
		if at += distance; !ok1 || !ok2 || distance >= buckets || at >= buckets {
			return fmt.Errorf("decode histogram: bucket %d of %d is cut off or not possible", at, buckets)
		}
		o.counts[at] += n
		o.total += n
	}
	h.merge(&o)
	return nil
}
