package table

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/internal/footprint"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/evolution"
)

// Panes is a Map from a time to a V, for each key, whose entries are only ever asked for by
// their time: windows. It costs no lists of entries, and V's without pointers up to 64
// bytes lie in their slots, as those of a Value. In a run it is a map state with int64
// keys.
type Panes[V any] struct {
	name   string
	inline *tbl[V]   // V lies in the slot
	coded  *tbl[ref] // V's encoding lies in the slab
	c      codec.Codec[V]
	at     pane
	buf    []byte
}

// PaneList is Panes of lists; in a run it is a map state from int64 to slices.
type PaneList[E any] struct {
	name string
	t    *tbl[ref]
	c    codec.Codec[E]
	at   pane
	buf  []byte
}

// pane is where a handle stands: at the time ns of the current key.
type pane struct {
	full []byte // the current key's encoding, then the time
	key  int    // length of the former
	gen  uint64 // of the store when full was begun
	ns   int64
	hash uint64 // the slot's
}

// NewPanes declares panes of values in s.
func NewPanes[V any](s *Store, d statebackend.Descriptor, c codec.Codec[V]) (*Panes[V], error) {
	if s.opt.KeyWidth == 0 && s.opt.KeyLen == nil {
		return nil, fmt.Errorf("declare panes %q: %w", d.Name, errKeyLen)
	}
	p := &Panes[V]{name: d.Name, c: c}
	if t := reflect.TypeFor[V](); t.Size() <= maxInline && !footprint.HasPointers(t) {
		p.inline = newTbl(s, d, false, hooks[V]{
			encode: func(dst, _ []byte, v *V) []byte { return c.Append(dst, *v) },
			decode: func(b []byte) (v V, _ []byte, err error) {
				v, err = decodeAll(c, b)
				return v, nil, err
			},
			from:  evolution.One(c),
			split: s.splitPane,
			apart: true,
		})
		return p, s.add(p.inline)
	}
	p.coded = newTbl(s, d, false, hooks[ref]{
		ref:    func(r *ref) *ref { return r },
		encode: func(dst, slab []byte, r *ref) []byte { return append(dst, slab[r.pos:r.pos+r.len]...) },
		decode: func(b []byte) (ref, []byte, error) { return ref{}, b, nil },
		from:   evolution.One(c),
		split:  s.splitPane,
		apart:  true,
	})
	return p, s.add(p.coded)
}

// NewPaneList declares panes of lists in s. all is the codec of the slices that runs have.
func NewPaneList[E any](s *Store, d statebackend.Descriptor, c codec.Codec[E], all codec.Codec[[]E]) (*PaneList[E], error) {
	if s.opt.KeyWidth == 0 && s.opt.KeyLen == nil {
		return nil, fmt.Errorf("declare panes %q: %w", d.Name, errKeyLen)
	}
	p := &PaneList[E]{name: d.Name, c: c}
	p.t = newTbl(s, d, false, hooks[ref]{
		ref: func(r *ref) *ref { return r },
		encode: func(dst, slab []byte, r *ref) []byte {
			dst = binary.AppendUvarint(dst, uint64(r.n))
			return append(dst, slab[r.pos:r.pos+r.len]...)
		},
		decode: func(b []byte) (ref, []byte, error) {
			n, w := binary.Uvarint(b)
			if w <= 0 || n > math.MaxUint32 || w > 1 && b[w-1] == 0 {
				return ref{}, nil, errList
			}
			return ref{n: uint32(n)}, b[w:], nil
		},
		from:  evolution.One(all),
		split: s.splitPane,
		apart: true,
	})
	return p, s.add(p.t)
}

// UnboundPanes returns a handle for plan time: it has a name, and using it panics.
func UnboundPanes[V any](d statebackend.Descriptor) *Panes[V] { return &Panes[V]{name: d.Name} }

// UnboundPaneList is UnboundPanes of lists.
func UnboundPaneList[E any](d statebackend.Descriptor) *PaneList[E] {
	return &PaneList[E]{name: d.Name}
}

// splitPane takes what follows the state id in a full key apart.
func (s *Store) splitPane(_, rest []byte) (user, key []byte, mix uint64, err error) {
	n := len(rest) - 8
	if n < 0 || s.opt.KeyWidth > 0 && n != s.opt.KeyWidth {
		return nil, nil, 0, fmt.Errorf("%d bytes are no key and a time", len(rest))
	}
	return rest[:n], rest, mixTime(binary.BigEndian.Uint64(rest[n:])), nil
}

// stand puts p and t on the slot of time ns of the current key. It returns whether it has a
// value; with read, the cold tier is asked for one that the table lacks.
func stand[V any](p *pane, t *tbl[V], ns int64, read bool) bool {
	s := t.s
	if t.gen == s.gen && p.ns == ns {
		if sl := &t.seg.slots[t.at]; sl.meta != 0 || !read {
			return sl.meta&(flagUsed|flagGone) == flagUsed
		}
	}
	if p.gen != s.gen {
		p.full = s.appendKey(p.full[:0])
		p.key, p.gen = len(p.full), s.gen
	}
	p.full, p.ns = appendTime(p.full[:p.key], ns), ns
	p.hash = mixHash(s.hash, mixTime(uint64(ns)^1<<63))
	g := t.segmentFor(p.hash)
	at, ok := g.findBytes(p.hash, p.full, 0)
	t.gen, t.seg, t.at = s.gen, g, at
	if ok {
		sl := &g.slots[at]
		if s.evicts {
			sl.meta |= flagRef
		}
		return sl.meta&flagGone == 0
	}
	if !read || !t.mayBeBelow(g, p.hash) {
		return false
	}
	payload, ok := t.readCold(groupOf(s.hash), p.full)
	if !ok {
		return false
	}
	v, b, err := t.hooks.decode(payload)
	if err != nil {
		s.fail(fmt.Errorf("decode state %q from the cold tier: %w: %w", t.d.Name, statebackend.ErrCorrupt, err))
		return false
	}
	sl := t.createAt(p.hash, 0, p.full, 0)
	t.gen = s.gen
	sl.val = v
	sl.meta |= flagStored | flagRef
	t.store(t.seg, t.at, b)
	return true
}

// change makes the slot that p stands on ready to be changed, as touch does.
func change[V any](p *pane, t *tbl[V]) *slot[V] {
	sl := &t.seg.slots[t.at]
	if sl.meta == 0 {
		sl = t.createAt(p.hash, 0, p.full, 0)
		t.gen = t.s.gen
		if t.mayBeBelow(t.seg, p.hash) {
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

// drop makes the slot that p stands on a tombstone.
func drop[V any](p *pane, t *tbl[V]) {
	sl := &t.seg.slots[t.at]
	if sl.meta == 0 && !t.mayBeBelow(t.seg, p.hash) || sl.meta&flagGone != 0 {
		return
	}
	sl = change(p, t)
	t.free(t.seg, sl)
	t.bury(sl)
}

// Get returns the value at time ns of the current key.
func (p *Panes[V]) Get(ns int64) (x V, ok bool) {
	if t := p.inline; t != nil {
		if !stand(&p.at, t, ns, true) {
			return x, false
		}
		return t.seg.slots[t.at].val, true
	}
	t := p.coded
	if t == nil {
		unbound(p.name)
	}
	if !stand(&p.at, t, ns, true) {
		return x, false
	}
	x, err := decodeAll(p.c, t.seg.valueOf(&t.seg.slots[t.at].val))
	if err != nil {
		t.s.fail(fmt.Errorf("decode state %q: %w: %w", p.name, statebackend.ErrCorrupt, err))
		return x, false
	}
	return x, true
}

// Set makes x the value at time ns of the current key.
func (p *Panes[V]) Set(ns int64, x V) {
	if t := p.inline; t != nil {
		stand(&p.at, t, ns, false)
		change(&p.at, t).val = x
		return
	}
	t := p.coded
	if t == nil {
		unbound(p.name)
	}
	p.buf = p.c.Append(p.buf[:0], x)
	stand(&p.at, t, ns, false)
	change(&p.at, t)
	t.store(t.seg, t.at, p.buf)
}

// Clear removes the value at time ns of the current key.
func (p *Panes[V]) Clear(ns int64) {
	if t := p.inline; t != nil {
		stand(&p.at, t, ns, false)
		drop(&p.at, t)
		return
	}
	if p.coded == nil {
		unbound(p.name)
	}
	stand(&p.at, p.coded, ns, false)
	drop(&p.at, p.coded)
}

// stand finds the list at time ns of the current key.
func (p *PaneList[E]) stand(ns int64, read bool) (t *tbl[ref], ok bool) {
	if p.t == nil {
		unbound(p.name)
	}
	return p.t, stand(&p.at, p.t, ns, read)
}

// Append adds e at the end of the list at time ns of the current key. It reports whether that
// was empty.
func (p *PaneList[E]) Append(ns int64, e E) (first bool) {
	p.buf = p.c.Append(p.buf[:0], e)
	return p.append(ns, p.buf, 1)
}

func (p *PaneList[E]) append(ns int64, b []byte, n uint32) (first bool) {
	t, ok := p.stand(ns, true)
	r := &change(&p.at, t).val
	g := t.seg
	if need := int(r.len) + len(b); need > int(r.cap) {
		grown := t.room(g, r, need, (need+need/2+7)&^7)
		if t.s.err != nil {
			return false
		}
		copy(g.slab[grown.pos:], g.valueOf(r))
		grown.n, grown.len = r.n, r.len
		*r = grown
	}
	copy(g.slab[r.pos+r.len:], b)
	r.len += uint32(len(b))
	r.n += n
	return !ok
}

// View is the list at time ns of the current key as it is encoded, one element behind the
// other. It must not be changed, and is valid until the list is.
func (p *PaneList[E]) View(ns int64) []byte {
	t, ok := p.stand(ns, true)
	if !ok {
		return nil
	}
	return t.seg.valueOf(&t.seg.slots[t.at].val)
}

// Get appends the list at time ns of the current key to dst.
func (p *PaneList[E]) Get(dst []E, ns int64) []E {
	t, ok := p.stand(ns, true)
	if !ok {
		return dst
	}
	r := &t.seg.slots[t.at].val
	b := t.seg.valueOf(r)
	dst, n, err := p.c.DecodeBatch(dst, b, int(r.n))
	if err == nil && n != len(b) {
		err = errList
	}
	if err != nil {
		t.s.fail(fmt.Errorf("decode an element of state %q: %w: %w", p.name, statebackend.ErrCorrupt, err))
	}
	return dst
}

// Set makes es the list at time ns of the current key.
func (p *PaneList[E]) Set(ns int64, es []E) {
	if len(es) == 0 {
		p.Clear(ns)
		return
	}
	p.buf = p.c.AppendBatch(p.buf[:0], es)
	t, _ := p.stand(ns, false)
	sl := change(&p.at, t)
	t.store(t.seg, t.at, p.buf)
	sl.val.n = uint32(len(es))
}

// Clear removes the list at time ns of the current key.
func (p *PaneList[E]) Clear(ns int64) {
	t, _ := p.stand(ns, false)
	drop(&p.at, t)
}

// Move puts the list at time from behind that at time to; none is left at from.
func (p *PaneList[E]) Move(to, from int64) {
	t, ok := p.stand(from, true)
	if !ok {
		return
	}
	r := t.seg.slots[t.at].val
	p.buf = append(p.buf[:0], t.seg.valueOf(&r)...)
	n := r.n
	p.Clear(from)
	p.append(to, p.buf, n)
}
