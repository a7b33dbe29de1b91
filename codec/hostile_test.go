package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"
	"time"
)

// allocated is how many bytes f allocates. Other goroutines count too, so callers
// leave room.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allowed bounds what decoding n bytes of an order may allocate: some elements
// before the first is decoded, then a multiple of the input that depends on the
// type only (a string takes 1 byte and 16 in memory, and slices grow by doubling).
func allowed(n int) uint64 { return 64<<10 + 256*uint64(n) }

func hostile() [][]byte {
	ff := bytes.Repeat([]byte{0xff}, 64)
	long := binary.AppendUvarint(nil, math.MaxInt64)
	good := []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x03ann\xff\x01\x00\x00\xc0\x3f")
	return [][]byte{
		nil, ff, long, append(bytes.Clone(good), long...),
		append(bytes.Clone(good), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01), // 11 bytes of length
		append(bytes.Clone(good), 0x80, 0x00),                                                       // padded
		append(append(append(bytes.Clone(good), 0, 1, 0, 2, 0, 3, 0), 0xff, 0xff, 0xff, 0x3f), ff...),
		append(append(bytes.Clone(good), 0, 1, 0, 2, 0, 3, 0, 0, 0xd8, 0x36), bytes.Repeat([]byte{1}, 1<<16)...), // 7,000 pairs, 6,553 there
	}
}

func TestHostileInputIsAnErrorAndAllocatesLittle(t *testing.T) {
	c := mustFor[order](t)
	for i, b := range hostile() {
		grown := allocated(func() {
			if _, _, err := c.Decode(b); !errors.Is(err, ErrShort) && !errors.Is(err, ErrMalformed) {
				t.Errorf("input %d: %v", i, err)
			}
			if _, _, err := c.DecodeBatch(nil, b, 1<<40); !errors.Is(err, ErrShort) {
				t.Errorf("input %d as a batch: %v", i, err)
			}
			if _, _, err := c.DecodeBatch(nil, b, -1); !errors.Is(err, ErrShort) {
				t.Errorf("input %d as a batch of −1: %v", i, err)
			}
		})
		if grown > allowed(len(b)) {
			t.Errorf("input %d of %d bytes allocates %d", i, len(b), grown)
		}
	}
	if _, _, err := mustFor[struct{}](t).DecodeBatch(nil, nil, 1<<50); !errors.Is(err, ErrMalformed) {
		t.Errorf("2^50 values without bytes: %v", err)
	}
	if _, _, err := mustFor[pair](t).DecodeBatch(nil, make([]byte, 31), 2); !errors.Is(err, ErrShort) {
		t.Errorf("31 bytes for two pairs: %v", err)
	}
}

// TestEveryCutIsShort decodes each proper prefix of a value and of a key.
func TestEveryCutIsShort(t *testing.T) {
	c, k := mustFor[order](t), mustKey[compound](t)
	enc := c.Append(nil, order{User: "u", Items: []pair{{1, 2}}, Counts: map[string]int64{"a": 1}, Next: &inner{Tags: []string{"x"}}})
	for n := range enc {
		if _, _, err := c.Decode(enc[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("%d of %d bytes: %v", n, len(enc), err)
		}
	}
	key := k.Append(nil, compound{Name: "a\x00b"})
	for n := range key {
		if _, _, err := k.Decode(key[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("%d of %d bytes of a key: %v", n, len(key), err)
		}
	}
}

func TestMalformed(t *testing.T) {
	malformed := func(name string, err error) {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := mustFor[bool](t).Decode([]byte{2})
	malformed("bool 2", err)
	_, _, err = mustFor[time.Time](t).Decode(bytes.Repeat([]byte{0xff}, 12))
	malformed("2^32 − 1 ns", err)
	_, _, err = mustFor[*int8](t).Decode([]byte{2, 0})
	malformed("pointer mark", err)
	_, _, err = mustFor[map[int8]bool](t).Decode([]byte{2, 1, 0, 0, 0})
	malformed("map out of order", err)
	_, _, err = mustFor[string](t).Decode([]byte{0x81, 0, 'a'})
	malformed("padded length", err)
	_, _, err = mustKey[string](t).Decode([]byte{0, 2})
	malformed("00 02 in a key", err)
	_, _, err = mustKey[float64](t).Decode([]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	malformed("−0 in a key", err)
	_, _, err = mustKey[float32](t).Decode([]byte{0xff, 0xff, 0xff, 0xff})
	malformed("another NaN in a key", err)
}

func FuzzDecodeStruct(f *testing.F) {
	c := mustFor[order](f)
	f.Add(c.Append(nil, order{ID: 1, Items: []pair{{1, 2}}, Counts: map[string]int64{"a": 1}, Next: &inner{Tags: []string{"", "x"}}}))
	for _, b := range hostile() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v order
		var n int
		var err error
		if grown := allocated(func() { v, n, err = c.Decode(b) }); grown > allowed(len(b)) {
			t.Fatalf("%d bytes allocate %d", len(b), grown)
		}
		if err != nil {
			return
		}
		// One value has one encoding, but for keys that a map has twice.
		again := c.Append(nil, v)
		if n > len(b) || len(again) > n || len(again) == n && !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b[:n], v, again)
		}
		vs, m, err := c.DecodeBatch(nil, b, 1)
		if err != nil || m != n || !bytes.Equal(c.AppendBatch(nil, vs), again) {
			t.Fatalf("as a batch: %+v, %d bytes, %v", vs, m, err)
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	k, s := mustKey[compound](f), mustKey[string](f)
	f.Add(k.Append(nil, compound{Name: "a\x00b"}))
	f.Add(k.Append(nil, compound{Name: "n", N: -1, F: math.NaN(), At: time.Unix(1, 2)}))
	f.Add([]byte{0, 0xff, 0, 1, 0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, n, err := k.Decode(b); err == nil && !bytes.Equal(k.Append(nil, v), b[:n]) {
			t.Fatalf("key %x encodes to %x", b[:n], k.Append(nil, v))
		}
		if v, n, err := s.Decode(b); err == nil && (!bytes.Equal(s.Append(nil, v), b[:n]) || s.Hash(v) != HashBytes(b[:n])) {
			t.Fatalf("key %x encodes to %x", b[:n], s.Append(nil, v))
		}
	})
}

func FuzzSchema(f *testing.F) {
	a := mustFor[order](f).Schema()
	f.Add([]byte(a))
	f.Add([]byte(mustKey[compound](f).Schema()))
	f.Add([]byte(NewSchema("x", 3, "struct{A {;}}")))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Schema(b).String()
		if info, err := Schema(b).Parse(); err == nil {
			info.Fields()
			kind := byte(valueSchema)
			if info.Key {
				kind = keySchema
			}
			if s := encodeSchema(kind, info.TypeName, info.Version, info.Description); !bytes.Equal(s, b) {
				t.Fatalf("schema %x encodes to %x", b, []byte(s))
			}
			if c, why := Compatible(b, b); c != AsIs || why != "" {
				t.Fatalf("schema %x with itself: %v %s", b, c, why)
			}
		}
		if c, why := Compatible(b, a); c != AsIs && why == "" {
			t.Fatalf("schema %x: %v without a reason", b, c)
		}
	})
}
