package statetest

import (
	"math/rand/v2"

	"github.com/weirstream/weir/codec"
)

// layouts is how a version of the program keeps its numbers and texts: the world is
// started again with another one, so that states hold values of several schemas.
type layouts struct {
	num  codec.Codec[int64]
	text codec.Codec[string]
}

// kept is what is stored of a value in the first version, and what later ones make of it.
type (
	kept[V any]     struct{ V V }
	keptNote[V any] struct {
		Note string
		V    V
	}
	keptMore[V any] struct {
		Flags [3]bool
		V     V `weir:"name=Value,was=V"`
		Rest  []int32
	}
)

// versions: in the third one the value has another name, so nothing goes back from it to
// the others; a fresh start begins with any.
var versions = []layouts{
	{of(func(v int64) kept[int64] { return kept[int64]{v} }, func(s kept[int64]) int64 { return s.V }),
		of(func(v string) kept[string] { return kept[string]{v} }, func(s kept[string]) string { return s.V })},
	{of(func(v int64) keptNote[int64] { return keptNote[int64]{"note", v} }, func(s keptNote[int64]) int64 { return s.V }),
		of(func(v string) keptNote[string] { return keptNote[string]{"", v} }, func(s keptNote[string]) string { return s.V })},
	{of(func(v int64) keptMore[int64] { return keptMore[int64]{V: v, Rest: []int32{1}} }, func(s keptMore[int64]) int64 { return s.V }),
		of(func(v string) keptMore[string] { return keptMore[string]{V: v} }, func(s keptMore[string]) string { return s.V })},
	{must(codec.For[int64]()), must(codec.For[string]())},
}

// next is the version that follows v: one of the first two goes to any of the first
// three, the others stay.
func next(r *rand.Rand, v int) int {
	if v < 2 {
		return r.IntN(3)
	}
	return v
}

// storedAs is the codec of V that stores an S.
type storedAs[V, S any] struct {
	codec.Codec[S]
	to   func(V) S
	back func(S) V
}

func of[V, S any](to func(V) S, back func(S) V) codec.Codec[V] {
	return &storedAs[V, S]{must(codec.For[S]()), to, back}
}

// Append implements codec.Codec, and so do those below.
func (c *storedAs[V, S]) Append(dst []byte, v V) []byte { return c.Codec.Append(dst, c.to(v)) }

func (c *storedAs[V, S]) Decode(src []byte) (v V, n int, err error) {
	s, n, err := c.Codec.Decode(src)
	return c.back(s), n, err
}

func (c *storedAs[V, S]) AppendBatch(dst []byte, vs []V) []byte {
	for _, v := range vs {
		dst = c.Append(dst, v)
	}
	return dst
}

func (c *storedAs[V, S]) DecodeBatch(dst []V, src []byte, n int) (_ []V, read int, err error) {
	for range n {
		v, k, err := c.Decode(src[read:])
		if err != nil {
			return dst, read, err
		}
		dst, read = append(dst, v), read+k
	}
	return dst, read, nil
}
