package table

import (
	"bytes"
	"slices"
)

// Where things stand in slot.meta. The hash's bits 40..47 give way to the flags:
// the group (top 16) and the 40 low bits stay, which is all that a table uses of a
// hash.
const (
	flagUsed   = 1 << 40 // the slot holds a key: an empty slot's meta is 0
	flagGone   = 1 << 41 // tombstone: the key was cleared
	flagStored = 1 << 42 // a run, or the cold tier, may hold an older version
	flagHead   = 1 << 43 // first of a map's list of entries, never written
	tagShift   = 44      // 3 bits: tag (1..7) of the last cut that copied the slot, 0 = none
	tagMask    = 7 << tagShift
	flagRef    = 1 << 47 // touched since the clock hand of eviction last came by
	hashMask   = ^uint64(0xff << 40)
	probeMask  = 1<<24 - 1 // bits that place a slot inside its segment
	dirShift   = 24        // bits 24..39 choose the segment
)

const (
	minSlots = 8
	// maxSlots bounds a rehash: 64 Ki slots of 24 B are moved in about 2 ms.
	maxSlots = 1 << 16
	// maxSlab splits a segment whose keys and values take more, for the same reason.
	maxSlab = 4 << 20
	// maxDepth is the number of hash bits that choose a segment.
	maxDepth = 16
)

// slot is one entry. V is free of pointers, so that []slot[V] is never scanned.
type slot[V any] struct {
	key  uint64 // the word, or position<<32 | length of the key in the segment's slab
	meta uint64
	val  V
}

// ref is a value in the segment's slab.
type ref struct {
	pos, len, cap uint32
	n             uint32 // elements of a list
}

// segment is one open-addressing table of a bundle. All entries of a key lie in
// the same one.
type segment[V any] struct {
	slots  []slot[V]
	mask   uint64
	used   int // slots with flagUsed
	bundle int
	depth  uint8
	bits   uint32 // the directory bits common to all keys here

	slab []byte
	dead int // bytes of slab that nothing refers to
	// slabLimit is the size of the slab at which the next key has the segment rebuilt.
	slabLimit int

	// dirty marks the slots changed since the last freeze; frozen those of the last
	// freeze that have not been copied yet. They change places at a freeze.
	dirty   []uint64
	frozen  []uint64
	listed  bool // on the table's dirty list
	waiting bool // on the table's frozen list, not copied to its end
}

// dir is a bundle's directory of segments (extendible hashing).
type dir[V any] struct {
	segs []*segment[V]
	mask uint64
}

func newSegment[V any](bundle, slots int, depth uint8, bits uint32) *segment[V] {
	return &segment[V]{
		slots:  make([]slot[V], slots),
		mask:   uint64(slots - 1),
		bundle: bundle,
		depth:  depth,
		bits:   bits,
		dirty:  make([]uint64, (slots+63)/64),
		frozen: make([]uint64, (slots+63)/64),

		slabLimit: maxSlab,
	}
}

// room is how many slots may be used before the segment is rebuilt: three in four.
func (g *segment[V]) room() int { return len(g.slots) / 4 * 3 }

// findWord returns the slot of the key, or the empty slot where it would go.
func (g *segment[V]) findWord(hash, word uint64) (at int, ok bool) {
	slots, mask := g.slots, g.mask
	i := hash & mask
	for {
		s := &slots[i]
		if s.meta == 0 {
			return int(i), false
		}
		if s.key == word {
			return int(i), true
		}
		i = (i + 1) & mask
	}
}

// findBytes is findWord for keys in the slab. kind is flagHead or 0.
func (g *segment[V]) findBytes(hash uint64, key []byte, kind uint64) (at int, ok bool) {
	want := hash&hashMask | kind | flagUsed
	slots, mask := g.slots, g.mask
	i := hash & mask
	for {
		s := &slots[i]
		if s.meta == 0 {
			return int(i), false
		}
		if s.meta&(hashMask|flagHead|flagUsed) == want && bytes.Equal(g.keyOf(s), key) {
			return int(i), true
		}
		i = (i + 1) & mask
	}
}

func (g *segment[V]) keyOf(s *slot[V]) []byte {
	pos, n := s.key>>32, s.key&0xffffffff
	return g.slab[pos : pos+n : pos+n]
}

func (g *segment[V]) valueOf(r *ref) []byte {
	return g.slab[r.pos : r.pos+r.len : r.pos+r.cap]
}

// push appends b to the slab and returns where it lies.
func (g *segment[V]) push(b []byte, room int) (pos uint32) {
	pos = uint32(len(g.slab))
	g.slab = slices.Grow(g.slab, room)[:len(g.slab)+room]
	copy(g.slab[pos:], b)
	return pos
}

func hasBit(m []uint64, i int) bool { return m[i>>6]&(1<<(i&63)) != 0 }
func setBit(m []uint64, i int)      { m[i>>6] |= 1 << (i & 63) }
func clearBit(m []uint64, i int)    { m[i>>6] &^= 1 << (i & 63) }
