package table

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/codec"
)

var errShort = errors.New("short")

// Small codecs of the tests: the table's own, so that it is tested apart from
// package codec.
type int64Codec struct{ codec.Codec[int64] }

func (int64Codec) Append(dst []byte, v int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(v))
}

func (int64Codec) Decode(b []byte) (int64, int, error) {
	if len(b) < 8 {
		return 0, 0, errShort
	}
	return int64(binary.LittleEndian.Uint64(b)), 8, nil
}

type stringCodec struct{ codec.Codec[string] }

func (stringCodec) Append(dst []byte, v string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

func (stringCodec) Decode(b []byte) (string, int, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", 0, errShort
	}
	return string(b[w : w+int(n)]), w + int(n), nil
}

type stringKey struct{ codec.Key[string] }

func (stringKey) Append(dst []byte, v string) []byte {
	for i := range len(v) {
		if dst = append(dst, v[i]); v[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, 1)
}

func (stringKey) Decode(b []byte) (string, int, error) {
	var s []byte
	for i := 0; i+1 < len(b); i++ {
		if b[i] != 0 {
			s = append(s, b[i])
			continue
		}
		if i++; b[i] == 1 {
			return string(s), i + 1, nil
		}
		s = append(s, 0)
	}
	return "", 0, errShort
}

func (k stringKey) Hash(v string) uint64 { return xxh3.Hash(k.Append(nil, v)) }
