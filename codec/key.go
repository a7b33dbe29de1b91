package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
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
	// of up to 64 encoded bytes, strings of up to 1,024.
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
		w := wordKey[K]{width: int(t.Size()), flip: signBit(t), schema: schema}
		if w.width == 8 {
			return &word8Key[K]{w}, nil
		}
		return &w, nil
	case reflect.String:
		return &stringKey[K]{schema: schema}, nil
	}
	return &planKey[K]{plan: p, schema: schema}, nil
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

// unescape returns the bytes before the terminator and the length with it. The
// bytes are in src if nothing in them was escaped.
func unescape(src []byte) ([]byte, int, error) {
	var out []byte
	for from := 0; ; {
		i := bytes.IndexByte(src[from:], 0)
		if i < 0 || from+i+1 == len(src) {
			return nil, 0, fmt.Errorf("%w: key of %d bytes has no terminator", ErrShort, len(src))
		}
		i += from
		switch src[i+1] {
		case 1:
			if out == nil {
				return src[:i], i + 2, nil
			}
			return append(out, src[from:i]...), i + 2, nil
		case 0xff:
			out = append(out, src[from:i+1]...)
			from = i + 2
		default:
			return nil, 0, fmt.Errorf("%w: bytes 00 %02x at %d of a key", ErrMalformed, src[i+1], i)
		}
	}
}

func (c *stringKey[K]) WordWidth() int { return 0 }
func (c *stringKey[K]) Word(K) uint64  { panic("weir: BUG: word of a string key") }
func (c *stringKey[K]) FromWord(uint64) K {
	panic("weir: BUG: string key from a word")
}
func (c *stringKey[K]) Schema() Schema { return c.schema }

func (c *stringKey[K]) Hash(k K) uint64 {
	return hashString(*(*string)(unsafe.Pointer(&k)))
}

func (c *stringKey[K]) AppendHash(dst []byte, k K) ([]byte, uint64) {
	from := len(dst)
	dst = appendEscaped(dst, *(*string)(unsafe.Pointer(&k)))
	return dst, xxh3.Hash(dst[from:])
}

// planKey walks a plan: arrays, structs, bools, floats, times, []byte.
type planKey[K any] struct {
	plan   *keyPlan
	schema Schema
}

func (c *planKey[K]) Append(dst []byte, k K) []byte {
	return c.plan.append(dst, noescape(unsafe.Pointer(&k)))
}

func (c *planKey[K]) Decode(src []byte) (k K, n int, err error) {
	n, err = c.plan.decode(src, noescape(unsafe.Pointer(&k)))
	if err != nil {
		var zero K
		return zero, 0, err
	}
	return k, n, nil
}

func (c *planKey[K]) WordWidth() int {
	if c.plan.fixed <= 8 {
		return c.plan.fixed
	}
	return 0
}

func (c *planKey[K]) Word(k K) uint64 {
	var b [8]byte
	c.plan.append(b[:0], noescape(unsafe.Pointer(&k)))
	return binary.BigEndian.Uint64(b[:]) >> (64 - 8*c.plan.fixed)
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
	return xxh3.Hash(c.plan.append(b[:0], noescape(unsafe.Pointer(&k))))
}

func (c *planKey[K]) AppendHash(dst []byte, k K) ([]byte, uint64) {
	from := len(dst)
	dst = c.Append(dst, k)
	return dst, xxh3.Hash(dst[from:])
}

func (c *planKey[K]) Schema() Schema { return c.schema }
