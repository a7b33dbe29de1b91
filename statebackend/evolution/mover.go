package evolution

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirstream/weir/codec"
)

// Mover brings the payload of a value into its state's present schema: it appends that to
// dst.
type Mover func(dst, payload []byte) ([]byte, error)

var errMany = errors.New("list does not hold the elements it counts")

// One makes the mover of payloads that are one value each.
func One[T any](c codec.Codec[T]) func(writer []byte) (Mover, error) {
	return func(writer []byte) (Mover, error) {
		move, err := c.From(writer)
		if err != nil || move == nil {
			return nil, err
		}
		return func(dst, payload []byte) ([]byte, error) {
			dst, n, err := move(dst, payload)
			if err == nil && n != len(payload) {
				err = fmt.Errorf("value takes %d of %d bytes", n, len(payload))
			}
			return dst, err
		}, nil
	}
}

// Many makes the mover of payloads that are lists: a count, then values.
func Many[T any](c codec.Codec[T]) func(writer []byte) (Mover, error) {
	return func(writer []byte) (Mover, error) {
		move, err := c.From(writer)
		if err != nil || move == nil {
			return nil, err
		}
		return func(dst, payload []byte) ([]byte, error) {
			count, w := binary.Uvarint(payload)
			if w <= 0 {
				return dst, errMany
			}
			dst = append(dst, payload[:w]...)
			for payload = payload[w:]; count > 0 && len(payload) > 0; count-- {
				var n int
				var err error
				if dst, n, err = move(dst, payload); err != nil {
					return dst, err
				}
				payload = payload[n:]
			}
			if len(payload) > 0 {
				return dst, errMany
			}
			return dst, nil // a count that is too large is found when the list is read
		}, nil
	}
}
