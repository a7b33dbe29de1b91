package table

import (
	"math/bits"

	"github.com/weirstream/weir/statebackend/table/bloom"
)

// Eviction moves a bundle's entries to the cold tier in two steps: CutBundles copies
// out the dirty ones for an eviction run, which is appended to the run list and
// ingested like that of any cut; DropClean then frees what is clean.
//
// A2: while any cut is being written only DropClean may be used, so an older value
// never lands on top of a newer one. An entry that was touched since the clock hand
// last came by stays for one more round.

// Bundles is the number of bundles.
func (s *Store) Bundles() int { return s.bundles }

// Busy reports whether a cut is neither durable nor failed.
func (s *Store) Busy() bool { return s.flying != 0 }

// CutBundles copies out the dirty entries, not touched recently, of bundle first
// and those after it (in a ring) until there are limit of them, in one piece. It
// returns how many bundles those were. No other cut may be in flight. Afterwards
// the entries are clean, unless the cut fails.
func (s *Store) CutBundles(first, limit int) (c *Cut, n int) {
	if s.flying != 0 || s.cut != nil {
		panic("weir: BUG: eviction of dirty entries while a cut is being written (A2)")
	}
	s.seq++
	c = &Cut{s: s, seq: s.seq, tag: s.seq%7 + 1, want: -1}
	s.flying |= 1 << c.tag
	s.cut, s.cuts[c.tag] = c, c
	for _, t := range s.states {
		c.parts = append(c.parts, t.newPart())
	}
	for n < s.bundles && (n == 0 || c.Len() < limit) {
		for _, t := range s.states {
			t.cutBundle((first + n) % s.bundles)
		}
		n++
	}
	s.cut = nil
	c.finish()
	return c, n
}

// DropClean frees the entries of bundle b that a run holds and that were not
// touched recently; it returns the bytes freed.
func (s *Store) DropClean(b int) int64 {
	was, dropped := s.memory, 0
	if !s.spilled[b] { // all that the cold tier will have is what goes now
		s.below[b] = &bloom.Set{}
	}
	for _, t := range s.states {
		dropped += t.dropClean(b)
	}
	if dropped == 0 && !s.spilled[b] {
		s.forgetBelow(b)
	}
	if dropped > 0 {
		s.spilled[b] = true
		s.loading.begun = s.loading.begun && s.loading.bundle != b
	}
	return was - s.memory
}

// segments calls f once for each segment of bundle b.
func (t *tbl[V]) segments(b int, f func(g *segment[V])) {
	d := &t.dirs[b]
	for i := 0; i < len(d.segs); i++ {
		// f may divide the segment, which changes d: the first place of a segment is
		// the one whose bits above its depth are 0.
		if g := d.segs[i]; uint32(i) == g.bits {
			f(g)
		}
	}
}

func (t *tbl[V]) newPart() part {
	t.part = &copied[V]{t: t, bundles: make([][]chunk[V], t.s.bundles)}
	return t.part
}

func (t *tbl[V]) cutBundle(b int) {
	if t.hooks.pinned {
		return
	}
	t.segments(b, func(g *segment[V]) {
		for w := range g.dirty {
			for m := g.dirty[w]; m != 0; m &= m - 1 {
				at := w<<6 + bits.TrailingZeros64(m)
				if g.slots[at].meta&flagRef == 0 {
					clearBit(g.dirty, at)
					t.copyOut(g, at)
				}
			}
		}
	})
}

// evictable reports whether the slot may leave memory: it is clean, in no cut in
// flight and not touched since the last time.
func (t *tbl[V]) evictable(g *segment[V], at int) bool {
	m := g.slots[at].meta
	return m&flagUsed != 0 && m&(flagHead|flagRef) == 0 && m&flagStored != 0 &&
		!hasBit(g.dirty, at) && !hasBit(g.frozen, at) && !t.s.inFlight(m)
}

func (t *tbl[V]) dropClean(b int) (dropped int) {
	if t.hooks.pinned {
		return 0
	}
	t.segments(b, func(g *segment[V]) {
		n := 0
		for i := range g.slots {
			if t.evictable(g, i) {
				n++
			}
		}
		// Rebuilding costs as much as the segment is large.
		if n > 0 && n >= g.used/8 {
			t.rebuildDropping(g, 0, func(at int, sl *slot[V]) bool {
				if !t.evictable(g, at) {
					return false
				}
				t.noteBelow(b, sl.meta)
				return true
			})
			dropped += n
		}
		for i := range g.slots {
			g.slots[i].meta &^= flagRef
		}
	})
	return dropped
}
