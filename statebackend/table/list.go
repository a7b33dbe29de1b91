package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/evolution"
)

// List is one list for each key; an empty list and none are the same. It is always
// that of the current record's key, and only its operator's callbacks may use it.
type List[E any] struct {
	name string
	t    *tbl[tail]
	c    codec.Codec[E]
	buf  []byte // elements, one behind the other
}

// tail is what a slot has of a list: all of it or, if partial, what was appended since it
// left memory. An append to a list that lies below reads nothing: the elements are written as
// an operand, which comes behind what older runs hold. Of a list that is in memory, too,
// a cut writes only what no run has, if that spares anything.
//
// What of a partial one lies below, as a cold tier answers now:
//
//	dirty or frozen    nothing of what is here
//	its cut is flying  nothing: a cut's run comes below as it lands
//	else               all of it
//
// So that this is always one of three, a partial list that is appended to while its
// cut is flying is completed first.
type tail struct {
	ref
	// saved bytes at the front, savedN elements, are in runs, or in cuts that fly. Of a whole
	// list; 0 after a cut that failed.
	saved, savedN uint32
	cut           uint32 // low bits of the number of the last cut that caught it
	partial       bool
	unread        bool // fetched, and not read since
}

// leastSaved is from how many bytes on a cut leaves out what runs hold. Below that, to write
// the list again costs less than to look for it in older runs.
const leastSaved = 64

var errList = errors.New("list does not hold the elements it counts")

// NewList declares a list state in s.
func NewList[E any](s *Store, d statebackend.Descriptor, c codec.Codec[E]) (*List[E], error) {
	l := &List[E]{name: d.Name, c: c}
	l.t = newTbl(s, d, s.opt.KeyWidth > 0, hooks[tail]{
		ref: func(v *tail) *ref { return &v.ref },
		encode: func(dst, slab []byte, v *tail) []byte {
			dst = binary.AppendUvarint(dst, uint64(v.n))
			return append(dst, slab[v.pos:v.pos+v.len]...)
		},
		decode: func(payload []byte) (v tail, b []byte, err error) {
			n, b, err := splitList(payload)
			return tail{ref: ref{n: n}, saved: uint32(len(b)), savedN: n, unread: true}, b, err
		},
		from: evolution.Many(c),
		tails: &tails[tail]{
			partial:  func(v *tail) bool { return v.partial },
			unread:   func(v *tail) bool { return v.unread },
			caught:   catchTail,
			lost:     func(v *tail) { v.saved, v.savedN = 0, 0 },
			complete: l.complete,
		},
	})
	return l, s.add(l.t)
}

// splitList takes a list's payload apart: its count, and its elements.
func splitList(payload []byte) (n uint32, elements []byte, err error) {
	count, w := binary.Uvarint(payload)
	if w <= 0 || count > math.MaxUint32 || w > 1 && payload[w-1] == 0 {
		return 0, nil, errList
	}
	return uint32(count), payload[w:], nil
}

// catchTail notes that c catches v, and makes caught, a copy of it, what c writes: its bytes
// count from the one returned.
func catchTail(v, caught *tail, c *Cut) (from uint32) {
	if !v.partial && !c.all && v.saved >= leastSaved && v.n > v.savedN {
		from, caught.partial, caught.n = v.saved, true, v.n-v.savedN
	}
	v.saved, v.savedN, v.cut = v.len, v.n, uint32(c.seq)
	return from
}

// UnboundList returns a handle for plan time: it has a name, and using it panics.
func UnboundList[E any](d statebackend.Descriptor) *List[E] { return &List[E]{name: d.Name} }

// at finds the current key's list; ok is false if it is empty. With read, all of it is in
// memory then.
func (l *List[E]) at(read bool) (t *tbl[tail], ok bool) {
	t = l.t
	if t == nil {
		unbound(l.name)
	}
	if t.gen != t.s.gen {
		t.locate(read)
	}
	ok = t.present()
	if read && ok {
		v := &t.seg.slots[t.at].val
		if v.partial {
			l.fetchRest(t)
		}
		v.unread = false
	}
	return t, ok
}

// fetchRest completes the current key's list, which is partial.
func (l *List[E]) fetchRest(t *tbl[tail]) {
	t.credit = max(t.credit, creditDemand)
	t.s.ns = t.s.appendKey(t.s.ns[:0])
	payload, ok := t.readCold(groupOf(t.s.hash), t.s.ns)
	if t.s.err != nil {
		return
	}
	if err := l.complete(t.seg, t.at, payload, ok); err != nil {
		t.s.fail(fmt.Errorf("read state %q from the cold tier: %w", l.name, err))
	}
}

// complete puts what lies below of a partial list, if anything, before what is here of it.
func (l *List[E]) complete(g *segment[tail], at int, payload []byte, ok bool) error {
	t := l.t
	var n uint32
	var below []byte
	if ok {
		var err error
		if n, below, err = splitList(payload); err != nil {
			return fmt.Errorf("%w: %w", statebackend.ErrCorrupt, err)
		}
	}
	v := &g.slots[at].val
	waits := hasBit(g.dirty, at) || hasBit(g.frozen, at)
	if !waits && !t.s.flies(v.cut) {
		v.len, v.n = 0, 0
	}
	if need := len(below) + int(v.len); len(below) > 0 {
		all := t.room(g, &v.ref, need, (need+7)&^7)
		if t.s.err != nil {
			return nil
		}
		copy(g.slab[all.pos:], below)
		copy(g.slab[int(all.pos)+len(below):], g.valueOf(&v.ref))
		all.len, all.n = uint32(need), v.n
		v.ref = all
	}
	v.partial, v.unread = false, true
	if v.n += n; waits {
		v.saved, v.savedN = uint32(len(below)), n
	} else {
		v.saved, v.savedN = v.len, v.n
	}
	return nil
}

func (l *List[E]) encode(es []E) {
	l.buf = l.buf[:0]
	for _, e := range es {
		l.buf = l.c.Append(l.buf, e)
	}
}

// Append adds elements at the end. It does not read the list if that is not in memory.
func (l *List[E]) Append(es ...E) {
	if len(es) == 0 {
		return
	}
	t, _ := l.at(false)
	l.encode(es)
	v := l.extend(t)
	g := t.seg
	need := int(v.len) + len(l.buf)
	if need > int(v.cap) {
		grown := t.room(g, &v.ref, need, (need+need/2+7)&^7)
		if t.s.err != nil {
			return
		}
		copy(g.slab[grown.pos:], g.valueOf(&v.ref))
		grown.n, grown.len = v.n, v.len
		v.ref = grown
	}
	copy(g.slab[v.pos+v.len:], l.buf)
	v.len += uint32(len(l.buf))
	v.n += uint32(len(es))
}

// extend makes the located list ready to be appended to.
func (l *List[E]) extend(t *tbl[tail]) *tail {
	g, at := t.seg, t.at
	sl := &g.slots[at]
	if sl.meta == 0 {
		partial := t.mayBeBelow(g, t.s.hash)
		v := &t.touch().val
		v.partial = partial
		return v
	}
	if sl.val.partial && !hasBit(g.dirty, at) {
		if hasBit(g.frozen, at) {
			t.copyOut(g, at)
		}
		if t.s.flies(sl.val.cut) {
			l.fetchRest(t)
		} else {
			sl.val.len, sl.val.n = 0, 0 // it is below
		}
	}
	return &t.touch().val
}

// Replace makes es the whole list.
func (l *List[E]) Replace(es []E) {
	if len(es) == 0 {
		l.Clear()
		return
	}
	t, _ := l.at(false)
	l.encode(es)
	v := &t.touch().val
	t.store(t.seg, t.at, l.buf)
	*v = tail{ref: v.ref, cut: v.cut}
	v.n = uint32(len(es))
}

// Clear removes all elements.
func (l *List[E]) Clear() {
	t, _ := l.at(false)
	t.clear()
	if sl := &t.seg.slots[t.at]; sl.meta&flagGone != 0 {
		sl.val = tail{}
	}
}

// Len is the number of elements.
func (l *List[E]) Len() int {
	t, ok := l.at(true)
	if !ok {
		return 0
	}
	return int(t.seg.slots[t.at].val.n)
}

// All yields the elements in order, as they are when the loop begins.
func (l *List[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		t, ok := l.at(true)
		if !ok {
			return
		}
		// The loop's body may append to the list, or set timers: bytes move.
		r := &t.seg.slots[t.at].val
		n, b := r.n, bytes.Clone(t.seg.valueOf(&r.ref))
		for range n {
			e, w, err := l.c.Decode(b)
			if err != nil {
				t.s.fail(fmt.Errorf("decode an element of state %q: %w: %w", l.name, statebackend.ErrCorrupt, err))
				return
			}
			b = b[w:]
			if !yield(e) {
				return
			}
		}
		if len(b) > 0 {
			t.s.fail(fmt.Errorf("read state %q: %w: %w", l.name, statebackend.ErrCorrupt, errList))
		}
	}
}

// View is the list's elements as they are encoded, one behind the other: for elements that
// all have the same width. It must not be changed, and is valid until the list is.
func (l *List[E]) View() []byte {
	t, ok := l.at(true)
	if !ok {
		return nil
	}
	return t.seg.valueOf(&t.seg.slots[t.at].val.ref)
}

// Resize makes the list n elements of width bytes each, of which those that it had are
// kept, and returns their encoding to be changed in place, until the list is used again.
func (l *List[E]) Resize(n, width int) []byte {
	if n == 0 {
		l.Clear()
		return nil
	}
	t, _ := l.at(true)
	v := &t.touch().val
	g, size := t.seg, n*width
	if size > int(v.cap) {
		grown := t.room(g, &v.ref, size, (size+size/2+7)&^7)
		if t.s.err != nil {
			return make([]byte, size) // the attempt ends
		}
		copy(g.slab[grown.pos:], g.valueOf(&v.ref))
		v.ref = grown
	}
	v.len, v.n = uint32(size), uint32(n)
	v.saved, v.savedN = 0, 0 // what runs hold may be changed
	return g.valueOf(&v.ref)
}
