package codec

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// plan is how the values of one type are encoded: decided once, walked for each
// value. Its steps read and write memory at fixed offsets, in the order of the
// encoding.
type plan struct {
	steps   []step
	fixed   int      // width, 0 if it varies
	minimum int      // fewest bytes a value takes: bounds what a length may claim
	strings bool     // holds strings: a batch shares one copy of the input
	desc    string   // canonical description, for the schema
	fields  []string // of a struct: the names it shows, embedded ones in place
}

// step encodes what lies at one offset.
type step struct {
	op  op
	off uintptr
	n   int    // opCopy: bytes
	sub walker // opSub
}

// op says what a step does.
type op uint8

const (
	opCopy8  op = iota // 8 bytes as they lie in memory
	opCopy4            // 4 bytes
	opCopy             // n bytes
	opBool             // a byte that is 0 or 1
	opString           // length and bytes
	opBytes            // the same, of a slice
	opTime             // seconds and nanoseconds
	opSub              // a walker of its own: long arrays, slices, maps, pointers
)

// walker encodes what one step cannot.
type walker interface {
	append(dst []byte, v unsafe.Pointer) []byte
	decode(d *decoder, v unsafe.Pointer) error
}

// memory says that the encoding equals the value's memory of size bytes.
func (p *plan) memory(size uintptr) bool {
	return len(p.steps) == 1 && p.steps[0].off == 0 && p.steps[0].op <= opCopy && p.fixed == int(size)
}

// add appends the steps of e for a part at off; bytes that follow each other both
// in memory and in the encoding become one step.
func (p *plan) add(off uintptr, e *plan) {
	for _, s := range e.steps {
		s.off += off
		if k := len(p.steps) - 1; k >= 0 && s.op <= opCopy && p.steps[k].op <= opCopy && p.steps[k].off+uintptr(p.steps[k].n) == s.off {
			p.steps[k] = copyStep(p.steps[k].off, p.steps[k].n+s.n)
			continue
		}
		p.steps = append(p.steps, s)
	}
	p.strings = p.strings || e.strings
}

func copyStep(off uintptr, n int) step {
	switch n {
	case 8:
		return step{op: opCopy8, off: off, n: 8}
	case 4:
		return step{op: opCopy4, off: off, n: 4}
	}
	return step{op: opCopy, off: off, n: n}
}

// noescape hides p from escape analysis, as internal/abi.NoEscape does. Whoever
// gets the result must not keep it beyond the call: no walker gives an address inside
// a value to package reflect, which may keep it. NB: what the caller stores at p
// itself must be on the heap already; the compiler no longer knows that it leaves.
func noescape(p unsafe.Pointer) unsafe.Pointer {
	x := uintptr(p)
	return *(*unsafe.Pointer)(unsafe.Pointer(&x))
}

func (p *plan) append(dst []byte, v unsafe.Pointer) []byte {
	for i := range p.steps {
		s := &p.steps[i]
		q := unsafe.Add(v, s.off)
		switch s.op {
		case opCopy8:
			dst = binary.LittleEndian.AppendUint64(dst, *(*uint64)(q))
		case opCopy4:
			dst = binary.LittleEndian.AppendUint32(dst, *(*uint32)(q))
		case opCopy:
			dst = append(dst, unsafe.Slice((*byte)(q), s.n)...)
		case opBool:
			b := byte(0)
			if *(*bool)(q) {
				b = 1
			}
			dst = append(dst, b)
		case opString:
			text := *(*string)(q)
			dst = append(appendLength(dst, len(text)), text...)
		case opBytes:
			b := *(*[]byte)(q)
			dst = append(appendLength(dst, len(b)), b...)
		case opTime:
			t := (*time.Time)(q)
			dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Unix()+secondsToYear1))
			dst = binary.LittleEndian.AppendUint32(dst, uint32(t.Nanosecond()))
		case opSub:
			dst = s.sub.append(dst, q)
		}
	}
	return dst
}

func appendLength(dst []byte, n int) []byte {
	if n < 0x80 {
		return append(dst, byte(n))
	}
	return binary.AppendUvarint(dst, uint64(n))
}

func (p *plan) decode(d *decoder, v unsafe.Pointer) error {
	for i := range p.steps {
		s := &p.steps[i]
		q := unsafe.Add(v, s.off)
		switch s.op {
		case opCopy8:
			b := d.src[d.pos:]
			if len(b) < 8 {
				return d.short(8)
			}
			*(*uint64)(q) = binary.LittleEndian.Uint64(b)
			d.pos += 8
		case opCopy4:
			b := d.src[d.pos:]
			if len(b) < 4 {
				return d.short(4)
			}
			*(*uint32)(q) = binary.LittleEndian.Uint32(b)
			d.pos += 4
		case opString:
			n, err := d.length(1)
			if err != nil {
				return err
			}
			*(*string)(q) = d.cut(n)
		default:
			if err := s.decodeRare(d, q); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeRare is decode for the steps that are seldom or long.
func (s *step) decodeRare(d *decoder, q unsafe.Pointer) error {
	switch s.op {
	case opCopy:
		b, err := d.take(s.n)
		if err != nil {
			return err
		}
		copy(unsafe.Slice((*byte)(q), s.n), b)
	case opBool:
		b, err := d.take(1)
		if err != nil {
			return err
		}
		if b[0] > 1 {
			return fmt.Errorf("%w: bool is %d at byte %d", ErrMalformed, b[0], d.pos-1)
		}
		*(*bool)(q) = b[0] == 1
	case opBytes:
		n, err := d.length(1)
		if err != nil {
			return err
		}
		*(*[]byte)(q) = fresh(d.src[d.pos : d.pos+n])
		d.pos += n
	case opTime:
		b, err := d.take(12)
		if err != nil {
			return err
		}
		ns := binary.LittleEndian.Uint32(b[8:])
		if ns >= 1e9 {
			return fmt.Errorf("%w: %d nanoseconds at byte %d", ErrMalformed, ns, d.pos-4)
		}
		*(*time.Time)(q) = instant(int64(binary.LittleEndian.Uint64(b)), ns)
	case opSub:
		return s.sub.decode(d, q)
	default:
		panic(fmt.Sprintf("weir: BUG: step with op %d", s.op))
	}
	return nil
}

// fresh is a copy of b, nil if b is empty.
func fresh(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return slices.Clone(b)
}

// secondsToYear1 turns Unix seconds into seconds since year 1, so that the zero
// time is all zeros.
const secondsToYear1 = 62135596800

// instant is the time at sec seconds after year 1. The zero instant is the zero
// time.Time, so that IsZero and == hold over a round trip.
func instant(sec int64, ns uint32) time.Time {
	if sec == 0 && ns == 0 {
		return time.Time{}
	}
	return time.Unix(sec-secondsToYear1, int64(ns)).UTC()
}

// decoder reads from src; text, if set, is an immutable copy of src that strings
// are cut from.
type decoder struct {
	src  []byte
	text string
	pos  int
}

func (d *decoder) left() int { return len(d.src) - d.pos }

func (d *decoder) short(n int) error {
	return fmt.Errorf("%w: %d bytes wanted at byte %d of %d", ErrShort, n, d.pos, len(d.src))
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || d.left() < n {
		return nil, d.short(n)
	}
	b := d.src[d.pos : d.pos+n]
	d.pos += n
	return b, nil
}

// length reads a count of elements of at least minimum bytes each.
func (d *decoder) length(minimum int) (int, error) {
	b := d.src[d.pos:]
	if minimum == 1 && len(b) > 0 && b[0] < 0x80 && int(b[0]) < len(b) {
		d.pos++
		return int(b[0]), nil
	}
	n, k := binary.Uvarint(b)
	switch {
	case k == 0:
		return 0, d.short(1)
	case k < 0:
		return 0, fmt.Errorf("%w: length at byte %d is longer than 64 bits", ErrMalformed, d.pos)
	case k > 1 && b[k-1] == 0:
		return 0, fmt.Errorf("%w: length at byte %d is padded", ErrMalformed, d.pos)
	}
	d.pos += k
	if n > uint64(d.left())/uint64(max(1, minimum)) {
		return 0, fmt.Errorf("%w: length %d at byte %d, %d bytes left", ErrShort, n, d.pos-k, d.left())
	}
	return int(n), nil
}

// cut reads n bytes, which are there, as a string.
func (d *decoder) cut(n int) string {
	at := d.pos
	d.pos += n
	if len(d.text) == len(d.src) {
		return d.text[at:d.pos]
	}
	return string(d.src[at:d.pos])
}

func (d *decoder) string() (string, error) {
	n, err := d.length(1)
	if err != nil {
		return "", err
	}
	return d.cut(n), nil
}
