package table

import (
	"fmt"

	"github.com/weirstream/weir/codec"
)

// decoder is what codec.Codec and codec.Key have in common here. Decoding copies:
// what is decoded does not refer to b, which is overwritten later.
type decoder[V any] interface {
	Decode(b []byte) (v V, n int, err error)
}

// decodeAll decodes a value that fills b.
func decodeAll[V any](c decoder[V], b []byte) (V, error) {
	v, n, err := c.Decode(b)
	if err == nil && n != len(b) {
		err = fmt.Errorf("value takes %d of %d bytes", n, len(b))
	}
	return v, err
}

// KeyLenOf makes Options.KeyLen from the codec of the operator's key.
func KeyLenOf[K any](c codec.Key[K]) func(b []byte) (int, error) {
	return func(b []byte) (int, error) {
		_, n, err := c.Decode(b)
		return n, err
	}
}
