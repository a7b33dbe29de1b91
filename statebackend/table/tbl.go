package table

import (
	"fmt"
	"unsafe"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/evolution"
	"github.com/weirstream/weir/stream"
)

// tbl is the table of one state: for each bundle a directory of segments. It is
// generic in what a slot holds; what differs between kinds are the hooks.
type tbl[V any] struct {
	// Immutable after newTbl.
	s     *Store
	d     statebackend.Descriptor
	words bool // slots are found by the store's word; else by bytes
	hooks hooks[V]

	dirs []dir[V] // by bundle
	mem  int64
	live int // entries with a value in memory

	// Where the current key stands, valid while gen is the store's.
	gen uint64
	seg *segment[V]
	at  int // the key's slot, or the empty one where it would go

	credit int // see ahead
	sample sample

	dirty  []*segment[V] // segments with a dirty bit, each once
	frozen []*segment[V] // of the cut being copied
	part   *copied[V]    // of the cut being copied

	values evolution.Reader // changes with Store.Evolve only
}

// hooks are what a kind of state adds to tbl.
type hooks[V any] struct {
	// ref is where the value keeps its place in the slab; nil when it lies in the slot.
	ref func(*V) *ref
	// encode appends the persisted form of v, without its envelope. slab holds the
	// bytes that v refers to. It runs in the goroutine that writes the cut.
	encode func(dst []byte, slab []byte, v *V) []byte
	// decode is its inverse: it returns v, and the bytes to put into the slab.
	decode func(payload []byte) (v V, bytes []byte, err error)
	// from returns how payloads of another schema become those that decode takes; a nil
	// mover if they are the same. nil: there are no schemas.
	from func(writer []byte) (evolution.Mover, error)
	// place appends what follows the state id in a full key to dst; key is the
	// slot's. nil: the key itself.
	place func(dst, key []byte) []byte
	// compare orders the slots' keys as place orders the full ones; nil: as bytes.
	compare func(a, b []byte) int
	// split takes what follows the state id in a full key apart: the user's key, and
	// the slot's key (in scratch, if it is another) with its hash, which has the high
	// bits of hash, the user key's. nil: all three are the same.
	split func(scratch, rest []byte) (user, key []byte, mix uint64, err error)
	// relink is called after the slots of g have moved.
	relink func(g *segment[V])
	// loaded is called for each entry that a restore put into the table.
	loaded func(g *segment[V], at int, user []byte, hash uint64)
	// slots is how many slots a new entry may take: 0 means 1.
	slots  int
	pinned bool // never evicted
	apart  bool // slots stand elsewhere than the hash of the user's key says
	// tails is for values to which can be added without the whole; nil: there are none.
	tails *tails[V]
	// opened is called when all of a bundle of a pinned state has been loaded.
	opened func(b int)
}

// tails are the hooks of values of which a slot may hold the tail only, and a cut write it.
type tails[V any] struct {
	// partial reports whether v is one, or, in a cut, an operand.
	partial func(v *V) bool
	// complete makes a partial value whole; payload is what lies below, if ok.
	complete func(g *segment[V], at int, payload []byte, ok bool) error
	// caught is called as c copies a value; it returns where in its bytes the copy begins.
	caught func(v, copy *V, c *Cut) (from uint32)
	// lost is called when a cut that copied the value has failed.
	lost func(v *V)
	// unread reports whether nobody has read v since it was fetched.
	unread func(v *V) bool
}

// partial reports whether slot at of g holds only the tail of its key's value.
func (t *tbl[V]) partial(g *segment[V], at int) bool {
	return t.hooks.tails != nil && t.hooks.tails.partial(&g.slots[at].val)
}

func newTbl[V any](s *Store, d statebackend.Descriptor, words bool, h hooks[V]) *tbl[V] {
	t := &tbl[V]{s: s, d: d, words: words, hooks: h, dirs: make([]dir[V], s.bundles), values: evolution.NewReader(d.Kind)}
	if h.place == nil {
		t.hooks.place = func(dst, key []byte) []byte { return append(dst, key...) }
	}
	return t
}

func (t *tbl[V]) desc() statebackend.Descriptor { return t.d }
func (t *tbl[V]) bytes() int64                  { return t.mem }

func (t *tbl[V]) grew(n int64) {
	t.mem += n
	t.s.grew(t, n)
}

const segmentOverhead = 192 // a segment's struct and its place in the directory

func segmentBytes[V any](g *segment[V]) int64 {
	var s slot[V]
	return segmentOverhead + int64(len(g.slots))*int64(unsafe.Sizeof(s)) + int64(len(g.dirty))*16 + int64(cap(g.slab))
}

// segment returns the segment for hash, or nil if nothing was ever put there.
func (t *tbl[V]) segment(hash uint64) *segment[V] {
	d := &t.dirs[t.s.bundleOf(hash)]
	if d.segs == nil {
		return nil
	}
	return d.segs[hash>>dirShift&d.mask]
}

// segmentFor is segment, made when missing.
func (t *tbl[V]) segmentFor(hash uint64) *segment[V] {
	b := t.s.bundleOf(hash)
	d := &t.dirs[b]
	if d.segs == nil {
		g := newSegment[V](b, minSlots, 0, 0)
		d.segs = []*segment[V]{g}
		t.grew(segmentBytes(g))
	}
	return d.segs[hash>>dirShift&d.mask]
}

// locate finds the current key's slot, reading it from the cold tier if it may be
// there and read is set. It returns whether the key has a value.
//
// The common case, a word that is in the table, is written out: what counts is how
// few stores and calls stand between two cache misses, so that the processor can
// have several in flight.
func (t *tbl[V]) locate(read bool) bool {
	s := t.s
	if hash := s.hash; t.words {
		d := &t.dirs[int(hash>>48>>(s.shift&15))-s.first]
		if d.segs != nil {
			g := d.segs[hash>>dirShift&d.mask]
			word, slots, mask := s.word, g.slots, g.mask
			for i := hash & mask; ; i = (i + 1) & mask {
				sl := &slots[i]
				if sl.key == word && sl.meta != 0 {
					t.gen, t.seg, t.at = s.gen, g, int(i)
					if s.evicts {
						sl.meta |= flagRef
					}
					return sl.meta&flagGone == 0
				}
				if sl.meta == 0 {
					break
				}
			}
		}
	}
	return t.locateSlow(read)
}

func (t *tbl[V]) locateSlow(read bool) bool {
	s := t.s
	g := t.segmentFor(s.hash)
	var at int
	var ok bool
	if t.words {
		at, ok = g.findWord(s.hash, s.word)
	} else {
		at, ok = g.findBytes(s.hash, s.enc, 0)
	}
	t.gen, t.seg, t.at = s.gen, g, at
	if ok {
		sl := &g.slots[at]
		if s.evicts {
			sl.meta |= flagRef
		}
		return sl.meta&flagGone == 0
	}
	return read && t.mayBeBelow(g, s.hash) && t.fetch()
}

// present reports whether the located slot has a value.
func (t *tbl[V]) present() bool {
	return t.seg.slots[t.at].meta&(flagUsed|flagGone) == flagUsed
}

// fetch reads the current key from the cold tier into the table.
func (t *tbl[V]) fetch() bool {
	t.credit = max(t.credit, creditDemand)
	t.s.ns = t.s.appendKey(t.s.ns[:0])
	payload, ok := t.readCold(groupOf(t.s.hash), t.s.ns)
	if !ok {
		return false
	}
	v, b, err := t.hooks.decode(payload)
	if err != nil {
		t.s.fail(fmt.Errorf("decode state %q from the cold tier: %w: %w", t.d.Name, statebackend.ErrCorrupt, err))
		return false
	}
	sl := t.create()
	sl.val = v
	sl.meta |= flagStored | flagRef
	t.store(t.seg, t.at, b)
	return true
}

// readCold asks the cold tier for the slot key under its group. The answer lies in a
// scratch buffer.
func (t *tbl[V]) readCold(group stream.KeyGroup, key []byte) (payload []byte, ok bool) {
	s := t.s
	s.key = t.hooks.place(appendPrefix(s.key[:0], group, t.d.ID), key)
	value, ok, err := s.opt.Cold.Get(s.value[:0], s.key)
	if err == nil && ok {
		s.value = value
		payload, err = t.values.Open(value)
	}
	if err != nil {
		s.fail(fmt.Errorf("read state %q from the cold tier: %w", t.d.Name, err))
		return nil, false
	}
	return payload, ok
}

// touch makes the located slot ready to be changed: it exists, is marked dirty,
// and its frozen state has been copied. The value of a slot that had none is zero.
func (t *tbl[V]) touch() *slot[V] {
	g, at := t.seg, t.at
	if sl := &g.slots[at]; sl.meta&flagGone == 0 && g.dirty[at>>6]&(1<<(at&63)) != 0 {
		return sl // a dirty slot is in use
	}
	return t.touchSlow()
}

func (t *tbl[V]) touchSlow() *slot[V] {
	sl := &t.seg.slots[t.at]
	if sl.meta == 0 {
		sl = t.create()
		if t.mayBeBelow(t.seg, t.s.hash) {
			sl.meta |= flagStored
		}
	}
	t.mark(t.seg, t.at)
	if sl.meta&flagGone != 0 {
		var zero V
		t.revive(sl)
		sl.val = zero
	}
	return sl
}

// clear makes the current key's slot a tombstone.
func (t *tbl[V]) clear() {
	g := t.seg
	sl := &g.slots[t.at]
	if sl.meta == 0 {
		if !t.mayBeBelow(g, t.s.hash) {
			return // there never was anything
		}
		sl = t.create()
		sl.meta |= flagStored
		g = t.seg
	}
	if sl.meta&flagGone != 0 {
		return
	}
	t.mark(g, t.at)
	t.free(g, sl)
	t.bury(sl)
}

// bury makes a slot with a value a tombstone, revive the reverse.
func (t *tbl[V]) bury(sl *slot[V])   { sl.meta |= flagGone; t.live-- }
func (t *tbl[V]) revive(sl *slot[V]) { sl.meta &^= flagGone; t.live++ }

// free lets the value's bytes go.
func (t *tbl[V]) free(g *segment[V], sl *slot[V]) {
	if t.hooks.ref != nil {
		r := t.hooks.ref(&sl.val)
		g.dead += int(r.cap)
		*r = ref{}
	}
}

// mark sets the slot's dirty bit, copying its frozen state out first.
func (t *tbl[V]) mark(g *segment[V], at int) {
	if hasBit(g.dirty, at) {
		return
	}
	if g.waiting && hasBit(g.frozen, at) {
		t.copyOut(g, at)
	}
	setBit(g.dirty, at)
	if !g.listed {
		g.listed = true
		t.dirty = append(t.dirty, g)
	}
}

// create takes the empty slot at t.at for the current key.
func (t *tbl[V]) create() *slot[V] {
	var sl *slot[V]
	if t.words {
		sl = t.createAt(t.s.hash, t.s.word, nil, 0)
	} else {
		sl = t.createAt(t.s.hash, 0, t.s.enc, 0)
	}
	t.gen = t.s.gen
	return sl
}

// createAt takes an empty slot for a key that is not in the table and leaves t.seg
// and t.at there. hash is the slot's: its high bits those of the user's key.
func (t *tbl[V]) createAt(hash, word uint64, key []byte, kind uint64) *slot[V] {
	g := t.reserve(hash, 1, len(key))
	at := t.put(g, hash, word, key, kind)
	t.seg, t.at = g, at
	return &g.slots[at]
}

// reserve returns the segment for hash with room for n more slots, rebuilding it
// if need be: slots may move.
func (t *tbl[V]) reserve(hash uint64, n, bytes int) *segment[V] {
	g := t.segmentFor(hash)
	for g.used+n > g.room() || !t.words && len(g.slab)+bytes > g.slabLimit && g.used > 64 {
		t.rebuild(g, bytes)
		g = t.segmentFor(hash)
	}
	return g
}

// put takes an empty slot of g, which has room.
func (t *tbl[V]) put(g *segment[V], hash, word uint64, key []byte, kind uint64) (at int) {
	if t.words {
		at, _ = g.findWord(hash, word)
	} else {
		at, _ = g.findBytes(hash, key, kind)
		was := cap(g.slab)
		word = uint64(g.push(key, len(key)))<<32 | uint64(len(key))
		if cap(g.slab) != was {
			t.grew(int64(cap(g.slab) - was))
		}
	}
	g.slots[at] = slot[V]{key: word, meta: hash&hashMask | kind | flagUsed}
	g.used++
	if kind != flagHead {
		t.live++
	}
	return at
}

// store puts b into the slab as the value of slot at, in place if it fits.
func (t *tbl[V]) store(g *segment[V], at int, b []byte) {
	if t.hooks.ref == nil {
		return
	}
	r := t.hooks.ref(&g.slots[at].val)
	if len(b) <= int(r.cap) {
		copy(g.slab[r.pos:], b)
		r.len = uint32(len(b))
		return
	}
	n := r.n
	*r = t.room(g, r, len(b), (len(b)+7)&^7)
	r.n, r.len = n, uint32(len(b))
	copy(g.slab[r.pos:], b)
}

// room returns a new place of size bytes for what old held; old's bytes are dead.
func (t *tbl[V]) room(g *segment[V], old *ref, need, size int) ref {
	if uint64(len(g.slab))+uint64(size) > 1<<32-1 {
		t.s.fail(fmt.Errorf("state %q: a value of %d bytes beside %d bytes of its segment: values of one segment must stay below 4 GiB", t.d.Name, need, len(g.slab)))
		return ref{}
	}
	if g.dead > 4096 && g.dead > len(g.slab)/2 {
		t.compact(g)
	}
	g.dead += int(old.cap)
	was := cap(g.slab)
	pos := g.push(nil, size)
	if cap(g.slab) != was {
		t.grew(int64(cap(g.slab) - was))
	}
	return ref{pos: pos, cap: uint32(size)}
}
