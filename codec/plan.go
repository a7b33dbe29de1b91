package codec

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// plan is how the values of one type are encoded: decided once, walked for each
// value. Steps read and write memory at fixed offsets.
type plan struct {
	append   func(dst []byte, p unsafe.Pointer) []byte
	decode   func(d *decoder, p unsafe.Pointer) error
	fixed    int    // width, 0 if it varies
	minimum  int    // fewest bytes a value takes: bounds what a length may claim
	memory   bool   // the encoding equals the value's memory
	strings  bool   // holds strings: a batch shares one copy of the input
	reflects bool   // uses reflection, which may keep the address for a while
	desc     string // canonical description, for the schema
}

// noescape hides p from escape analysis, as internal/abi.NoEscape does. Whoever
// gets the result must not keep it beyond the call.
func noescape(p unsafe.Pointer) unsafe.Pointer {
	x := uintptr(p)
	return *(*unsafe.Pointer)(unsafe.Pointer(&x))
}

// decoder reads from src; text, if set, is an immutable copy of src that strings
// are cut from.
type decoder struct {
	src  []byte
	text string
	pos  int
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || len(d.src)-d.pos < n {
		return nil, fmt.Errorf("%w: %d bytes wanted at byte %d of %d", ErrShort, n, d.pos, len(d.src))
	}
	b := d.src[d.pos : d.pos+n]
	d.pos += n
	return b, nil
}

// length reads a count of elements of at least minimum bytes each.
func (d *decoder) length(minimum int) (int, error) {
	n, k := binary.Uvarint(d.src[d.pos:])
	if k <= 0 {
		return 0, fmt.Errorf("%w: length at byte %d of %d", ErrShort, d.pos, len(d.src))
	}
	d.pos += k
	if left := uint64(len(d.src) - d.pos); n > left/uint64(max(1, minimum)) {
		return 0, fmt.Errorf("%w: length %d at byte %d, %d bytes left", ErrMalformed, n, d.pos, left)
	}
	return int(n), nil
}

func (d *decoder) string() (string, error) {
	n, err := d.length(1)
	if err != nil {
		return "", err
	}
	at := d.pos
	d.pos += n
	if len(d.text) == len(d.src) {
		return d.text[at : at+n], nil
	}
	return string(d.src[at : at+n]), nil
}

// planner builds plans and knows where it is, for messages.
type planner struct {
	path string
	seen []reflect.Type
}

func (b planner) at(s string) planner {
	b.path += s
	return b
}

func (b planner) fail(t reflect.Type, why string) error {
	return fmt.Errorf("%s has type %v, %s", b.path, t, why)
}

var timeType = reflect.TypeFor[time.Time]()

func (b planner) value(t reflect.Type) (*plan, error) {
	if slices.Contains(b.seen, t) {
		return nil, b.fail(t, "which contains itself; recursive types have no codec")
	}
	b.seen = append(slices.Clip(b.seen), t)
	if t == timeType {
		return timePlan(), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return boolPlan(), nil
	case reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32,
		reflect.Int64, reflect.Uint64, reflect.Int, reflect.Uint, reflect.Float32, reflect.Float64:
		return scalarPlan(t), nil
	case reflect.String:
		return stringPlan(), nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return bytesPlan(), nil
		}
		return b.slice(t)
	case reflect.Array:
		return b.array(t)
	case reflect.Map:
		return b.mapping(t)
	case reflect.Pointer:
		return b.pointer(t)
	case reflect.Struct:
		return b.structure(t)
	}
	return nil, b.fail(t, "which has no codec; use a concrete data type, or keep it out of records and state")
}

func scalarPlan(t reflect.Type) *plan {
	size := int(t.Size())
	p := &plan{fixed: size, minimum: size, memory: true, desc: scalarName(t)}
	switch size {
	case 1:
		p.append = func(dst []byte, v unsafe.Pointer) []byte { return append(dst, *(*byte)(v)) }
	case 2:
		p.append = func(dst []byte, v unsafe.Pointer) []byte {
			return binary.LittleEndian.AppendUint16(dst, *(*uint16)(v))
		}
	case 4:
		p.append = func(dst []byte, v unsafe.Pointer) []byte {
			return binary.LittleEndian.AppendUint32(dst, *(*uint32)(v))
		}
	case 8:
		p.append = func(dst []byte, v unsafe.Pointer) []byte {
			return binary.LittleEndian.AppendUint64(dst, *(*uint64)(v))
		}
	}
	p.decode = func(d *decoder, v unsafe.Pointer) error {
		b, err := d.take(size)
		if err != nil {
			return err
		}
		copy(unsafe.Slice((*byte)(v), size), b) // little-endian host
		return nil
	}
	return p
}

// scalarName names the layout, not the Go type: int and int64 are the same bytes.
func scalarName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "int64"
	case reflect.Uint:
		return "uint64"
	}
	return t.Kind().String()
}

func boolPlan() *plan {
	return &plan{
		fixed: 1, minimum: 1, desc: "bool",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			if *(*bool)(v) {
				return append(dst, 1)
			}
			return append(dst, 0)
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, err := d.take(1)
			if err != nil {
				return err
			}
			if b[0] > 1 {
				return fmt.Errorf("%w: bool is %d", ErrMalformed, b[0])
			}
			*(*bool)(v) = b[0] == 1
			return nil
		},
	}
}

func stringPlan() *plan {
	return &plan{
		minimum: 1, strings: true, desc: "string",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			s := *(*string)(v)
			return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		},
		decode: func(d *decoder, v unsafe.Pointer) (err error) {
			*(*string)(v), err = d.string()
			return err
		},
	}
}

func bytesPlan() *plan {
	return &plan{
		minimum: 1, desc: "bytes",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			s := *(*[]byte)(v)
			return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			n, err := d.length(1)
			if err != nil {
				return err
			}
			*(*[]byte)(v) = nil
			if n > 0 {
				*(*[]byte)(v) = slices.Clone(d.src[d.pos : d.pos+n])
			}
			d.pos += n
			return nil
		},
	}
}

// secondsToYear1 turns Unix seconds into seconds since year 1, so that the zero
// time is all zeros.
const secondsToYear1 = 62135596800

func timePlan() *plan {
	return &plan{
		fixed: 12, minimum: 12, desc: "time",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			t := (*time.Time)(v)
			dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Unix()+secondsToYear1))
			return binary.LittleEndian.AppendUint32(dst, uint32(t.Nanosecond()))
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, err := d.take(12)
			if err != nil {
				return err
			}
			ns := binary.LittleEndian.Uint32(b[8:])
			if ns >= 1e9 {
				return fmt.Errorf("%w: %d nanoseconds", ErrMalformed, ns)
			}
			*(*time.Time)(v) = instant(int64(binary.LittleEndian.Uint64(b)), ns)
			return nil
		},
	}
}

// instant is the time at sec seconds after year 1. The zero instant is the zero
// time.Time, so that IsZero and == hold over a round trip.
func instant(sec int64, ns uint32) time.Time {
	if sec == 0 && ns == 0 {
		return time.Time{}
	}
	return time.Unix(sec-secondsToYear1, int64(ns)).UTC()
}

func (b planner) array(t reflect.Type) (*plan, error) {
	e, err := b.at("[]").value(t.Elem())
	if err != nil {
		return nil, err
	}
	n, step := t.Len(), t.Elem().Size()
	return &plan{
		fixed: n * e.fixed, minimum: n * e.minimum, memory: e.memory && e.fixed == int(step), strings: e.strings, reflects: e.reflects,
		desc: fmt.Sprintf("[%d]%s", n, e.desc),
		append: func(dst []byte, v unsafe.Pointer) []byte {
			for i := range n {
				dst = e.append(dst, unsafe.Add(v, uintptr(i)*step))
			}
			return dst
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			for i := range n {
				if err := e.decode(d, unsafe.Add(v, uintptr(i)*step)); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}

func (b planner) slice(t reflect.Type) (*plan, error) {
	e, err := b.at("[]").value(t.Elem())
	if err != nil {
		return nil, err
	}
	if e.minimum == 0 {
		return nil, b.fail(t, "a slice of values without bytes")
	}
	step := t.Elem().Size()
	return &plan{
		minimum: 1, strings: e.strings, reflects: true, desc: "[]" + e.desc,
		append: func(dst []byte, v unsafe.Pointer) []byte {
			s := *(*[]byte)(v) // header only: any slice's pointer and length
			dst = binary.AppendUvarint(dst, uint64(len(s)))
			base := unsafe.Pointer(unsafe.SliceData(s))
			for i := range len(s) {
				dst = e.append(dst, unsafe.Add(base, uintptr(i)*step))
			}
			return dst
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			n, err := d.length(e.minimum)
			if err != nil {
				return err
			}
			out := reflect.NewAt(t, v).Elem()
			if n == 0 {
				out.SetZero()
				return nil
			}
			// A value may be larger in memory than encoded; growing with what was really
			// decoded bounds the allocation by the input.
			s := reflect.MakeSlice(t, 0, min(n, 64))
			elem := reflect.New(t.Elem())
			for range n {
				elem.Elem().SetZero()
				if err := e.decode(d, elem.UnsafePointer()); err != nil {
					return err
				}
				s = reflect.Append(s, elem.Elem())
			}
			out.Set(s)
			return nil
		},
	}, nil
}

func (b planner) pointer(t reflect.Type) (*plan, error) {
	e, err := b.at("*").value(t.Elem())
	if err != nil {
		return nil, err
	}
	return &plan{
		minimum: 1, strings: e.strings, reflects: true, desc: "*" + e.desc,
		append: func(dst []byte, v unsafe.Pointer) []byte {
			p := *(*unsafe.Pointer)(v)
			if p == nil {
				return append(dst, 0)
			}
			return e.append(append(dst, 1), p)
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, err := d.take(1)
			if err != nil {
				return err
			}
			switch b[0] {
			case 0:
				*(*unsafe.Pointer)(v) = nil
				return nil
			case 1:
				n := reflect.New(t.Elem())
				*(*unsafe.Pointer)(v) = n.UnsafePointer()
				return e.decode(d, n.UnsafePointer())
			}
			return fmt.Errorf("%w: pointer mark is %d", ErrMalformed, b[0])
		},
	}, nil
}

func (b planner) mapping(t reflect.Type) (*plan, error) {
	k, err := b.at("{key}").value(t.Key())
	if err != nil {
		return nil, err
	}
	e, err := b.at("{}").value(t.Elem())
	if err != nil {
		return nil, err
	}
	if k.minimum+e.minimum == 0 {
		return nil, b.fail(t, "a map of values without bytes")
	}
	return &plan{
		minimum: 1, strings: k.strings || e.strings, reflects: true, desc: "map[" + k.desc + "]" + e.desc,
		append: func(dst []byte, v unsafe.Pointer) []byte { return appendMap(dst, reflect.NewAt(t, v).Elem(), k, e) },
		decode: func(d *decoder, v unsafe.Pointer) error {
			n, err := d.length(k.minimum + e.minimum)
			if err != nil {
				return err
			}
			out := reflect.NewAt(t, v).Elem()
			out.SetZero()
			if n == 0 {
				return nil
			}
			m := reflect.MakeMapWithSize(t, min(n, 64))
			for range n {
				key, val := reflect.New(t.Key()), reflect.New(t.Elem())
				if err := k.decode(d, key.UnsafePointer()); err != nil {
					return err
				}
				if err := e.decode(d, val.UnsafePointer()); err != nil {
					return err
				}
				m.SetMapIndex(key.Elem(), val.Elem())
			}
			out.Set(m)
			return nil
		},
	}, nil
}

// appendMap sorts by encoded key, so that equal maps have equal bytes.
func appendMap(dst []byte, m reflect.Value, k, e *plan) []byte {
	type pair struct{ key, value []byte }
	pairs := make([]pair, 0, m.Len())
	for it := m.MapRange(); it.Next(); {
		key, val := reflect.New(m.Type().Key()), reflect.New(m.Type().Elem())
		key.Elem().Set(it.Key())
		val.Elem().Set(it.Value())
		pairs = append(pairs, pair{k.append(nil, key.UnsafePointer()), e.append(nil, val.UnsafePointer())})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(string(a.key), string(b.key)) })
	dst = binary.AppendUvarint(dst, uint64(len(pairs)))
	for _, p := range pairs {
		dst = append(append(dst, p.key...), p.value...)
	}
	return dst
}

// field is one part of a struct at a fixed offset.
type field struct {
	offset uintptr
	plan   *plan
}

func (b planner) structure(t reflect.Type) (*plan, error) {
	var fields []field
	out := &plan{memory: true}
	var desc []string
	next := uintptr(0)
	varies := false
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("weir") == "-" || f.Name == "_" {
			out.memory = false
			continue
		}
		fb := b.at("." + f.Name)
		if !f.IsExported() && !f.Anonymous {
			return nil, fb.fail(f.Type, "and is not exported: it would be lost; export it, or tag it `weir:\"-\"` to leave it out")
		}
		p, err := fb.value(f.Type)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{f.Offset, p})
		out.memory = out.memory && p.memory && f.Offset == next
		next = f.Offset + f.Type.Size()
		out.fixed += p.fixed
		out.minimum += p.minimum
		varies = varies || p.fixed == 0 && p.minimum > 0
		out.strings = out.strings || p.strings
		out.reflects = out.reflects || p.reflects
		desc = append(desc, f.Name+" "+p.desc)
	}
	out.memory = out.memory && next == t.Size()
	if varies {
		out.fixed = 0
	}
	out.desc = "struct{" + strings.Join(desc, ";") + "}"
	out.append, out.decode = structSteps(fields)
	return out, nil
}

func structSteps(fields []field) (func([]byte, unsafe.Pointer) []byte, func(*decoder, unsafe.Pointer) error) {
	appendAll := func(dst []byte, v unsafe.Pointer) []byte {
		for i := range fields {
			dst = fields[i].plan.append(dst, unsafe.Add(v, fields[i].offset))
		}
		return dst
	}
	decodeAll := func(d *decoder, v unsafe.Pointer) error {
		for i := range fields {
			if err := fields[i].plan.decode(d, unsafe.Add(v, fields[i].offset)); err != nil {
				return err
			}
		}
		return nil
	}
	return appendAll, decodeAll
}

// littleEndianHost guards the plans that copy memory: they are wrong elsewhere.
func init() {
	if one := uint16(1); *(*byte)(unsafe.Pointer(&one)) != 1 {
		panic("weir: BUG: codec needs a little-endian machine (amd64, arm64)")
	}
}
