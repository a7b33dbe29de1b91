package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"unsafe"
)

// arrayWalker is a long array.
type arrayWalker struct {
	elem *plan
	n    int
	size uintptr
}

func (w *arrayWalker) append(dst []byte, v unsafe.Pointer) []byte {
	for i := range w.n {
		dst = w.elem.append(dst, unsafe.Add(v, uintptr(i)*w.size))
	}
	return dst
}

func (w *arrayWalker) decode(d *decoder, v unsafe.Pointer) error {
	for i := range w.n {
		if err := w.elem.decode(d, unsafe.Add(v, uintptr(i)*w.size)); err != nil {
			return err
		}
	}
	return nil
}

// sliceWalker is a slice of anything but bytes.
type sliceWalker struct {
	elem   *plan
	typ    reflect.Type
	size   uintptr
	memory bool
}

// sliceHeader is the memory of any slice.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

func (w *sliceWalker) append(dst []byte, v unsafe.Pointer) []byte {
	s := (*sliceHeader)(v)
	dst = appendLength(dst, s.len)
	if w.memory {
		return append(dst, unsafe.Slice((*byte)(s.data), uintptr(s.len)*w.size)...)
	}
	for i := range s.len {
		dst = w.elem.append(dst, unsafe.Add(s.data, uintptr(i)*w.size))
	}
	return dst
}

// firstElements is how many elements a decoded slice has room for before any is
// decoded. An element may be far larger in memory than its fewest bytes; growing
// with what was really decoded bounds the allocation by the input.
const firstElements = 64

func (w *sliceWalker) decode(d *decoder, v unsafe.Pointer) error {
	n, err := d.length(w.elem.minimum)
	if err != nil {
		return err
	}
	if n == 0 {
		*(*sliceHeader)(v) = sliceHeader{}
		return nil
	}
	if w.memory {
		s := reflect.MakeSlice(w.typ, n, n).UnsafePointer()
		b, err := d.take(n * int(w.size))
		if err != nil {
			return err
		}
		copy(unsafe.Slice((*byte)(s), len(b)), b)
		*(*sliceHeader)(v) = sliceHeader{s, n, n}
		return nil
	}
	room := min(n, firstElements)
	made := reflect.MakeSlice(w.typ, room, room)
	s := made.UnsafePointer()
	for i := range n {
		if i == room {
			room = min(n, 2*room)
			larger := reflect.MakeSlice(w.typ, room, room)
			reflect.Copy(larger, made)
			made, s = larger, larger.UnsafePointer()
		}
		if err := w.elem.decode(d, unsafe.Add(s, uintptr(i)*w.size)); err != nil {
			return err
		}
	}
	*(*sliceHeader)(v) = sliceHeader{s, n, n}
	return nil
}

// pointerWalker is a pointer: a mark, then the value.
type pointerWalker struct {
	elem *plan
	typ  reflect.Type // what it points to
}

func (w *pointerWalker) append(dst []byte, v unsafe.Pointer) []byte {
	p := *(*unsafe.Pointer)(v)
	if p == nil {
		return append(dst, 0)
	}
	return w.elem.append(append(dst, 1), p)
}

func (w *pointerWalker) decode(d *decoder, v unsafe.Pointer) error {
	b, err := d.take(1)
	if err != nil {
		return err
	}
	switch b[0] {
	case 0:
		*(*unsafe.Pointer)(v) = nil
		return nil
	case 1:
		if d.left() < w.elem.minimum {
			return d.short(w.elem.minimum)
		}
		p := reflect.New(w.typ).UnsafePointer()
		*(*unsafe.Pointer)(v) = p
		return w.elem.decode(d, p)
	}
	return fmt.Errorf("%w: mark of a pointer is %d at byte %d", ErrMalformed, b[0], d.pos-1)
}

// mapWalker is a map, its pairs sorted by the encoded key so that equal maps have
// equal bytes. It allocates, as walking a map by reflection does.
type mapWalker struct {
	key, elem *plan
	typ       reflect.Type
}

func (w *mapWalker) append(dst []byte, v unsafe.Pointer) []byte {
	kept := *(*unsafe.Pointer)(v) // reflect gets the address of a copy, never of the value
	m := reflect.NewAt(w.typ, unsafe.Pointer(&kept)).Elem()
	dst = appendLength(dst, m.Len())
	if m.Len() == 0 {
		return dst
	}
	type span struct{ from, value, to int }
	var (
		spans    = make([]span, 0, m.Len())
		pairs    []byte
		key, val = reflect.New(w.typ.Key()), reflect.New(w.typ.Elem())
	)
	for it := m.MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		val.Elem().SetIterValue(it)
		from := len(pairs)
		pairs = w.key.append(pairs, key.UnsafePointer())
		value := len(pairs)
		pairs = w.elem.append(pairs, val.UnsafePointer())
		spans = append(spans, span{from, value, len(pairs)})
	}
	slices.SortFunc(spans, func(a, b span) int {
		if c := bytes.Compare(pairs[a.from:a.value], pairs[b.from:b.value]); c != 0 {
			return c
		}
		return bytes.Compare(pairs[a.value:a.to], pairs[b.value:b.to]) // several NaNs
	})
	for _, s := range spans {
		dst = append(dst, pairs[s.from:s.to]...)
	}
	return dst
}

func (w *mapWalker) decode(d *decoder, v unsafe.Pointer) error {
	n, err := d.length(w.key.minimum + w.elem.minimum)
	if err != nil {
		return err
	}
	if n == 0 {
		*(*unsafe.Pointer)(v) = nil
		return nil
	}
	m := reflect.MakeMapWithSize(w.typ, min(n, firstElements))
	key, val := reflect.New(w.typ.Key()), reflect.New(w.typ.Elem())
	var last []byte
	for range n {
		key.Elem().SetZero() // SetMapIndex copies: the holders serve every pair
		val.Elem().SetZero()
		from := d.pos
		if err := w.key.decode(d, key.UnsafePointer()); err != nil {
			return err
		}
		this := d.src[from:d.pos]
		if bytes.Compare(last, this) > 0 {
			return fmt.Errorf("%w: keys of a map out of order at byte %d", ErrMalformed, from)
		}
		last = this
		if err := w.elem.decode(d, val.UnsafePointer()); err != nil {
			return err
		}
		m.SetMapIndex(key.Elem(), val.Elem())
	}
	*(*unsafe.Pointer)(v) = m.UnsafePointer()
	return nil
}
