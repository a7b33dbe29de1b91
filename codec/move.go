package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// mover reads a value of an older layout and appends it in the newer one. It checks
// lengths; what else may be wrong with a value is found when it is decoded.
type mover interface {
	move(d *decoder, dst []byte) ([]byte, error)
}

// copied is for values whose bytes stay.
type copied struct{ l *layout }

func (m *copied) move(d *decoder, dst []byte) ([]byte, error) {
	from := d.pos
	if err := skip(d, m.l); err != nil {
		return dst, err
	}
	return append(dst, d.src[from:d.pos]...), nil
}

// skip passes over a value.
func skip(d *decoder, l *layout) error {
	switch l.kind {
	case layoutBool, layoutInt, layoutUint, layoutFloat, layoutTime:
		_, err := d.take(l.size)
		return err
	case layoutArray:
		return skipMany(d, l.size, l.elem)
	case layoutSlice:
		n, err := d.length(l.elem.least())
		if err != nil {
			return err
		}
		return skipMany(d, n, l.elem)
	case layoutMap:
		n, err := d.length(l.key.least() + l.elem.least())
		for range n {
			if err = skip(d, l.key); err == nil {
				err = skip(d, l.elem)
			}
			if err != nil {
				return err
			}
		}
		return err
	case layoutPointer, layoutProto:
		there, err := mark(d)
		if err != nil || !there {
			return err
		}
		if l.kind == layoutPointer {
			return skip(d, l.elem)
		}
	case layoutStruct:
		for _, f := range l.fields {
			if err := skip(d, f.typ); err != nil {
				return err
			}
		}
		return nil
	case layoutNamed:
		if l.elem != nil {
			return skip(d, l.elem)
		}
	}
	n, err := d.length(1) // a string, bytes, a protocol buffer, a custom value
	if err == nil {
		d.pos += n
	}
	return err
}

func skipMany(d *decoder, n int, l *layout) error {
	if l.least() == 0 {
		return nil // and no bytes
	}
	for range n {
		if err := skip(d, l); err != nil {
			return err
		}
	}
	return nil
}

// mark reads whether a pointer points to something.
func mark(d *decoder) (there bool, err error) {
	b, err := d.take(1)
	switch {
	case err != nil:
		return false, err
	case b[0] > 1:
		return false, fmt.Errorf("%w: mark of a pointer is %d at byte %d", ErrMalformed, b[0], d.pos-1)
	}
	return b[0] == 1, nil
}

// widen is for numbers that get more bytes.
type widen struct{ from, to *layout }

func (m *widen) move(d *decoder, dst []byte) ([]byte, error) {
	b, err := d.take(m.from.size)
	if err != nil {
		return dst, err
	}
	var word [8]byte
	copy(word[:], b)
	u := binary.LittleEndian.Uint64(word[:])
	if unused := 64 - 8*m.from.size; m.from.kind == layoutInt {
		u = uint64(int64(u<<unused) >> unused)
	}
	switch {
	case m.from.kind == layoutFloat:
		u = math.Float64bits(float64(math.Float32frombits(uint32(u))))
	case m.to.kind == layoutFloat:
		f := float64(u)
		if m.from.kind == layoutInt {
			f = float64(int64(u))
		}
		if u = math.Float64bits(f); m.to.size == 4 {
			u = uint64(math.Float32bits(float32(f)))
		}
	}
	binary.LittleEndian.PutUint64(word[:], u)
	return append(dst, word[:m.to.size]...), nil
}

// arrayMover moves the elements of an array.
type arrayMover struct {
	l *layout
	m mover
}

func (m *arrayMover) move(d *decoder, dst []byte) (_ []byte, err error) {
	for range m.l.size {
		if dst, err = m.m.move(d, dst); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// sliceMover moves the elements of a slice or, with a key, of a map.
type sliceMover struct {
	key, elem *layout
	m         mover
}

func (m *sliceMover) move(d *decoder, dst []byte) ([]byte, error) {
	least := m.elem.least()
	if m.key != nil {
		least += m.key.least()
	}
	n, err := d.length(least)
	if err != nil {
		return dst, err
	}
	dst = appendLength(dst, n)
	for range n {
		if m.key != nil {
			from := d.pos
			if err := skip(d, m.key); err != nil {
				return dst, err
			}
			dst = append(dst, d.src[from:d.pos]...)
		}
		if dst, err = m.m.move(d, dst); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// pointerMover moves what a pointer points to.
type pointerMover struct{ m mover }

func (m *pointerMover) move(d *decoder, dst []byte) ([]byte, error) {
	there, err := mark(d)
	if err != nil || !there {
		return append(dst, 0), err
	}
	return m.m.move(d, append(dst, 1))
}

// toPointer makes a value that was there always one that may be.
type toPointer struct{ m mover }

func (m *toPointer) move(d *decoder, dst []byte) ([]byte, error) {
	return m.m.move(d, append(dst, 1))
}

// structMover gives each field of the new struct what the old one has of it.
type structMover struct {
	from  []layoutField
	parts []structPart
}

// structPart is a field of the new struct.
type structPart struct {
	from int // index of the old field, or -1
	m    mover
	zero []byte // where there is no old field
}

func (m *structMover) move(d *decoder, dst []byte) (_ []byte, err error) {
	var few [16]int
	starts := few[:0]
	for _, f := range m.from {
		starts = append(starts, d.pos)
		if err := skip(d, f.typ); err != nil {
			return dst, err
		}
	}
	end := d.pos
	for i := range m.parts {
		p := &m.parts[i]
		if p.from < 0 {
			dst = append(dst, p.zero...)
			continue
		}
		d.pos = starts[p.from]
		if dst, err = p.m.move(d, dst); err != nil {
			return dst, err
		}
	}
	d.pos = end
	return dst, nil
}

// upgraded moves a value into the layout of an older version of its type, which the
// program's function makes the present one.
type upgraded struct {
	m       mover
	convert func(dst, old []byte) ([]byte, error)
}

func (m *upgraded) move(d *decoder, dst []byte) ([]byte, error) {
	old, err := m.m.move(d, nil)
	if err != nil {
		return dst, err
	}
	return m.convert(dst, old)
}
