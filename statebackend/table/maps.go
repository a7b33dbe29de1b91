package table

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/evolution"
)

// Map is one map for each key. It is always that of the current record's key, and
// only its operator's callbacks may use it.
type Map[K, V any] struct {
	name string
	t    *tbl[link]
	kc   codec.Key[K]
	vc   codec.Codec[V]

	full []byte // the current key's encoding, then that of the map's key
	key  int    // length of the former
	gen  uint64 // of the store when full was begun
	buf  []byte
}

// link is what a slot of a map holds: the value's place, and the next entry of the
// same key's map. Entries of one map form a list that begins at its head slot,
// which has flagHead and counts the live ones in ref.n. A deleted entry stays in
// the list until its segment is rebuilt.
type link struct {
	ref  ref
	next uint32 // slot + 1; 0 ends the list
	key  uint32 // length of the user's key; linkedBit: is in the list
}

const linkedBit = 1 << 31

var errKeyLen = errors.New("the store has no Options.KeyLen, which maps under keys of bytes need")

// NewMap declares a map state in s.
func NewMap[K, V any](s *Store, d statebackend.Descriptor, kc codec.Key[K], vc codec.Codec[V]) (*Map[K, V], error) {
	if s.opt.KeyWidth == 0 && s.opt.KeyLen == nil {
		return nil, fmt.Errorf("declare map state %q: %w", d.Name, errKeyLen)
	}
	m := &Map[K, V]{name: d.Name, kc: kc, vc: vc}
	m.t = newTbl(s, d, false, hooks[link]{
		ref:    func(l *link) *ref { return &l.ref },
		encode: func(dst, slab []byte, l *link) []byte { return append(dst, slab[l.ref.pos:l.ref.pos+l.ref.len]...) },
		decode: func(b []byte) (link, []byte, error) { return link{}, b, nil },
		from:   evolution.One(vc),
		split:  s.splitMapKey,
		relink: m.relink,
		loaded: func(g *segment[link], at int, user []byte, hash uint64) {
			g.slots[at].val.key = uint32(len(user))
			m.link(g, at, hash)
		},
		slots: 2,
	})
	return m, s.add(m.t)
}

// UnboundMap returns a handle for plan time: it has a name, and using it panics.
func UnboundMap[K, V any](d statebackend.Descriptor) *Map[K, V] { return &Map[K, V]{name: d.Name} }

func (s *Store) splitMapKey(_, rest []byte) (user, key []byte, mix uint64, err error) {
	n := s.opt.KeyWidth
	if n == 0 {
		if n, err = s.opt.KeyLen(rest); err != nil {
			return nil, nil, 0, err
		}
	}
	if n > len(rest) {
		return nil, nil, 0, fmt.Errorf("%d bytes are no key of %d", len(rest), n)
	}
	return rest[:n], rest, xxh3.Hash(rest[n:]), nil
}

// begin makes full hold the current key.
func (m *Map[K, V]) begin() *tbl[link] {
	t := m.t
	if t == nil {
		unbound(m.name)
	}
	if m.gen != t.s.gen {
		m.full = t.s.appendKey(m.full[:0])
		m.key, m.gen = len(m.full), t.s.gen
	}
	return t
}

// find returns where the entry for k stands: in g at slot at if ok. hash is the
// slot's. With read, the cold tier is asked for an entry that the table lacks.
func (m *Map[K, V]) find(k K, read bool) (g *segment[link], at int, hash uint64, ok bool) {
	t := m.begin()
	m.full = m.kc.Append(m.full[:m.key], k)
	return m.findEncoded(t, read)
}

func (m *Map[K, V]) findEncoded(t *tbl[link], read bool) (g *segment[link], at int, hash uint64, ok bool) {
	hash = mixHash(t.s.hash, xxh3.Hash(m.full[m.key:]))
	g = t.segmentFor(hash)
	if at, ok = g.findBytes(hash, m.full, 0); ok {
		if t.s.evicts {
			g.slots[at].meta |= flagRef
		}
		return g, at, hash, true
	}
	if !read || !t.mayBeBelow(g, hash) {
		return g, at, hash, false
	}
	payload, found := t.readCold(groupOf(t.s.hash), m.full)
	if !found {
		return g, at, hash, false
	}
	g, at = m.insert(hash, flagStored|flagRef)
	t.store(g, at, payload)
	m.link(g, at, t.s.hash)
	return g, at, hash, true
}

// insert makes the slot for full, which is not in the table.
func (m *Map[K, V]) insert(hash, flags uint64) (g *segment[link], at int) {
	g = m.t.reserve(hash, 2, len(m.full)+m.key)
	at = m.t.put(g, hash, 0, m.full, 0)
	g.slots[at].meta |= flags
	g.slots[at].val.key = uint32(m.key)
	return g, at
}

// link counts a live entry of the key with that hash, and puts it into its list.
// There must be room for a head.
func (m *Map[K, V]) link(g *segment[link], at int, hash uint64) {
	v := &g.slots[at].val
	user := g.keyOf(&g.slots[at])[:v.key&^linkedBit]
	i, ok := g.findBytes(hash, user, flagHead)
	if !ok {
		i = m.t.put(g, hash, 0, user, flagHead)
	}
	head := &g.slots[i].val
	head.ref.n++
	if v.key&linkedBit == 0 {
		v.next, v.key = head.next, v.key|linkedBit
		head.next = uint32(at) + 1
	}
}

// relink builds the lists of g anew after its slots have moved.
func (m *Map[K, V]) relink(g *segment[link]) {
	for i := range g.slots {
		if sl := &g.slots[i]; sl.meta != 0 {
			sl.val.next = 0
			if sl.meta&flagHead != 0 {
				sl.val.ref.n = 0
			} else {
				sl.val.key &^= linkedBit
			}
		}
	}
	for i := range g.slots {
		if sl := &g.slots[i]; sl.meta&(flagUsed|flagHead|flagGone) == flagUsed {
			key := g.keyOf(sl)
			m.link(g, i, xxh3.Hash(key[:sl.val.key]))
		}
	}
}

// head returns the current key's list head, or nil.
func (m *Map[K, V]) head(t *tbl[link]) (g *segment[link], head *link) {
	g = t.segmentFor(t.s.hash)
	if i, ok := g.findBytes(t.s.hash, m.full[:m.key], flagHead); ok {
		return g, &g.slots[i].val
	}
	return g, nil
}

// Get returns the value of k in the current key's map.
func (m *Map[K, V]) Get(k K) (x V, ok bool) {
	g, at, _, ok := m.find(k, true)
	if !ok || g.slots[at].meta&flagGone != 0 {
		return x, false
	}
	return m.decode(g.valueOf(&g.slots[at].val.ref))
}

func (m *Map[K, V]) decode(b []byte) (x V, ok bool) {
	x, err := decodeAll(m.vc, b)
	if err != nil {
		m.t.s.fail(fmt.Errorf("decode a value of state %q: %w: %w", m.name, statebackend.ErrCorrupt, err))
		return x, false
	}
	return x, true
}

// Set makes x the value of k in the current key's map.
func (m *Map[K, V]) Set(k K, x V) {
	g, at, hash, ok := m.find(k, false)
	t := m.t
	m.buf = m.vc.Append(m.buf[:0], x)
	if !ok {
		flags := uint64(0)
		if t.mayBeBelow(g, hash) {
			flags = flagStored
		}
		g, at = m.insert(hash, flags)
		t.mark(g, at)
		m.link(g, at, t.s.hash)
	} else {
		t.mark(g, at)
		if sl := &g.slots[at]; sl.meta&flagGone != 0 {
			t.revive(sl)
			if _, head := m.head(t); head == nil && g.used >= g.room() {
				t.rebuild(g, m.key) // links the entry
				g = t.segmentFor(hash)
				at, _ = g.findBytes(hash, m.full, 0)
			} else {
				m.link(g, at, t.s.hash)
			}
		}
	}
	t.store(g, at, m.buf)
}

// Delete removes k from the current key's map.
func (m *Map[K, V]) Delete(k K) {
	m.begin()
	m.full = m.kc.Append(m.full[:m.key], k)
	m.remove()
}

// remove makes the entry of full a tombstone.
func (m *Map[K, V]) remove() {
	t := m.t
	g, at, hash, ok := m.findEncoded(t, false)
	if !ok {
		if !t.mayBeBelow(g, hash) {
			return
		}
		g, at = m.insert(hash, flagStored)
		t.bury(&g.slots[at])
		t.mark(g, at)
		return
	}
	sl := &g.slots[at]
	if sl.meta&flagGone != 0 {
		return
	}
	t.mark(g, at)
	t.free(g, sl)
	t.bury(sl)
	if _, head := m.head(t); head != nil {
		head.ref.n--
	}
}

// Clear removes all entries of the current key's map.
func (m *Map[K, V]) Clear() {
	for _, e := range m.entries() {
		m.begin()
		m.full = append(m.full[:m.key], e.key...)
		m.remove()
	}
}

// Len is the number of entries of the current key's map.
func (m *Map[K, V]) Len() int {
	t := m.begin()
	g, head := m.head(t)
	if t.mayHaveBelow(g, t.s.hash) {
		return len(m.entries())
	}
	if head == nil {
		return 0
	}
	return int(head.ref.n)
}

// All yields the entries in the order of their encoded keys, as they are when the
// loop begins.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, e := range m.entries() {
			k, err := decodeAll(m.kc, e.key)
			if err != nil {
				m.t.s.fail(fmt.Errorf("decode a map key of state %q: %w: %w", m.name, statebackend.ErrCorrupt, err))
				return
			}
			v, ok := m.decode(e.value)
			if !ok || !yield(k, v) {
				return
			}
		}
	}
}

type entry struct{ key, value []byte }

// entries copies the current key's map out, in key order.
func (m *Map[K, V]) entries() (es []entry) {
	t := m.begin()
	g, head := m.head(t)
	if head != nil {
		es = make([]entry, 0, head.ref.n)
		for i := head.next; i != 0; i = g.slots[i-1].val.next {
			sl := &g.slots[i-1]
			if sl.meta&flagGone == 0 {
				both := slices.Concat(g.keyOf(sl)[m.key:], g.valueOf(&sl.val.ref))
				n := int(uint32(sl.key)) - m.key
				es = append(es, entry{both[:n:n], both[n:]})
			}
		}
	}
	if t.mayHaveBelow(g, t.s.hash) {
		es = m.coldEntries(t, es)
	}
	slices.SortFunc(es, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	return es
}

// coldEntries adds what only the cold tier has: what the table knows, tombstones
// too, is newer.
func (m *Map[K, V]) coldEntries(t *tbl[link], es []entry) []entry {
	s := t.s
	prefix := append(appendPrefix(nil, groupOf(s.hash), t.d.ID), m.full[:m.key]...)
	err := s.opt.Cold.Scan(prefix, func(key, value []byte) bool {
		m.full = append(m.full[:m.key], key[len(prefix):]...)
		if _, _, _, ok := m.findEncoded(t, false); ok {
			return true
		}
		payload, err := t.values.Open(value)
		if err != nil {
			s.fail(fmt.Errorf("read state %q from the cold tier: %w", t.d.Name, err))
			return false
		}
		both := slices.Concat(key[len(prefix):], payload)
		n := len(key) - len(prefix)
		es = append(es, entry{both[:n:n], both[n:]})
		return true
	})
	if err != nil {
		s.fail(fmt.Errorf("read state %q from the cold tier: %w", t.d.Name, err))
	}
	return es
}
