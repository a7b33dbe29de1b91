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
)

// List is one list for each key; an empty list and none are the same. It is always
// that of the current record's key, and only its operator's callbacks may use it.
type List[E any] struct {
	name string
	t    *tbl[ref]
	c    codec.Codec[E]
	buf  []byte // elements, one behind the other
}

var errList = errors.New("list does not hold the elements it counts")

// NewList declares a list state in s.
func NewList[E any](s *Store, d statebackend.Descriptor, c codec.Codec[E]) (*List[E], error) {
	l := &List[E]{name: d.Name, c: c}
	l.t = newTbl(s, d, s.opt.KeyWidth > 0, hooks[ref]{
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
		from: moveMany(c),
	})
	return l, s.add(l.t)
}

// UnboundList returns a handle for plan time: it has a name, and using it panics.
func UnboundList[E any](d statebackend.Descriptor) *List[E] { return &List[E]{name: d.Name} }

// at finds the current key's list; ok is false if it is empty.
func (l *List[E]) at(read bool) (t *tbl[ref], ok bool) {
	t = l.t
	if t == nil {
		unbound(l.name)
	}
	if t.gen != t.s.gen {
		t.locate(read)
	}
	return t, t.present()
}

func (l *List[E]) encode(es []E) {
	l.buf = l.buf[:0]
	for _, e := range es {
		l.buf = l.c.Append(l.buf, e)
	}
}

// Append adds elements at the end.
func (l *List[E]) Append(es ...E) {
	if len(es) == 0 {
		return
	}
	t, _ := l.at(true)
	l.encode(es)
	r := &t.touch().val
	g := t.seg
	need := int(r.len) + len(l.buf)
	if need > int(r.cap) {
		grown := t.room(g, r, need, (need+need/2+7)&^7)
		copy(g.slab[grown.pos:], g.valueOf(r))
		grown.n, grown.len = r.n, r.len
		*r = grown
		if t.s.err != nil {
			return
		}
	}
	copy(g.slab[r.pos+r.len:], l.buf)
	r.len += uint32(len(l.buf))
	r.n += uint32(len(es))
}

// Replace makes es the whole list.
func (l *List[E]) Replace(es []E) {
	if len(es) == 0 {
		l.Clear()
		return
	}
	t, _ := l.at(false)
	l.encode(es)
	sl := t.touch()
	t.store(t.seg, t.at, l.buf)
	sl.val.n = uint32(len(es))
}

// Clear removes all elements.
func (l *List[E]) Clear() {
	t, _ := l.at(false)
	t.clear()
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
		n, b := r.n, bytes.Clone(t.seg.valueOf(r))
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
