package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unsafe"
)

// Codec turns values of T into bytes and back.
type Codec[T any] interface {
	// Append appends v to dst. It allocates nothing but what dst needs to grow, and
	// what sorting needs if v holds maps.
	Append(dst []byte, v T) []byte
	// Decode reads one value from the front of src and says how many bytes it took.
	// The value never refers to src. Errors are ErrShort or ErrMalformed.
	Decode(src []byte) (v T, n int, err error)
	// AppendBatch appends all of vs.
	AppendBatch(dst []byte, vs []T) []byte
	// DecodeBatch appends n values decoded from the front of src to dst and says how
	// many bytes they took. Strings of one batch share one immutable copy of src, so
	// src should hold little beyond the batch. On an error dst has the values before
	// the bad one.
	DecodeBatch(dst []T, src []byte, n int) ([]T, int, error)
	// Schema describes the layout, for snapshots.
	Schema() Schema
	// From returns how values of another schema become values of this one: Mover is nil
	// where nothing need be done. The error says why it can't be, as Compatible does.
	From(writer Schema) (Mover, error)
	// Fixed is the width of every value in bytes, or 0 if values differ in width.
	Fixed() int
}

// Mover reads a value of an older layout from the front of src, appends it to dst in the
// newer one, and says how many bytes it took. It may be used by one goroutine at a time.
type Mover func(dst, src []byte) (out []byte, n int, err error)

// Errors of decoding.
var (
	// ErrShort: the input ends inside a value.
	ErrShort = errors.New("input ends inside a value")
	// ErrMalformed: the input is not what any value encodes to.
	ErrMalformed = errors.New("malformed value")
)

// For returns the codec of T. The error of an unsupported type names the path to
// what is not supported, such as Order.Items[].Done.
func For[T any]() (Codec[T], error) { return In[T](nil) }

// In is For where types have names.
func In[T any](types *Types) (Codec[T], error) {
	t := reflect.TypeFor[T]()
	p, err := planOf[T](types)
	if err != nil {
		return nil, err
	}
	l := described{types: types, schema: encodeSchema(valueSchema, typeName(t), 0, p.desc)}
	if p.memory(t.Size()) {
		return &memoryCodec[T]{l}, nil
	}
	return &planCodec[T]{described: l, plan: p}, nil
}

func planOf[T any](types *Types) (*plan, error) {
	t := reflect.TypeFor[T]()
	p, err := planner{path: typeName(t), types: types}.value(t)
	if err != nil {
		return nil, fmt.Errorf("codec of %v: %w", t, err)
	}
	return p, nil
}

// described is what all codecs of values have in common.
type described struct {
	schema Schema
	types  *Types
}

// Schema implements Codec.
func (c *described) Schema() Schema { return c.schema }

// From implements Codec.
func (c *described) From(writer Schema) (Mover, error) { return moverOf(writer, c.schema, c.types) }

// planCodec walks the offset plan of T.
type planCodec[T any] struct {
	described
	plan *plan
}

func (c *planCodec[T]) Append(dst []byte, v T) []byte {
	return c.plan.append(dst, noescape(unsafe.Pointer(&v)))
}

func (c *planCodec[T]) AppendBatch(dst []byte, vs []T) []byte {
	dst = slices.Grow(dst, c.plan.minimum*len(vs))
	for i := range vs {
		dst = c.plan.append(dst, noescape(unsafe.Pointer(&vs[i])))
	}
	return dst
}

func (c *planCodec[T]) Decode(src []byte) (v T, n int, err error) {
	d := decoder{src: src}
	if err := c.plan.decode((*decoder)(noescape(unsafe.Pointer(&d))), noescape(unsafe.Pointer(&v))); err != nil {
		var zero T
		return zero, 0, err
	}
	return v, d.pos, nil
}

// batchStep is how many values a batch makes room for at once: a whole batch of
// the exchange, and a bound on what a false count allocates.
const batchStep = 512

func (c *planCodec[T]) DecodeBatch(dst []T, src []byte, n int) ([]T, int, error) {
	switch least := c.plan.minimum; {
	case n < 0 || least > 0 && n > len(src)/least:
		return dst, 0, fmt.Errorf("%w: %d bytes for %d values of %d or more", ErrShort, len(src), n, least)
	case least == 0 && n > maxEmpty:
		return dst, 0, fmt.Errorf("%w: %d values without bytes", ErrMalformed, n)
	}
	d := decoder{src: src}
	if c.plan.strings && n > 0 {
		d.text = heapString(src)
	}
	for n > 0 {
		room, from := min(n, batchStep), len(dst)
		dst = slices.Grow(dst, room)[:from+room]
		clear(dst[from:])
		for i := range room {
			if err := c.plan.decode((*decoder)(noescape(unsafe.Pointer(&d))), noescape(unsafe.Pointer(&dst[from+i]))); err != nil {
				return dst[:from+i], d.pos, err
			}
		}
		n -= room
	}
	return dst, d.pos, nil
}

// heapString copies b. NB: not inlined on purpose: d is hidden from escape analysis,
// which would take the copy for one that ends with the batch and put it on the stack.
//
//go:noinline
func heapString(b []byte) string { return string(b) }

// maxEmpty bounds a batch of values that take no bytes, which no input bounds.
const maxEmpty = 1 << 16

func (c *planCodec[T]) Fixed() int { return c.plan.fixed }

// memoryCodec copies T as it lies in memory: no padding, no pointers, every byte
// pattern valid, little-endian host.
type memoryCodec[T any] struct{ described }

func (c *memoryCodec[T]) Append(dst []byte, v T) []byte {
	switch p := unsafe.Pointer(&v); unsafe.Sizeof(v) { // the commonest without a call
	case 8:
		return binary.LittleEndian.AppendUint64(dst, *(*uint64)(p))
	case 16:
		w := (*[2]uint64)(p)
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, w[0]), w[1])
	}
	return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

func (c *memoryCodec[T]) AppendBatch(dst []byte, vs []T) []byte {
	if len(vs) == 0 {
		return dst
	}
	return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&vs[0])), uintptr(len(vs))*unsafe.Sizeof(vs[0]))...)
}

func (c *memoryCodec[T]) Decode(src []byte) (v T, n int, err error) {
	size := int(unsafe.Sizeof(v))
	if len(src) < size {
		return v, 0, fmt.Errorf("%w: %d bytes of %d", ErrShort, len(src), size)
	}
	switch p := unsafe.Pointer(&v); size {
	case 8:
		*(*[8]byte)(p) = [8]byte(src)
	case 16:
		*(*[16]byte)(p) = [16]byte(src)
	default:
		copy(unsafe.Slice((*byte)(p), size), src)
	}
	return v, size, nil
}

func (c *memoryCodec[T]) DecodeBatch(dst []T, src []byte, n int) ([]T, int, error) {
	size := int(unsafe.Sizeof(*new(T)))
	if n < 0 || len(src)/size < n {
		return dst, 0, fmt.Errorf("%w: %d bytes for %d values of %d", ErrShort, len(src), n, size)
	}
	if n == 0 {
		return dst, 0, nil
	}
	from := len(dst)
	dst = slices.Grow(dst, n)[:from+n]
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[from])), n*size), src)
	return dst, n * size, nil
}

func (c *memoryCodec[T]) Fixed() int { return int(unsafe.Sizeof(*new(T))) }

func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}
