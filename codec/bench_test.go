package codec

import (
	"testing"
	"time"

	"github.com/zeebo/xxh3"
)

func benchHash[K any](b *testing.B, name string, k K) {
	c := mustKey[K](b)
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		var sum uint64
		for range b.N {
			sum += c.Hash(k)
		}
		_ = sum
	})
}

func BenchmarkKeyHash(b *testing.B) {
	benchHash(b, "uint64", uint64(7))
	benchHash(b, "uint32", uint32(7))
	benchHash(b, "uint8", uint8(7))
	benchHash(b, "string1", "a")
	benchHash(b, "string3", "the")
	benchHash(b, "string5", "w1234")
	benchHash(b, "string8", "w1234567")
	benchHash(b, "string14", "w1234567891234")
	benchHash(b, "string24", "w12345678901234567890123")
	benchHash(b, "bytes16", [16]byte{1})
	benchHash(b, "compound", compound{"w1234567", 1, 2, time.Time{}})
	buf := make([]byte, 8)
	b.Run("library-8-bytes", func(b *testing.B) {
		var sum uint64
		for range b.N {
			sum += xxh3.Hash(buf)
		}
		_ = sum
	})
}

// benchBatch encodes and decodes batches of 512; the figures are for one record.
func benchBatch[T any](b *testing.B, name string, v T) {
	c := mustFor[T](b)
	vs, dst := make([]T, 512), make([]T, 0, 512)
	for i := range vs {
		vs[i] = v
	}
	buf := c.AppendBatch(nil, vs)
	b.Run(name+"/append", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i += 512 {
			buf = c.AppendBatch(buf[:0], vs)
		}
	})
	b.Run(name+"/decode", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i += 512 {
			dst, _, _ = c.DecodeBatch(dst[:0], buf, 512)
		}
	})
	b.Run(name+"/one", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			buf = c.Append(buf[:0], v)
			if _, _, err := c.Decode(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkValue(b *testing.B) {
	benchBatch(b, "pair", pair{1, 2})
	benchBatch(b, "string8", "w1234567")
	benchBatch(b, "word+count", struct {
		Word string
		N    int64
	}{"w1234567", 1})
	benchBatch(b, "4ints+string6", struct {
		A, B, C, D int64
		S          string
	}{1, 2, 3, 4, "abcdef"})
	benchBatch(b, "padded", struct {
		A uint64
		B bool
		T time.Time
	}{1, true, time.Unix(1, 2)})
	benchBatch(b, "slice", struct{ Items []pair }{make([]pair, 4)})
	benchBatch(b, "map", map[string]int64{"a": 1, "b": 2, "c": 3})
}
