package table

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

// copied is what a cut holds of a tbl: raw slots, by bundle, in flat chunks
// without pointers.
type copied[V any] struct {
	t       *tbl[V]
	bundles [][]chunk[V]
	n, gone int   // entries, tombstones among them
	tails   int   // operands among them
	slabs   int64 // bytes of the chunks' slabs
}

type chunk[V any] struct {
	slots []slot[V]
	slab  []byte
}

const (
	firstChunk = 16
	// maxChunk slots of 24 B are 96 KiB: no copying when a cut grows, little slack.
	maxChunk = 4096
)

func (p *copied[V]) id() statebackend.StateID { return p.t.d.ID }
func (p *copied[V]) len() int                 { return p.n }
func (p *copied[V]) live() int                { return p.n - p.gone }
func (p *copied[V]) operands() int            { return p.tails }
func (p *copied[V]) bytes() int64 {
	return int64(p.n)*int64(unsafe.Sizeof(slot[V]{})) + p.slabs
}

func (p *copied[V]) add(g *segment[V], sl *slot[V]) {
	chunks := p.bundles[g.bundle]
	if n := len(chunks); n == 0 {
		chunks = append(chunks, chunk[V]{slots: make([]slot[V], 0, firstChunk)})
		p.bundles[g.bundle] = chunks
	} else if last := &chunks[n-1]; len(last.slots) == cap(last.slots) {
		chunks = append(chunks, chunk[V]{slots: make([]slot[V], 0, min(maxChunk, 2*cap(last.slots)))})
		p.bundles[g.bundle] = chunks
	}
	c := &chunks[len(chunks)-1]
	p.n++
	if sl.meta&flagGone != 0 {
		p.gone++
	}
	c.slots = append(c.slots, *sl)
	if p.t.words && p.t.hooks.ref == nil {
		return
	}
	dst := &c.slots[len(c.slots)-1]
	if !p.t.words {
		key := g.keyOf(sl)
		dst.key = uint64(len(c.slab))<<32 | uint64(len(key))
		c.slab = append(c.slab, key...)
		p.slabs += int64(len(key))
	}
	if p.t.hooks.ref != nil {
		r := p.t.hooks.ref(&dst.val)
		b := g.valueOf(r)
		if h := p.t.hooks.tails; h != nil && sl.meta&flagGone == 0 {
			b = b[h.caught(&sl.val, &dst.val, p.t.s.cut):]
			r.len = uint32(len(b))
			if h.partial(&dst.val) {
				p.tails++
			}
		}
		r.pos = uint32(len(c.slab))
		c.slab = append(c.slab, b...)
		p.slabs += int64(len(b))
	}
}

func (t *tbl[V]) entries() int { return t.live }

// freeze makes the dirty slots the frozen ones, or all of them.
func (t *tbl[V]) freeze(full bool) part {
	if full {
		for b := range t.dirs {
			t.segments(b, t.markAll)
		}
	}
	t.newPart()
	t.frozen, t.dirty = t.dirty, t.frozen[:0]
	for _, g := range t.frozen {
		g.dirty, g.frozen = g.frozen, g.dirty
		g.listed, g.waiting = false, true
	}
	return t.part
}

// markAll makes every entry of g dirty.
func (t *tbl[V]) markAll(g *segment[V]) {
	any := false
	for i := range g.slots {
		if g.slots[i].meta&(flagUsed|flagHead|flagGone) == flagUsed {
			setBit(g.dirty, i)
			any = true
		}
	}
	if any && !g.listed {
		g.listed = true
		t.dirty = append(t.dirty, g)
	}
}

// copyFrozen copies up to limit entries; done says that none is left.
func (t *tbl[V]) copyFrozen(limit int) (n int, done bool) {
	for len(t.frozen) > 0 {
		g := t.frozen[len(t.frozen)-1]
		n += t.copySegment(g, limit-n)
		if g.waiting {
			return n, false
		}
		t.frozen[len(t.frozen)-1] = nil
		t.frozen = t.frozen[:len(t.frozen)-1]
		if n >= limit {
			break
		}
	}
	return n, len(t.frozen) == 0
}

// copySegment copies up to limit of g's frozen entries; g.waiting says whether
// some may be left.
func (t *tbl[V]) copySegment(g *segment[V], limit int) (n int) {
	if !g.waiting {
		return 1 // was finished by a rebuild
	}
	for w := range g.frozen {
		for g.frozen[w] != 0 {
			if n >= limit {
				return n
			}
			t.copyOut(g, w<<6+bits.TrailingZeros64(g.frozen[w]))
			n++
		}
	}
	g.waiting = false
	return n + 1
}

// finishCopy copies all that is frozen in g: its slots are about to move.
func (t *tbl[V]) finishCopy(g *segment[V]) {
	if g.waiting {
		t.copySegment(g, len(g.slots)+1)
	}
}

// copyOut copies slot at as it was at the freeze.
func (t *tbl[V]) copyOut(g *segment[V], at int) {
	clearBit(g.frozen, at)
	sl := &g.slots[at]
	if sl.meta&(flagGone|flagStored) == flagGone {
		return // it came and went between two cuts
	}
	sl.meta = sl.meta&^tagMask | t.s.cut.tag<<tagShift | flagStored
	t.part.add(g, sl)
}

// requeue makes the keys of a failed cut dirty again.
func (t *tbl[V]) requeue(p part) {
	for _, chunks := range p.(*copied[V]).bundles {
		for i := range chunks {
			c := &chunks[i]
			for j := range c.slots {
				t.requeueSlot(c, &c.slots[j])
			}
		}
	}
	t.gen = 0
}

func (t *tbl[V]) requeueSlot(c *chunk[V], sl *slot[V]) {
	g := t.segmentFor(sl.meta)
	var at int
	var ok bool
	if t.words {
		at, ok = g.findWord(sl.meta, sl.key)
	} else {
		at, ok = g.findBytes(sl.meta, c.keyOf(sl), 0)
	}
	if !ok {
		// Entries of a cut in flight are neither evicted nor dropped.
		panic("weir: BUG: entry of a failed cut is not in the table")
	}
	if h := t.hooks.tails; h != nil {
		h.lost(&g.slots[at].val) // before another cut catches it
	}
	t.mark(g, at)
}

func (c *chunk[V]) keyOf(sl *slot[V]) []byte {
	pos, n := sl.key>>32, sl.key&0xffffffff
	return c.slab[pos : pos+n : pos+n]
}

// spot is the place of a copied slot: chunk and index in it. With the word beside it the
// sort does not go to the slots: 75 instead of 107 ns an entry.
type spot struct {
	word         uint64 // if keys are words
	chunk, index uint32
}

type sorted[V any] struct {
	p      *copied[V]
	chunks []chunk[V]
	order  []spot
	next   int
}

// bundle implements part: entries sorted by group, then key.
func (p *copied[V]) bundle(b int) emitter {
	chunks := p.bundles[b]
	if len(chunks) == 0 {
		return nil
	}
	groups := p.t.s.groupsOf(b)
	counts := make([]int, groups.Size()+1)
	n := 0
	for i := range chunks {
		for j := range chunks[i].slots {
			counts[int(groupOf(chunks[i].slots[j].meta)-groups.First)+1]++
		}
		n += len(chunks[i].slots)
	}
	for i := 1; i < len(counts); i++ {
		counts[i] += counts[i-1]
	}
	order := make([]spot, n)
	next := slices.Clone(counts)
	for i := range chunks {
		for j := range chunks[i].slots {
			k := int(groupOf(chunks[i].slots[j].meta) - groups.First)
			order[next[k]] = spot{chunks[i].slots[j].key, uint32(i), uint32(j)}
			next[k]++
		}
	}
	s := &sorted[V]{p: p, chunks: chunks, order: order}
	for k := range groups.Size() {
		if g := order[counts[k]:counts[k+1]]; len(g) > 1 {
			s.sortGroup(g)
		}
	}
	return s
}

func (s *sorted[V]) slot(a spot) *slot[V] { return &s.chunks[a.chunk].slots[a.index] }

func (s *sorted[V]) sortGroup(g []spot) {
	if s.p.t.words {
		slices.SortFunc(g, func(a, b spot) int { return cmp.Compare(a.word, b.word) })
		return
	}
	compare := s.p.t.hooks.compare
	if compare == nil {
		compare = bytes.Compare
	}
	slices.SortFunc(g, func(a, b spot) int {
		return compare(s.chunks[a.chunk].keyOf(s.slot(a)), s.chunks[b.chunk].keyOf(s.slot(b)))
	})
}

func (s *sorted[V]) group() (stream.KeyGroup, bool) {
	if s.next == len(s.order) {
		return 0, false
	}
	return groupOf(s.slot(s.order[s.next]).meta), true
}

func (s *sorted[V]) emit(group stream.KeyGroup, e *encoder) error {
	t := s.p.t
	e.key = appendPrefix(e.key[:0], group, t.d.ID)
	head := len(e.key)
	for ; s.next < len(s.order); s.next++ {
		a := s.order[s.next]
		sl := s.slot(a)
		if groupOf(sl.meta) != group {
			return nil
		}
		if t.words {
			e.key = appendWord(e.key[:head], sl.key, t.s.opt.KeyWidth)
		} else {
			e.key = t.hooks.place(e.key[:head], s.chunks[a.chunk].keyOf(sl))
		}
		if sl.meta&flagGone != 0 {
			if err := e.sink.Delete(e.key); err != nil {
				return err
			}
			continue
		}
		e.value = envelope.Append(e.value[:0], envelope.Head{Kind: uint8(t.d.Kind), Schema: t.values.Ordinal})
		e.value = t.hooks.encode(e.value, s.chunks[a.chunk].slab, &sl.val)
		put := e.sink.Set
		if h := t.hooks.tails; h != nil && h.partial(&sl.val) {
			put = e.sink.Merge
		}
		if err := put(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

func groupOf(hash uint64) stream.KeyGroup { return stream.GroupOf(hash) }
