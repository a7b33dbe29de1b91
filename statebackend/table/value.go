package table

import (
	"fmt"
	"reflect"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/internal/footprint"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/evolution"
)

// Value is one value for each key. It is always that of the current record's key.
// A Value may be used only by the operator that declared it, in its callbacks.
//
// V's without pointers up to 64 bytes are kept as they are; others are encoded
// when set and decoded when got, so a value that was got may be changed freely and
// must be set to be kept.
type Value[V any] struct {
	name   string
	inline *tbl[V]   // V lies in the slot
	coded  *tbl[ref] // V's encoding lies in the slab
	c      codec.Codec[V]
	buf    []byte
}

// maxInline is the size of the largest value kept in a slot: one cache line.
const maxInline = 64

// NewValue declares a value state in s.
func NewValue[V any](s *Store, d statebackend.Descriptor, c codec.Codec[V]) (*Value[V], error) {
	v := &Value[V]{name: d.Name, c: c}
	words := s.opt.KeyWidth > 0
	if t := reflect.TypeFor[V](); t.Size() <= maxInline && !footprint.HasPointers(t) {
		v.inline = newTbl(s, d, words, hooks[V]{
			encode: func(dst, _ []byte, v *V) []byte { return c.Append(dst, *v) },
			decode: func(b []byte) (v V, _ []byte, err error) {
				v, err = decodeAll(c, b)
				return v, nil, err
			},
			from: evolution.One(c),
		})
		return v, s.add(v.inline)
	}
	v.coded = newTbl(s, d, words, hooks[ref]{
		ref:    func(r *ref) *ref { return r },
		encode: func(dst, slab []byte, r *ref) []byte { return append(dst, slab[r.pos:r.pos+r.len]...) },
		decode: func(b []byte) (ref, []byte, error) { return ref{}, b, nil },
		from:   evolution.One(c),
	})
	return v, s.add(v.coded)
}

// UnboundValue returns a handle for plan time: it has a name, and using it panics.
func UnboundValue[V any](d statebackend.Descriptor) *Value[V] { return &Value[V]{name: d.Name} }

// unbound panics: a handle was used where there is no current key.
func unbound(name string) {
	if name == "" {
		panic("weir: a state handle was used that Setup did not make")
	}
	panic(fmt.Sprintf("weir: state %q used outside a running operator (handles work only inside its callbacks, not while the job is built)", name))
}

// Get returns the current key's value; ok is false, and the value zero, if none
// was set or it was cleared.
func (v *Value[V]) Get() (x V, ok bool) {
	t := v.inline
	if t == nil {
		return v.getCoded()
	}
	if t.gen != t.s.gen {
		t.locate(true)
	}
	if sl := &t.seg.slots[t.at]; sl.meta&(flagUsed|flagGone) == flagUsed {
		return sl.val, true
	}
	return x, false
}

// Set makes x the current key's value.
func (v *Value[V]) Set(x V) {
	t := v.inline
	if t == nil {
		v.setCoded(x)
		return
	}
	if t.gen != t.s.gen {
		t.locate(false)
	}
	g, at := t.seg, t.at
	if sl := &g.slots[at]; sl.meta&flagGone == 0 && g.dirty[at>>6]&(1<<(at&63)) != 0 {
		sl.val = x // touch, written out: it is not inlined
		return
	}
	t.touchSlow().val = x
}

// Update sets the current key's value to what f makes of it.
func (v *Value[V]) Update(f func(x V, ok bool) V) {
	x, ok := v.Get()
	v.Set(f(x, ok))
}

// Clear removes the current key's value.
func (v *Value[V]) Clear() {
	if t := v.inline; t != nil {
		if t.gen != t.s.gen {
			t.locate(false)
		}
		t.clear()
		return
	}
	t := v.coded
	if t == nil {
		unbound(v.name)
	}
	if t.gen != t.s.gen {
		t.locate(false)
	}
	t.clear()
}

func (v *Value[V]) getCoded() (x V, ok bool) {
	t := v.coded
	if t == nil {
		unbound(v.name)
	}
	if t.gen != t.s.gen {
		t.locate(true)
	}
	if !t.present() {
		return x, false
	}
	x, err := decodeAll(v.c, t.seg.valueOf(&t.seg.slots[t.at].val))
	if err != nil {
		t.s.fail(fmt.Errorf("decode state %q: %w: %w", v.name, statebackend.ErrCorrupt, err))
		return x, false
	}
	return x, true
}

func (v *Value[V]) setCoded(x V) {
	t := v.coded
	if t == nil {
		unbound(v.name)
	}
	v.buf = v.c.Append(v.buf[:0], x)
	if t.gen != t.s.gen {
		t.locate(false)
	}
	t.touch()
	t.store(t.seg, t.at, v.buf)
}
