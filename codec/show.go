package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Show decodes the value or key at the front of b by what s says of its layout, for
// people: without the program, and so without its types. n is how many bytes it took.
//
// A value is a bool, int64, uint64, float64 (as text if it is no number), string, []byte,
// time.Time, []any, Shown (a struct or, with text for its keys, a map) or nil. An array of
// bytes, a protocol buffer and a value that only its program knows are hexadecimal text.
func (s Schema) Show(b []byte) (v any, n int, err error) {
	info, err := s.Parse()
	if err != nil {
		return nil, 0, err
	}
	l, err := parseLayout(info.Description)
	if err != nil {
		return nil, 0, fmt.Errorf("schema of %s: %w", info.TypeName, err)
	}
	d := shower{decoder{src: b}, info.Key}
	v, err = d.show(l)
	return v, d.pos, err
}

// Shown is a struct or map as Show gives it: its fields in order.
type Shown []ShownField

// ShownField is a field of a struct or an entry of a map.
type ShownField struct {
	Name  string
	Value any
}

// MarshalJSON implements json.Marshaler: an object, in order.
func (s Shown) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// shower decodes by layouts.
type shower struct {
	decoder
	key bool // big endian, ordered, strings escaped
}

func (d *shower) show(l *layout) (any, error) {
	switch l.kind {
	case layoutBool, layoutInt, layoutUint, layoutFloat, layoutTime:
		b, err := d.take(l.size)
		if err != nil {
			return nil, err
		}
		return d.scalar(l, b)
	case layoutString:
		return d.text(l)
	case layoutArray:
		if l.elem.kind == layoutUint && l.elem.size == 1 {
			b, err := d.take(l.size)
			return hex.EncodeToString(b), err
		}
		return d.many(l.size, l.elem)
	case layoutSlice:
		n, err := d.length(l.elem.least())
		if err != nil {
			return nil, err
		}
		return d.many(n, l.elem)
	case layoutMap:
		return d.mapping(l)
	case layoutPointer, layoutProto:
		there, err := mark(&d.decoder)
		if err != nil || !there {
			return nil, err
		}
		if l.kind == layoutPointer {
			return d.show(l.elem)
		}
	case layoutStruct:
		s := Shown{}
		for _, f := range l.fields {
			v, err := d.show(f.typ)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
			s = append(s, ShownField{f.name, v})
		}
		return s, nil
	case layoutNamed:
		if l.elem != nil {
			return d.show(l.elem)
		}
	}
	n, err := d.length(1)
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	return hex.EncodeToString(b), err
}

func (d *shower) many(n int, l *layout) (any, error) {
	if l.least() == 0 && n > maxEmpty {
		return nil, fmt.Errorf("%w: %d values without bytes", ErrMalformed, n)
	}
	all := []any{}
	for range n {
		v, err := d.show(l)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func (d *shower) mapping(l *layout) (any, error) {
	n, err := d.length(l.key.least() + l.elem.least())
	if err != nil {
		return nil, err
	}
	s := Shown{}
	for range n {
		k, err := d.show(l.key)
		if err != nil {
			return nil, err
		}
		v, err := d.show(l.elem)
		if err != nil {
			return nil, err
		}
		name, ok := k.(string)
		if !ok {
			text, err := json.Marshal(k)
			if err != nil {
				return nil, err
			}
			name = string(text)
		}
		s = append(s, ShownField{name, v})
	}
	return s, nil
}

func (d *shower) text(l *layout) (any, error) {
	var b []byte
	if d.key {
		var n int
		var err error
		if b, n, err = unescape(d.src[d.pos:]); err != nil {
			return nil, err
		}
		d.pos += n
	} else {
		n, err := d.length(1)
		if err != nil {
			return nil, err
		}
		if b, err = d.take(n); err != nil {
			return nil, err
		}
	}
	if l.text == "string" && utf8.Valid(b) {
		return string(b), nil
	}
	return bytes.Clone(b), nil
}

// scalar decodes what has a fixed width.
func (d *shower) scalar(l *layout, b []byte) (any, error) {
	if l.kind == layoutBool {
		if b[0] > 1 {
			return nil, fmt.Errorf("%w: bool %d", ErrMalformed, b[0])
		}
		return b[0] == 1, nil
	}
	if l.kind == layoutTime {
		seconds, ns := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
		if d.key {
			seconds, ns = binary.BigEndian.Uint64(b)^1<<63, binary.BigEndian.Uint32(b[8:])
		}
		if ns >= 1e9 {
			return nil, fmt.Errorf("%w: %d nanoseconds", ErrMalformed, ns)
		}
		t := instant(int64(seconds), ns)
		if y := t.Year(); y < 0 || y > 9999 { // has no form in JSON
			return fmt.Sprintf("%d.%09d s after the start of year 1", int64(seconds), ns), nil
		}
		return t, nil
	}
	bits := 8 * l.size
	var u uint64
	for i := range b {
		at := i // big endian
		if !d.key {
			at = len(b) - 1 - i
		}
		u = u<<8 | uint64(b[at])
	}
	sign := uint64(1) << (bits - 1)
	switch l.kind {
	case layoutInt:
		if d.key {
			u ^= sign
		}
		return int64(u<<(64-bits)) >> (64 - bits), nil
	case layoutFloat:
		if d.key && u&sign != 0 {
			u ^= sign
		} else if d.key {
			u = ^u
		}
		f := math.Float64frombits(u)
		if bits == 32 {
			f = float64(math.Float32frombits(uint32(u)))
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return strconv.FormatFloat(f, 'g', -1, 64), nil
		}
		return f, nil
	}
	return u, nil
}
