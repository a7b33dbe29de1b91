package table

import "slices"

// rebuild gives g's entries a fresh segment, or two: when the slots are used up,
// when the slab is mostly garbage or too large. Tombstones that nobody needs are
// left behind, and so is what drop says. Slots move: cached positions are void.
func (t *tbl[V]) rebuild(g *segment[V], extra int) { t.rebuildDropping(g, extra, nil) }

func (t *tbl[V]) rebuildDropping(g *segment[V], extra int, drop func(at int, sl *slot[V]) bool) {
	t.finishCopy(g)
	t.gen = 0
	keep, bytes := 0, extra
	var ones int // of those kept, how many have the next directory bit set
	next := uint64(1) << (dirShift + g.depth)
	for i := range g.slots {
		sl := &g.slots[i]
		if sl.meta == 0 || t.droppable(g, i, sl) || drop != nil && drop(i, sl) {
			if sl.meta&(flagUsed|flagGone|flagHead) == flagUsed {
				t.live--
			}
			if sl.meta != 0 {
				clearBit(g.dirty, i)
				sl.meta = 0
			}
			continue
		}
		keep++
		bytes += t.sizeOf(sl)
		if sl.meta&next != 0 {
			ones++
		}
	}
	split := keep > maxSlots/2 || bytes > maxSlab && keep > 64
	// A key with a map of its own that fills the segment cannot be divided.
	if split && g.depth < maxDepth && min(ones, keep-ones) > keep/16 {
		t.split(g, keep-ones, ones)
		return
	}
	t.resize(g, slotsFor(keep+2), bytes)
}

// slotsFor is the smallest size that n entries fill by half at most.
func slotsFor(n int) int {
	size := minSlots
	for size < 2*n {
		size *= 2
	}
	return size
}

// droppable reports whether a tombstone, or a list head without a list, is of no
// use any more: nobody below holds an older version, or the cut that wrote the
// tombstone is durable.
func (t *tbl[V]) droppable(g *segment[V], at int, sl *slot[V]) bool {
	if sl.meta&flagHead != 0 {
		return t.hooks.ref(&sl.val).n == 0
	}
	if sl.meta&flagGone == 0 {
		return false
	}
	if sl.meta&flagStored == 0 {
		return true
	}
	return !hasBit(g.dirty, at) && !t.s.inFlight(sl.meta)
}

func (t *tbl[V]) sizeOf(sl *slot[V]) int {
	n := 0
	if !t.words {
		n = int(uint32(sl.key))
	}
	if t.hooks.ref != nil {
		n += int(t.hooks.ref(&sl.val).cap)
	}
	return n
}

// resize moves g's entries into size slots; g stays the same object.
func (t *tbl[V]) resize(g *segment[V], size, bytes int) {
	was := segmentBytes(g)
	old := *g
	fresh := newSegment[V](g.bundle, size, g.depth, g.bits)
	fresh.listed = g.listed
	*g = *fresh
	g.slabLimit = max(maxSlab, 2*bytes)
	if bytes > 0 {
		g.slab = make([]byte, 0, bytes+bytes/8)
	}
	for i := range old.slots {
		t.move(&old, i, g)
	}
	if t.hooks.relink != nil {
		t.hooks.relink(g)
	}
	t.grew(segmentBytes(g) - was)
}

// split divides g's entries by the next bit of the directory between g and a new
// segment.
func (t *tbl[V]) split(g *segment[V], zeros, ones int) {
	was := segmentBytes(g)
	old := *g
	bit := uint32(1) << g.depth
	left := newSegment[V](g.bundle, slotsFor(zeros+2), g.depth+1, g.bits)
	right := newSegment[V](g.bundle, slotsFor(ones+2), g.depth+1, g.bits|bit)
	left.listed = g.listed
	*g = *left

	d := &t.dirs[g.bundle]
	if 1<<g.depth > len(d.segs) {
		d.segs = slices.Concat(d.segs, d.segs)
		d.mask = uint64(len(d.segs) - 1)
	}
	for i := range d.segs {
		if uint32(i)&(bit<<1-1) == right.bits {
			d.segs[i] = right
		}
	}
	for i := range old.slots {
		to := g
		if old.slots[i].meta>>dirShift&uint64(bit) != 0 {
			to = right
		}
		if t.move(&old, i, to) && to == right && !right.listed {
			right.listed = true
			t.dirty = append(t.dirty, right)
		}
	}
	if t.hooks.relink != nil {
		t.hooks.relink(g)
		t.hooks.relink(right)
	}
	t.grew(segmentBytes(g) + segmentBytes(right) - was)
}

// move copies slot i of old into to, with its bytes and its dirty bit, which it
// returns.
func (t *tbl[V]) move(old *segment[V], i int, to *segment[V]) (dirty bool) {
	sl := &old.slots[i]
	if sl.meta == 0 {
		return false
	}
	at := sl.meta & probeMask & to.mask
	for to.slots[at].meta != 0 {
		at = (at + 1) & to.mask
	}
	dst := &to.slots[at]
	*dst = *sl
	to.used++
	if !t.words {
		key := old.keyOf(sl)
		dst.key = uint64(to.push(key, len(key)))<<32 | uint64(len(key))
	}
	if t.hooks.ref != nil && sl.meta&flagHead == 0 {
		if r := t.hooks.ref(&dst.val); r.cap > 0 {
			r.pos = to.push(old.slab[r.pos:r.pos+r.len], int(r.cap))
		}
	}
	if hasBit(old.dirty, i) {
		setBit(to.dirty, int(at))
		return true
	}
	return false
}

// compact writes g's slab anew without its garbage; the slots stay where they are.
func (t *tbl[V]) compact(g *segment[V]) {
	old, was := g.slab, int64(cap(g.slab))
	live := len(old) - g.dead
	g.slab, g.dead = make([]byte, 0, live+live/4+64), 0
	for i := range g.slots {
		sl := &g.slots[i]
		if sl.meta == 0 {
			continue
		}
		if !t.words {
			pos, n := sl.key>>32, uint64(uint32(sl.key))
			sl.key = uint64(g.push(old[pos:pos+n], int(n)))<<32 | n
		}
		if t.hooks.ref != nil && sl.meta&flagHead == 0 {
			if r := t.hooks.ref(&sl.val); r.cap > 0 {
				r.pos = g.push(old[r.pos:r.pos+r.len], int(r.cap))
			}
		}
	}
	t.grew(int64(cap(g.slab)) - was)
}
