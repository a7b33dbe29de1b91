package joining

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
)

// Kept is a record that waits for others.
type Kept[T any] struct {
	At      int64 // its event time, ms
	Matched bool  // an outer join: it has met one
	Value   T
}

// buckets are the records of one stream that the current key keeps, by time.
type buckets[T any] struct {
	rt     *operator.Runtime
	width  int64 // of a bucket, ms
	panes  *table.PaneList[Kept[T]]
	c      codec.Codec[Kept[T]]
	fixed  int // bytes of an encoded Kept, 0 if they differ: then all of a bucket is decoded
	found  []Kept[T]
	bucket []Kept[T]
}

func newBuckets[T any](s *operator.Setup, name string, width int64) buckets[T] {
	b := buckets[T]{rt: s.Runtime(), width: width, panes: s.PaneList[Kept[T]](operator.BucketState(name, width))}
	if c, err := codec.In[Kept[T]](s.Types()); err == nil { // else the PaneList has said so
		b.c, b.fixed = c, c.Fixed()
	}
	return b
}

// start is that of the bucket that at lies in.
func (b *buckets[T]) start(at int64) int64 { return at &^ (b.width - 1) }

// keep adds a record. It reports whether it is the first of its bucket.
func (b *buckets[T]) keep(at int64, matched bool, v T) (fresh bool) {
	return b.panes.Append(b.start(at), Kept[T]{at, matched, v})
}

// clear forgets the bucket that ends with the ms last, if one does.
func (b *buckets[T]) clear(last int64) {
	if start := last - b.width + 1; b.start(start) == start {
		b.panes.Clear(start)
	}
}

// between returns what is kept with times from … to, valid until the next call. They are at
// most a width apart.
func (b *buckets[T]) between(from, to int64) []Kept[T] {
	found := b.found[:0]
	for start := b.start(from); start <= to; start += b.width {
		if b.fixed > 0 {
			found = b.pick(found, start, from, to)
			continue
		}
		b.bucket = b.panes.Get(b.bucket[:0], start)
		for i := range b.bucket {
			if k := &b.bucket[i]; k.At >= from && k.At <= to {
				found = append(found, *k)
			}
		}
		clear(b.bucket)
	}
	b.found = found
	return found
}

// release lets go of what between returned.
func (b *buckets[T]) release() {
	if b.fixed == 0 {
		clear(b.found)
	}
}

// pick appends what a bucket has with times from … to, decoding nothing else.
// The time stands first in the encoding (codec/format.go).
func (b *buckets[T]) pick(found []Kept[T], start, from, to int64) []Kept[T] {
	all := b.panes.View(start)
	for ; len(all) >= b.fixed; all = all[b.fixed:] {
		if at := int64(binary.LittleEndian.Uint64(all)); at < from || at > to {
			continue
		}
		k, _, err := b.c.Decode(all[:b.fixed])
		if err != nil {
			b.rt.Fail(fmt.Errorf("decode a record kept for a join: %w: %w", statebackend.ErrCorrupt, err))
			return found
		}
		found = append(found, k)
	}
	return found
}

// match notes that those with times from … to have met a record.
func (b *buckets[T]) match(from, to int64) {
	for start := b.start(from); start <= to; start += b.width {
		b.bucket = b.panes.Get(b.bucket[:0], start)
		changed := false
		for i := range b.bucket {
			if k := &b.bucket[i]; k.At >= from && k.At <= to && !k.Matched {
				k.Matched, changed = true, true
			}
		}
		if changed {
			b.panes.Set(start, b.bucket)
		}
		clear(b.bucket)
	}
}
