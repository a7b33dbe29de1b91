package codec

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// Codec turns values of T into bytes and back.
type Codec[T any] interface {
	// Append appends v to dst. It allocates nothing but what dst needs to grow.
	Append(dst []byte, v T) []byte
	// Decode reads one value from the front of src and says how many bytes it took.
	Decode(src []byte) (v T, n int, err error)
	// AppendBatch appends all of vs.
	AppendBatch(dst []byte, vs []T) []byte
	// DecodeBatch appends n values decoded from the front of src to dst and says how
	// many bytes they took. Strings of one batch share one immutable copy of src.
	DecodeBatch(dst []T, src []byte, n int) ([]T, int, error)
	// Schema describes the layout, for snapshots.
	Schema() Schema
	// Fixed is the width of every value in bytes, or 0 if values differ in width.
	Fixed() int
}

// Errors of decoding.
var (
	// ErrShort: the input ends inside a value.
	ErrShort = errors.New("input ends inside a value")
	// ErrMalformed: the input is not what any value encodes to.
	ErrMalformed = errors.New("malformed value")
)

// For returns the codec of T. The error of an unsupported type names the path to
// what is not supported, such as Order.Items[].Done.
func For[T any]() (Codec[T], error) {
	t := reflect.TypeFor[T]()
	b := planner{path: typeName(t)}
	p, err := b.value(t)
	if err != nil {
		return nil, fmt.Errorf("codec of %v: %w", t, err)
	}
	schema := newSchema(t, p.desc)
	if p.memory && p.fixed == int(t.Size()) && p.fixed > 0 {
		return &memoryCodec[T]{schema: schema}, nil
	}
	return &planCodec[T]{plan: p, schema: schema}, nil
}

// planCodec walks the offset plan of T.
type planCodec[T any] struct {
	plan   *plan
	schema Schema
}

func (c *planCodec[T]) Append(dst []byte, v T) []byte {
	if c.plan.reflects {
		kept := v
		return c.plan.append(dst, unsafe.Pointer(&kept))
	}
	return c.plan.append(dst, noescape(unsafe.Pointer(&v)))
}

func (c *planCodec[T]) AppendBatch(dst []byte, vs []T) []byte {
	for i := range vs {
		dst = c.plan.append(dst, unsafe.Pointer(&vs[i]))
	}
	return dst
}

func (c *planCodec[T]) Decode(src []byte) (v T, n int, err error) {
	d := decoder{src: src}
	if c.plan.reflects {
		kept := new(T)
		if err := c.plan.decode(&d, unsafe.Pointer(kept)); err != nil {
			return v, 0, err
		}
		return *kept, d.pos, nil
	}
	if err := c.plan.decode((*decoder)(noescape(unsafe.Pointer(&d))), noescape(unsafe.Pointer(&v))); err != nil {
		var zero T
		return zero, 0, err
	}
	return v, d.pos, nil
}

func (c *planCodec[T]) DecodeBatch(dst []T, src []byte, n int) ([]T, int, error) {
	d := decoder{src: src}
	if c.plan.strings {
		d.text = string(src)
	}
	for range n {
		var zero T
		dst = append(dst, zero)
		if err := c.plan.decode(&d, unsafe.Pointer(&dst[len(dst)-1])); err != nil {
			return dst[:len(dst)-1], d.pos, err
		}
	}
	return dst, d.pos, nil
}

func (c *planCodec[T]) Schema() Schema { return c.schema }
func (c *planCodec[T]) Fixed() int     { return c.plan.fixed }

// memoryCodec copies T as it lies in memory: no padding, no pointers, every byte
// pattern valid, little-endian host.
type memoryCodec[T any] struct{ schema Schema }

func (c *memoryCodec[T]) Append(dst []byte, v T) []byte {
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
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), size), src)
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
	if cap(dst)-from < n {
		dst = append(make([]T, 0, from+n), dst...)
	}
	dst = dst[:from+n]
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[from])), n*size), src)
	return dst, n * size, nil
}

func (c *memoryCodec[T]) Schema() Schema { return c.schema }
func (c *memoryCodec[T]) Fixed() int     { return int(unsafe.Sizeof(*new(T))) }

func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}
