package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// keyPlan is how keys of one type are encoded: steps at fixed offsets, in order.
type keyPlan struct {
	steps   []keyStep
	fixed   int // width, 0 if it varies
	minimum int // fewest bytes
	desc    string
	fields  []string // of a struct, embedded ones in place
}

// keyStep encodes what lies at one offset.
type keyStep struct {
	op   keyOp
	off  uintptr
	n    int      // keyCopy: bytes; keyArray: elements
	flip uint64   // sign bit of signed integers
	elem *keyPlan // keyArray
	size uintptr  // keyArray: of an element in memory
}

// keyOp says what a step does.
type keyOp uint8

const (
	keyInt1 keyOp = iota
	keyInt2
	keyInt4
	keyInt8
	keyCopy // n bytes as they are
	keyBool
	keyFloat4
	keyFloat8
	keyString
	keyBytes
	keyTime
	keyArray // a long array
)

func (p *keyPlan) append(dst []byte, v unsafe.Pointer) []byte {
	for i := range p.steps {
		s := &p.steps[i]
		q := unsafe.Add(v, s.off)
		switch s.op {
		case keyInt1:
			dst = append(dst, *(*uint8)(q)^uint8(s.flip))
		case keyInt2:
			dst = binary.BigEndian.AppendUint16(dst, *(*uint16)(q)^uint16(s.flip))
		case keyInt4:
			dst = binary.BigEndian.AppendUint32(dst, *(*uint32)(q)^uint32(s.flip))
		case keyInt8:
			dst = binary.BigEndian.AppendUint64(dst, *(*uint64)(q)^s.flip)
		case keyCopy:
			dst = append(dst, unsafe.Slice((*byte)(q), s.n)...)
		case keyBool:
			b := byte(0)
			if *(*bool)(q) {
				b = 1
			}
			dst = append(dst, b)
		case keyFloat4:
			dst = binary.BigEndian.AppendUint32(dst, orderedFloat32(*(*float32)(q)))
		case keyFloat8:
			dst = binary.BigEndian.AppendUint64(dst, orderedFloat64(*(*float64)(q)))
		case keyString:
			dst = appendEscaped(dst, *(*string)(q))
		case keyBytes:
			b := *(*[]byte)(q)
			dst = appendEscaped(dst, unsafe.String(unsafe.SliceData(b), len(b)))
		case keyTime:
			t := (*time.Time)(q)
			dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix()+secondsToYear1)^1<<63)
			dst = binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
		case keyArray:
			for i := range s.n {
				dst = s.elem.append(dst, unsafe.Add(q, uintptr(i)*s.size))
			}
		}
	}
	return dst
}

// decode reads a key from the front of src and says how many bytes it took. It
// takes only what append makes: equal keys have one encoding.
func (p *keyPlan) decode(src []byte, v unsafe.Pointer) (int, error) {
	if len(src) < p.minimum {
		return 0, fmt.Errorf("%w: key of %d bytes, it takes %d at least", ErrShort, len(src), p.minimum)
	}
	pos := 0
	for i := range p.steps {
		n, err := p.steps[i].decode(src[pos:], v)
		if err != nil {
			return 0, err
		}
		pos += n
	}
	return pos, nil
}

func (s *keyStep) decode(src []byte, v unsafe.Pointer) (int, error) {
	q := unsafe.Add(v, s.off)
	switch s.op {
	case keyString, keyBytes:
		b, n, err := unescape(src)
		if err != nil {
			return 0, err
		}
		if s.op == keyString {
			*(*string)(q) = string(b)
		} else {
			*(*[]byte)(q) = fresh(b)
		}
		return n, nil
	case keyArray:
		pos := 0
		for i := range s.n {
			n, err := s.elem.decode(src[pos:], unsafe.Add(q, uintptr(i)*s.size))
			if err != nil {
				return 0, err
			}
			pos += n
		}
		return pos, nil
	}
	n := s.width()
	if len(src) < n {
		return 0, fmt.Errorf("%w: %d bytes of a key left, want %d", ErrShort, len(src), n)
	}
	if err := s.decodeFixed(src[:n], q); err != nil {
		return 0, err
	}
	return n, nil
}

// width is how many bytes a step of fixed width takes.
func (s *keyStep) width() int {
	switch s.op {
	case keyInt1, keyBool:
		return 1
	case keyInt2:
		return 2
	case keyInt4, keyFloat4:
		return 4
	case keyInt8, keyFloat8:
		return 8
	case keyTime:
		return 12
	case keyCopy:
		return s.n
	}
	panic(fmt.Sprintf("weir: BUG: width of key step %d", s.op))
}

func (s *keyStep) decodeFixed(b []byte, q unsafe.Pointer) error {
	switch s.op {
	case keyInt1:
		*(*uint8)(q) = b[0] ^ uint8(s.flip)
	case keyInt2:
		*(*uint16)(q) = binary.BigEndian.Uint16(b) ^ uint16(s.flip)
	case keyInt4:
		*(*uint32)(q) = binary.BigEndian.Uint32(b) ^ uint32(s.flip)
	case keyInt8:
		*(*uint64)(q) = binary.BigEndian.Uint64(b) ^ s.flip
	case keyCopy:
		copy(unsafe.Slice((*byte)(q), s.n), b)
	case keyBool:
		if b[0] > 1 {
			return fmt.Errorf("%w: bool %d in a key", ErrMalformed, b[0])
		}
		*(*bool)(q) = b[0] == 1
	case keyFloat4:
		u := binary.BigEndian.Uint32(b)
		f := math.Float32frombits(u ^ (^uint32(int32(u)>>31) | 1<<31))
		if orderedFloat32(f) != u {
			return fmt.Errorf("%w: float %08x in a key is −0 or another NaN", ErrMalformed, u)
		}
		*(*float32)(q) = f
	case keyFloat8:
		u := binary.BigEndian.Uint64(b)
		f := math.Float64frombits(u ^ (^uint64(int64(u)>>63) | 1<<63))
		if orderedFloat64(f) != u {
			return fmt.Errorf("%w: float %016x in a key is −0 or another NaN", ErrMalformed, u)
		}
		*(*float64)(q) = f
	case keyTime:
		ns := binary.BigEndian.Uint32(b[8:])
		if ns >= 1e9 {
			return fmt.Errorf("%w: %d nanoseconds in a key", ErrMalformed, ns)
		}
		*(*time.Time)(q) = instant(int64(binary.BigEndian.Uint64(b)^1<<63), ns)
	}
	return nil
}

// orderedFloat32 is f as bits that order as floats do: negative ones all flipped,
// the sign bit set on others. −0 is 0; every NaN is the quiet one, above +Inf.
func orderedFloat32(f float32) uint32 {
	u := math.Float32bits(f + 0) // −0 + 0 = 0
	if f != f {
		u = 0x7fc00000
	}
	return u ^ (uint32(int32(u)>>31) | 1<<31)
}

func orderedFloat64(f float64) uint64 {
	u := math.Float64bits(f + 0)
	if f != f {
		u = 0x7ff8000000000000
	}
	return u ^ (uint64(int64(u)>>63) | 1<<63)
}

// keyPlanOf is the plan of a key's layout; path says where it is, for messages.
func keyPlanOf(t reflect.Type, path string) (*keyPlan, error) {
	one := func(o keyOp, fixed int, desc string) (*keyPlan, error) {
		least := fixed
		if fixed == 0 {
			least = 2 // the terminator
		}
		return &keyPlan{steps: []keyStep{{op: o}}, fixed: fixed, minimum: least, desc: desc}, nil
	}
	if t == timeType {
		return one(keyTime, 12, "time")
	}
	switch t.Kind() {
	case reflect.Bool:
		return one(keyBool, 1, "bool")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return keyIntPlan(t), nil
	case reflect.Float32:
		return one(keyFloat4, 4, "float32")
	case reflect.Float64:
		return one(keyFloat8, 8, "float64")
	case reflect.String:
		return one(keyString, 0, "string")
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return one(keyBytes, 0, "bytes")
		}
	case reflect.Array:
		return keyArrayPlan(t, path)
	case reflect.Struct:
		return keyStructPlan(t, path)
	}
	return nil, fmt.Errorf("%s has type %v, which cannot be (part of) a key: equal keys must have equal bytes; use scalars, strings, []byte, time.Time, arrays and structs of them", path, t)
}

// signBit is the sign bit of a signed integer kind, 0 for an unsigned one.
func signBit(t reflect.Type) uint64 {
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 {
		return 1 << (8*t.Size() - 1)
	}
	return 0
}

func keyIntPlan(t reflect.Type) *keyPlan {
	ops := map[uintptr]keyOp{1: keyInt1, 2: keyInt2, 4: keyInt4, 8: keyInt8}
	size := int(t.Size())
	return &keyPlan{steps: []keyStep{{op: ops[t.Size()], flip: signBit(t)}}, fixed: size, minimum: size, desc: scalarName(t)}
}

func keyArrayPlan(t reflect.Type, path string) (*keyPlan, error) {
	e, err := keyPlanOf(t.Elem(), path+"[]")
	if err != nil {
		return nil, err
	}
	n, size := t.Len(), t.Elem().Size()
	p := &keyPlan{fixed: n * e.fixed, minimum: n * e.minimum, desc: fmt.Sprintf("[%d]%s", n, e.desc)}
	switch {
	case p.minimum == 0:
	case t.Elem().Kind() == reflect.Uint8:
		p.steps = []keyStep{{op: keyCopy, n: n}}
	case n <= maxUnrolled/len(e.steps):
		for i := range n {
			p.add(uintptr(i)*size, e)
		}
	default:
		p.steps = []keyStep{{op: keyArray, n: n, elem: e, size: size}}
	}
	return p, nil
}

func (p *keyPlan) add(off uintptr, e *keyPlan) {
	for _, s := range e.steps {
		s.off += off
		p.steps = append(p.steps, s)
	}
}

func keyStructPlan(t reflect.Type, path string) (*keyPlan, error) {
	p := &keyPlan{}
	varies := false
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue // == ignores it too
		}
		embedded := f.Anonymous && f.Type.Kind() == reflect.Struct && f.Type != timeType
		if !f.IsExported() && !embedded || f.Tag.Get("weir") == "-" {
			return nil, fmt.Errorf("%s.%s is not exported or left out: every field of a key counts", path, f.Name)
		}
		e, err := keyPlanOf(f.Type, path+"."+f.Name)
		if err != nil {
			return nil, err
		}
		p.add(f.Offset, e)
		p.fixed += e.fixed
		p.minimum += e.minimum
		varies = varies || e.fixed == 0 && e.minimum > 0
		if embedded {
			p.fields = append(p.fields, e.fields...)
		} else {
			p.fields = append(p.fields, f.Name+" "+e.desc)
		}
	}
	if varies {
		p.fixed = 0
	}
	var err error
	p.desc, err = structDescription(path, p.fields)
	return p, err
}
