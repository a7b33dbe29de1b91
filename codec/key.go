package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// Key turns keys of K into self-delimiting, order-preserving bytes, and hashes
// them. Two keys are equal if and only if their bytes are.
type Key[K any] interface {
	// Append appends the encoded key to dst.
	Append(dst []byte, k K) []byte
	// Decode reads one key from the front of src and says how many bytes it took.
	Decode(src []byte) (K, int, error)
	// WordWidth is 1..8 if every encoded key has that many bytes, so that it fits a
	// word; else 0.
	WordWidth() int
	// Word is the encoded key as a big-endian integer, right-aligned. Only if
	// WordWidth is not 0.
	Word(k K) uint64
	// FromWord is the inverse of Word.
	FromWord(w uint64) K
	// Hash is the xxh3-64 (seed 0) of the encoded key. It does not allocate for keys
	// of up to 64 encoded bytes.
	Hash(k K) uint64
	// AppendHash appends the encoded key and returns its hash too.
	AppendHash(dst []byte, k K) ([]byte, uint64)
	// Schema describes the layout, for snapshots.
	Schema() Schema
}

// ForKey returns the key codec of K, or why K cannot be a key.
func ForKey[K any]() (Key[K], error) {
	t := reflect.TypeFor[K]()
	p, err := keyPlanOf(t, typeName(t))
	if err != nil {
		return nil, fmt.Errorf("key %v: %w", t, err)
	}
	if p.minimum == 0 {
		return nil, fmt.Errorf("key %v has no bytes: a key needs at least one", t)
	}
	schema := encodeSchema(keySchema, typeName(t), 0, p.desc)
	switch t.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		w := wordKey[K]{width: int(t.Size()), schema: schema}
		if t.Kind() <= reflect.Int64 {
			w.flip = 1 << (8*w.width - 1)
		}
		if w.width == 8 {
			return &word8Key[K]{w}, nil
		}
		return &w, nil
	case reflect.String:
		return &stringKey[K]{schema: schema}, nil
	}
	return &planKey[K]{plan: p, schema: schema}, nil
}

// HashBytes is the hash of an encoded key.
func HashBytes(enc []byte) uint64 { return xxh3.Hash(enc) }

// HashWord is the hash of an encoded key of width bytes given as a word.
func HashWord(w uint64, width int) uint64 {
	if width == 8 {
		return hash8(w)
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], w)
	return xxh3.Hash(b[8-width:])
}

// hash8 is xxh3-64 with seed 0 of the eight bytes that w is big endian. It is the
// 4–8 byte case of the algorithm (Y. Collet, xxHash, XXH3_len_4to8_64b) with the
// secret's words at 8 and 16 folded.
func hash8(w uint64) uint64 {
	const secret = 0x1cad21f72c81017c ^ 0xdb979083e96dd4de
	// The input as two little-endian words: in1 the first four bytes, in2 the last.
	le := bits.ReverseBytes64(w)
	in1, in2 := le&0xffffffff, le>>32
	h := (in2 + in1<<32) ^ secret
	h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
	h *= 0x9fb21c651e98df25
	h ^= h>>35 + 8
	h *= 0x9fb21c651e98df25
	return h ^ h>>28
}

// wordKey is an integer of up to 8 bytes.
type wordKey[K any] struct {
	flip   uint64 // sign bit of signed kinds
	width  int    // bytes
	schema Schema
}

func (c *wordKey[K]) Word(k K) uint64 {
	p := unsafe.Pointer(&k)
	switch c.width {
	case 1:
		return uint64(*(*uint8)(p)) ^ c.flip
	case 2:
		return uint64(*(*uint16)(p)) ^ c.flip
	case 4:
		return uint64(*(*uint32)(p)) ^ c.flip
	}
	return *(*uint64)(p) ^ c.flip
}

func (c *wordKey[K]) FromWord(w uint64) (k K) {
	p := unsafe.Pointer(&k)
	switch w ^= c.flip; c.width {
	case 1:
		*(*uint8)(p) = uint8(w)
	case 2:
		*(*uint16)(p) = uint16(w)
	case 4:
		*(*uint32)(p) = uint32(w)
	default:
		*(*uint64)(p) = w
	}
	return k
}

func (c *wordKey[K]) Append(dst []byte, k K) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], c.Word(k))
	return append(dst, b[8-c.width:]...)
}

func (c *wordKey[K]) Decode(src []byte) (k K, n int, err error) {
	if len(src) < c.width {
		return k, 0, fmt.Errorf("%w: key of %d bytes, want %d", ErrShort, len(src), c.width)
	}
	var b [8]byte
	copy(b[8-c.width:], src[:c.width])
	return c.FromWord(binary.BigEndian.Uint64(b[:])), c.width, nil
}

func (c *wordKey[K]) WordWidth() int  { return c.width }
func (c *wordKey[K]) Hash(k K) uint64 { return HashWord(c.Word(k), c.width) }
func (c *wordKey[K]) Schema() Schema  { return c.schema }

func (c *wordKey[K]) AppendHash(dst []byte, k K) ([]byte, uint64) {
	return c.Append(dst, k), c.Hash(k)
}

// word8Key is the wordKey of eight bytes, the commonest, without the width switch.
type word8Key[K any] struct{ wordKey[K] }

func (c *word8Key[K]) Word(k K) uint64 { return *(*uint64)(unsafe.Pointer(&k)) ^ c.flip }
func (c *word8Key[K]) Hash(k K) uint64 { return hash8(*(*uint64)(unsafe.Pointer(&k)) ^ c.flip) }

// scratch is room on the stack for encoded keys; longer ones are allocated.
const scratch = 64

// stringKey is a string kind.
type stringKey[K any] struct{ schema Schema }

func (c *stringKey[K]) Append(dst []byte, k K) []byte {
	return appendEscaped(dst, *(*string)(unsafe.Pointer(&k)))
}

func appendEscaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(append(dst, s...), 0, 1)
		}
		dst = append(append(dst, s[:i]...), 0, 0xff)
		s = s[i+1:]
	}
}

func (c *stringKey[K]) Decode(src []byte) (k K, n int, err error) {
	b, n, err := unescape(src)
	if err != nil {
		return k, 0, err
	}
	*(*string)(unsafe.Pointer(&k)) = string(b)
	return k, n, nil
}

// unescape returns the bytes before the terminator and the length with it.
func unescape(src []byte) ([]byte, int, error) {
	var out []byte
	for from, i := 0, 0; i+1 < len(src); i++ {
		if src[i] != 0 {
			continue
		}
		switch src[i+1] {
		case 1:
			if out == nil {
				return src[:i], i + 2, nil
			}
			return append(out, src[from:i]...), i + 2, nil
		case 0xff:
			out = append(out, src[from:i+1]...)
			i++
			from = i + 1
		default:
			return nil, 0, fmt.Errorf("%w: byte 00 %02x at %d of a key", ErrMalformed, src[i+1], i)
		}
	}
	return nil, 0, fmt.Errorf("%w: key of %d bytes has no terminator", ErrShort, len(src))
}

func (c *stringKey[K]) WordWidth() int { return 0 }
func (c *stringKey[K]) Word(K) uint64  { panic("weir: BUG: word of a string key") }
func (c *stringKey[K]) FromWord(uint64) K {
	panic("weir: BUG: string key from a word")
}
func (c *stringKey[K]) Schema() Schema { return c.schema }

func (c *stringKey[K]) Hash(k K) uint64 {
	var b [scratch]byte
	return xxh3.Hash(appendEscaped(b[:0], *(*string)(unsafe.Pointer(&k))))
}

func (c *stringKey[K]) AppendHash(dst []byte, k K) ([]byte, uint64) {
	from := len(dst)
	dst = appendEscaped(dst, *(*string)(unsafe.Pointer(&k)))
	return dst, xxh3.Hash(dst[from:])
}

// planKey walks a plan: arrays, structs, floats, times.
type planKey[K any] struct {
	plan   *plan
	schema Schema
}

func (c *planKey[K]) Append(dst []byte, k K) []byte {
	return c.plan.append(dst, noescape(unsafe.Pointer(&k)))
}

func (c *planKey[K]) Decode(src []byte) (k K, n int, err error) {
	d := decoder{src: src}
	if err := c.plan.decode((*decoder)(noescape(unsafe.Pointer(&d))), noescape(unsafe.Pointer(&k))); err != nil {
		var zero K
		return zero, 0, err
	}
	return k, d.pos, nil
}

func (c *planKey[K]) WordWidth() int {
	if c.plan.fixed <= 8 {
		return c.plan.fixed
	}
	return 0
}

func (c *planKey[K]) Word(k K) uint64 {
	var b [8]byte
	e := c.Append(b[:0], k)
	var w uint64
	for _, x := range e {
		w = w<<8 | uint64(x)
	}
	return w
}

func (c *planKey[K]) FromWord(w uint64) K {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], w)
	k, _, err := c.Decode(b[8-c.plan.fixed:])
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: key from word %x: %v", w, err))
	}
	return k
}

func (c *planKey[K]) Hash(k K) uint64 {
	var b [scratch]byte
	return xxh3.Hash(c.Append(unsafe.Slice((*byte)(noescape(unsafe.Pointer(&b))), scratch)[:0], k))
}

func (c *planKey[K]) AppendHash(dst []byte, k K) ([]byte, uint64) {
	from := len(dst)
	dst = c.Append(dst, k)
	return dst, xxh3.Hash(dst[from:])
}

func (c *planKey[K]) Schema() Schema { return c.schema }

// keyPlanOf is the plan of a key's layout.
func keyPlanOf(t reflect.Type, path string) (*plan, error) {
	if t == timeType {
		return keyTimePlan(), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return boolPlan(), nil
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return keyIntPlan(t), nil
	case reflect.Float32, reflect.Float64:
		return keyFloatPlan(t), nil
	case reflect.String:
		return keyStringPlan(), nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return keyBytesPlan(), nil
		}
	case reflect.Array:
		return keyArrayPlan(t, path)
	case reflect.Struct:
		return keyStructPlan(t, path)
	}
	return nil, fmt.Errorf("%s has type %v, which cannot be (part of) a key: equal keys must have equal bytes; use scalars, strings, []byte, time.Time, arrays and structs of them", path, t)
}

func keyIntPlan(t reflect.Type) *plan {
	w := wordKey[uint64]{width: int(t.Size())}
	if t.Kind() <= reflect.Int64 {
		w.flip = 1 << (8*w.width - 1)
	}
	load := func(v unsafe.Pointer) uint64 {
		var k uint64 // the low bytes: little-endian host
		copy((*[8]byte)(unsafe.Pointer(&k))[:w.width], unsafe.Slice((*byte)(v), w.width))
		return k
	}
	return &plan{
		fixed: w.width, minimum: w.width, desc: scalarName(t),
		append: func(dst []byte, v unsafe.Pointer) []byte { return w.Append(dst, load(v)) },
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, err := d.take(w.width)
			if err != nil {
				return err
			}
			k, _, err := w.Decode(b)
			copy(unsafe.Slice((*byte)(v), w.width), (*[8]byte)(unsafe.Pointer(&k))[:w.width])
			return err
		},
	}
}

func keyFloatPlan(t reflect.Type) *plan {
	if t.Kind() == reflect.Float32 {
		return &plan{
			fixed: 4, minimum: 4, desc: "float32",
			append: func(dst []byte, v unsafe.Pointer) []byte {
				f := *(*float32)(v)
				u := math.Float32bits(f + 0) // −0 + 0 = 0
				if f != f {
					u = 0x7fc00000
				}
				return binary.BigEndian.AppendUint32(dst, orderBits32(u))
			},
			decode: func(d *decoder, v unsafe.Pointer) error {
				b, err := d.take(4)
				if err != nil {
					return err
				}
				u := binary.BigEndian.Uint32(b)
				if u&(1<<31) != 0 {
					u ^= 1 << 31
				} else {
					u = ^u
				}
				*(*float32)(v) = math.Float32frombits(u)
				return nil
			},
		}
	}
	return &plan{
		fixed: 8, minimum: 8, desc: "float64",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			f := *(*float64)(v)
			u := math.Float64bits(f + 0)
			if f != f {
				u = 0x7ff8000000000000
			}
			if u&(1<<63) != 0 {
				u = ^u
			} else {
				u |= 1 << 63
			}
			return binary.BigEndian.AppendUint64(dst, u)
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, err := d.take(8)
			if err != nil {
				return err
			}
			u := binary.BigEndian.Uint64(b)
			if u&(1<<63) != 0 {
				u ^= 1 << 63
			} else {
				u = ^u
			}
			*(*float64)(v) = math.Float64frombits(u)
			return nil
		},
	}
}

func orderBits32(u uint32) uint32 {
	if u&(1<<31) != 0 {
		return ^u
	}
	return u | 1<<31
}

func keyStringPlan() *plan {
	return &plan{
		minimum: 2, desc: "string",
		append: func(dst []byte, v unsafe.Pointer) []byte { return appendEscaped(dst, *(*string)(v)) },
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, n, err := unescape(d.src[d.pos:])
			d.pos += n
			*(*string)(v) = string(b)
			return err
		},
	}
}

func keyBytesPlan() *plan {
	return &plan{
		minimum: 2, desc: "bytes",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			b := *(*[]byte)(v)
			return appendEscaped(dst, unsafe.String(unsafe.SliceData(b), len(b)))
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, n, err := unescape(d.src[d.pos:])
			d.pos += n
			*(*[]byte)(v) = slices.Clone(b)
			return err
		},
	}
}

func keyTimePlan() *plan {
	return &plan{
		fixed: 12, minimum: 12, desc: "time",
		append: func(dst []byte, v unsafe.Pointer) []byte {
			t := (*time.Time)(v)
			dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix()+secondsToYear1)^1<<63)
			return binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
		},
		decode: func(d *decoder, v unsafe.Pointer) error {
			b, err := d.take(12)
			if err != nil {
				return err
			}
			ns := binary.BigEndian.Uint32(b[8:])
			if ns >= 1e9 {
				return fmt.Errorf("%w: %d nanoseconds in a key", ErrMalformed, ns)
			}
			*(*time.Time)(v) = instant(int64(binary.BigEndian.Uint64(b)^1<<63), ns)
			return nil
		},
	}
}

func keyArrayPlan(t reflect.Type, path string) (*plan, error) {
	e, err := keyPlanOf(t.Elem(), path+"[]")
	if err != nil {
		return nil, err
	}
	fields := make([]field, t.Len())
	for i := range fields {
		fields[i] = field{uintptr(i) * t.Elem().Size(), e}
	}
	p := &plan{fixed: t.Len() * e.fixed, minimum: t.Len() * e.minimum, desc: fmt.Sprintf("[%d]%s", t.Len(), e.desc)}
	p.append, p.decode = structSteps(fields)
	return p, nil
}

func keyStructPlan(t reflect.Type, path string) (*plan, error) {
	var fields []field
	var desc []string
	p := &plan{}
	varies := false
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous || f.Tag.Get("weir") == "-" {
			return nil, fmt.Errorf("%s.%s is not exported or left out: every field of a key counts", path, f.Name)
		}
		e, err := keyPlanOf(f.Type, path+"."+f.Name)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{f.Offset, e})
		p.fixed += e.fixed
		p.minimum += e.minimum
		varies = varies || e.fixed == 0
		desc = append(desc, f.Name+" "+e.desc)
	}
	if varies {
		p.fixed = 0
	}
	p.desc = "struct{" + strings.Join(desc, ";") + "}"
	p.append, p.decode = structSteps(fields)
	return p, nil
}
