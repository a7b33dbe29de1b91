package codec

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"
)

type pair struct {
	Key   uint64
	Value int64
}

type inner struct {
	At   time.Time
	Tags []string
}

type order struct {
	ID      uint64
	User    string
	Small   int8
	Flag    bool
	Rate    float32
	Raw     []byte
	Grid    [3]int16
	Items   []pair
	Counts  map[string]int64
	Next    *inner
	Skipped func() `weir:"-"`
	inner2
}

type inner2 struct{ Depth uint32 }

func mustFor[T any](t testing.TB) Codec[T] {
	t.Helper()
	c, err := For[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustKey[K any](t testing.TB) Key[K] {
	t.Helper()
	k, err := ForKey[K]()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func genOrder() *rapid.Generator[order] {
	return rapid.Custom(func(t *rapid.T) order {
		o := order{
			ID: rapid.Uint64().Draw(t, "id"), User: rapid.String().Draw(t, "user"),
			Small: rapid.Int8().Draw(t, "small"), Flag: rapid.Bool().Draw(t, "flag"), Rate: rapid.Float32().Draw(t, "rate"),
			Grid:   [3]int16{1, -2, rapid.Int16().Draw(t, "grid")},
			inner2: inner2{rapid.Uint32().Draw(t, "depth")},
		}
		if b := rapid.SliceOf(rapid.Byte()).Draw(t, "raw"); len(b) > 0 {
			o.Raw = b
		}
		for range rapid.IntRange(0, 100).Draw(t, "items") {
			o.Items = append(o.Items, pair{rapid.Uint64().Draw(t, "k"), rapid.Int64().Draw(t, "v")})
		}
		if m := rapid.MapOf(rapid.String(), rapid.Int64()).Draw(t, "counts"); len(m) > 0 {
			o.Counts = m
		}
		if rapid.Bool().Draw(t, "next") {
			o.Next = &inner{At: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "at"), 5).UTC(), Tags: []string{"a", ""}}
		}
		return o
	})
}

func TestRoundTripStruct(t *testing.T) {
	c := mustFor[order](t)
	rapid.Check(t, func(rt *rapid.T) {
		vs := rapid.SliceOfN(genOrder(), 0, 5).Draw(rt, "orders")
		var enc []byte
		for _, v := range vs {
			enc = c.Append(enc, v)
		}
		if batch := c.AppendBatch(nil, vs); !bytes.Equal(batch, enc) {
			rt.Fatalf("AppendBatch differs from Append: %x, %x", batch, enc)
		}
		src := bytes.Clone(enc)
		got, n, err := c.DecodeBatch(nil, src, len(vs))
		if err != nil || n != len(enc) {
			rt.Fatalf("DecodeBatch: %d of %d bytes, %v", n, len(enc), err)
		}
		for i := range src { // what was decoded must not lie in the caller's buffer
			src[i] = 0xdb
		}
		for i := range vs {
			if !reflect.DeepEqual(got[i], vs[i]) {
				rt.Fatalf("decoded %+v, want %+v", got[i], vs[i])
			}
			one, n, err := c.Decode(enc)
			if err != nil || !reflect.DeepEqual(one, vs[i]) {
				rt.Fatalf("Decode: %+v, %v, want %+v", one, err, vs[i])
			}
			enc = enc[n:]
		}
	})
}

func TestZeroTimeAndNegativeZeroRoundTrip(t *testing.T) {
	c := mustFor[time.Time](t)
	for _, want := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Unix(-5, 999_999_999).UTC(), time.Date(9999, 1, 2, 3, 4, 5, 6, time.UTC)} {
		got, _, err := c.Decode(c.Append(nil, want))
		if err != nil || got != want {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
}

func TestUnsupportedTypesNameThePath(t *testing.T) {
	type item struct{ Done chan int }
	type hidden struct{ secret int }
	type loop struct{ Next *loop }
	_, err1 := For[struct{ Items []item }]()
	_, err2 := For[hidden]()
	_, err3 := For[loop]()
	_, err4 := ForKey[*int]()
	_, err5 := ForKey[struct{ Inner any }]()
	_, err6 := ForKey[[0]int]()
	_, err7 := For[struct {
		inner2
		Depth uint32
	}]()
	_, err8 := For[map[struct{ P *int }]int]()
	_, err9 := For[[]struct{}]()
	_, err10 := ForKey[struct {
		A int
		B int `weir:"-"`
	}]()
	_, err11 := For[any]()
	_, err12 := ForKey[map[int]int]()
	for _, c := range []struct {
		err  error
		want string
	}{
		{err1, ".Items[].Done has type chan int"}, {err2, "hidden.secret"}, {err3, "contains itself"},
		{err4, "cannot be (part of) a key"}, {err5, ".Inner has type interface"}, {err6, "no bytes"},
		{err7, "two fields named Depth"}, {err8, "{key}.P has type *int"}, {err9, "take no bytes"}, {err10, ".B is not exported or left out"},
		{err11, "has type interface"}, {err12, "cannot be"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("error %v does not say %q", c.err, c.want)
		}
	}
	_ = hidden{secret: 1}
}

func TestHash8IsXXH3(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := rapid.Uint64().Draw(rt, "word")
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], w)
		if got, want := hash8(w), xxh3.Hash(b[:]); got != want {
			rt.Fatalf("hash8(%x) = %x, want %x", w, got, want)
		}
	})
}

type compound struct {
	Name string
	N    int32
	F    float64
	At   time.Time
}

type (
	namedText  string
	namedInt   int16
	wordStruct struct {
		A int16
		B uint32
		_ [3]byte
		C bool
	}
)

// checkOrder is A7: encoded keys order as the values do, are equal only for equal
// values, decode back, and a pair of keys parses back from its concatenation.
func checkOrder[K any](t *testing.T, gen *rapid.Generator[K], less func(a, b K) bool) {
	t.Helper()
	k := mustKey[K](t)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := gen.Draw(rt, "a"), gen.Draw(rt, "b")
		ea, eb := k.Append(nil, a), k.Append(nil, b)
		if got := bytes.Compare(ea, eb) < 0; got != less(a, b) {
			rt.Fatalf("order of %v, %v: encoded %x, %x", a, b, ea, eb)
		}
		if !bytes.Equal(ea, eb) && (bytes.HasPrefix(ea, eb) || bytes.HasPrefix(eb, ea)) {
			rt.Fatalf("one of %x, %x begins the other", ea, eb)
		}
		src := append(bytes.Clone(ea), eb...)
		da, n, err := k.Decode(src)
		if err != nil || n != len(ea) {
			rt.Fatalf("decode %x: %v, %d bytes, %v", ea, da, n, err)
		}
		db, n, err := k.Decode(src[n:])
		if err != nil || n != len(eb) {
			rt.Fatalf("decode %x, second: %v, %d bytes, %v", src, db, n, err)
		}
		for i := range src { // what was decoded must not lie in the caller's buffer
			src[i] = 0xdb
		}
		if !bytes.Equal(k.Append(nil, da), ea) || !bytes.Equal(k.Append(nil, db), eb) {
			rt.Fatalf("decoded %v, %v from %x, %x", da, db, ea, eb)
		}
		if e, h := k.AppendHash([]byte("x"), a); !bytes.Equal(e[1:], ea) || h != xxh3.Hash(ea) || k.Hash(a) != h {
			rt.Fatalf("hash of %x", ea)
		}
		if w := k.WordWidth(); w > 0 {
			if len(ea) != w || !bytes.Equal(k.Append(nil, k.FromWord(k.Word(a))), ea) || HashWord(k.Word(a), w) != k.Hash(a) {
				rt.Fatalf("word of %x: %x", ea, k.Word(a))
			}
		}
	})
}

func TestKeyOrder(t *testing.T) {
	checkOrder(t, rapid.Uint64(), func(a, b uint64) bool { return a < b })
	checkOrder(t, rapid.Int64(), func(a, b int64) bool { return a < b })
	checkOrder(t, rapid.Int(), func(a, b int) bool { return a < b })
	checkOrder(t, rapid.Int8(), func(a, b int8) bool { return a < b })
	checkOrder(t, rapid.Uint16(), func(a, b uint16) bool { return a < b })
	checkOrder(t, rapid.Int32(), func(a, b int32) bool { return a < b })
	checkOrder(t, rapid.Bool(), func(a, b bool) bool { return !a && b })
	checkOrder(t, rapid.Float64(), func(a, b float64) bool { return a < b })
	checkOrder(t, rapid.Float32(), func(a, b float32) bool { return a < b })
	zeroBytes := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0xff, 'a'}), 0, 6)
	zeros := rapid.Map(zeroBytes, func(b []byte) string { return string(b) })
	checkOrder(t, zeros, func(a, b string) bool { return a < b })
	checkOrder(t, zeroBytes, func(a, b []byte) bool { return bytes.Compare(a, b) < 0 })
	checkOrder(t, rapid.String(), func(a, b string) bool { return a < b })
	checkOrder(t, rapid.Map(rapid.String(), func(s string) namedText { return namedText(s) }), func(a, b namedText) bool { return a < b })
	checkOrder(t, rapid.Map(rapid.Int16(), func(n int16) namedInt { return namedInt(n) }), func(a, b namedInt) bool { return a < b })
	checkOrder(t, rapid.Make[[16]byte](), func(a, b [16]byte) bool { return bytes.Compare(a[:], b[:]) < 0 })
	checkOrder(t, rapid.Make[[3]int16](), func(a, b [3]int16) bool { return slices.Compare(a[:], b[:]) < 0 })
	checkOrder(t, rapid.Map(rapid.SliceOfN(zeros, 20, 20), func(s []string) [20]string { return [20]string(s) }),
		func(a, b [20]string) bool { return slices.Compare(a[:], b[:]) < 0 })
	checkOrder(t, rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64().Draw(t, "sec")-secondsToYear1, rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	}), time.Time.Before)
	checkOrder(t, rapid.Make[wordStruct](), func(a, b wordStruct) bool {
		return a.A < b.A || a.A == b.A && (a.B < b.B || a.B == b.B && !a.C && b.C)
	})
	checkOrder(t, rapid.Custom(func(t *rapid.T) compound {
		return compound{zeros.Draw(t, "s"), rapid.Int32Range(-2, 2).Draw(t, "n"), float64(rapid.IntRange(-1, 1).Draw(t, "f")), time.Unix(rapid.Int64Range(-2, 2).Draw(t, "t"), 0).UTC()}
	}), func(a, b compound) bool {
		switch {
		case a.Name != b.Name:
			return a.Name < b.Name
		case a.N != b.N:
			return a.N < b.N
		case a.F != b.F:
			return a.F < b.F
		}
		return a.At.Before(b.At)
	})
}

func TestFloatKeysAreNormalised(t *testing.T) {
	k := mustKey[float64](t)
	zero := 0.0
	if !bytes.Equal(k.Append(nil, zero), k.Append(nil, -zero*1)) || !bytes.Equal(k.Append(nil, 1/(-1/zero)), k.Append(nil, 0)) {
		t.Error("−0 and 0 differ")
	}
	nan := zero / zero
	if !bytes.Equal(k.Append(nil, nan), k.Append(nil, -nan)) {
		t.Error("two NaNs")
	}
}

func TestSchemaCompatibility(t *testing.T) {
	a, b := mustFor[pair](t).Schema(), mustFor[order](t).Schema()
	if c, why := Compatible(a, a); c != AsIs || why != "" {
		t.Errorf("same: %v %q", c, why)
	}
	if c, why := Compatible(a, b); c != Incompatible || !strings.Contains(why, "no field of the stored struct{Key") {
		t.Errorf("different: %v %q", c, why)
	}
	if c, why := Compatible(encodeSchema(valueSchema, "x", 1, "d"), encodeSchema(valueSchema, "x", 2, "d")); c != Incompatible || !strings.Contains(why, "version 1") {
		t.Errorf("versions: %v %q", c, why)
	}
	type pair2 struct {
		Value int32
		Key   uint64
		Extra string
	}
	c, why := Compatible(a, mustFor[pair2](t).Schema())
	if want := "field Value is stored as int64, the program has int32"; c != Incompatible || why != want {
		t.Errorf("fields: %v %q, want %q", c, why, want)
	}
	type swapped struct {
		Value int64
		Key   uint64
	}
	if c, why := Compatible(a, mustFor[swapped](t).Schema()); c != Migrate || why != "the fields of swapped have another order" {
		t.Errorf("order: %v %q", c, why)
	}
	if c, why := Compatible(a, mustKey[pair](t).Schema()); c != Incompatible || !strings.Contains(why, "of a key") {
		t.Errorf("key and value: %v %q", c, why)
	}
	type alike struct {
		Key   uint
		Value int
	}
	if c, _ := Compatible(a, mustFor[alike](t).Schema()); c != AsIs {
		t.Errorf("the same layout under another name: %v", c)
	}
	if c, _ := Compatible(a[:3], a); c != Incompatible {
		t.Errorf("damaged: %v", c)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4096)
	pc, oc := mustFor[pair](t), mustFor[struct {
		A uint64
		B string
		C bool
	}](t)
	uk, sk, ck := mustKey[uint64](t), mustKey[string](t), mustKey[compound](t)
	dst := make([]pair, 0, 8)
	pairs := []pair{{1, 2}, {3, 4}}
	enc := pc.AppendBatch(nil, pairs)
	wc, lc, wk, ak := mustFor[wordStruct](t), mustFor[string](t), mustKey[wordStruct](t), mustKey[[16]byte](t)
	encPadded, encKey := wc.Append(nil, wordStruct{A: 1}), uk.Append(nil, 1)
	longText := strings.Repeat("x", 1000)
	lines, encLines := make([]string, 0, 8), lc.AppendBatch(nil, []string{"a", "b"})
	for name, f := range map[string]func(){
		"append pair": func() { buf = pc.Append(buf[:0], pair{1, 2}) },
		"append struct": func() {
			buf = oc.Append(buf[:0], struct {
				A uint64
				B string
				C bool
			}{1, "b", true})
		},
		"decode batch":    func() { dst, _, _ = pc.DecodeBatch(dst[:0], enc, 2) },
		"hash uint64":     func() { uk.Hash(7) },
		"hash string":     func() { sk.Hash("12345678") },
		"hash compound":   func() { ck.Hash(compound{Name: "n"}) },
		"append padded":   func() { buf = wc.Append(buf[:0], wordStruct{A: 1}) },
		"decode pair":     func() { pc.Decode(enc) },
		"decode padded":   func() { wc.Decode(encPadded) },
		"append batch":    func() { buf = pc.AppendBatch(buf[:0], pairs) },
		"decode strings":  func() { lines, _, _ = lc.DecodeBatch(lines[:0], encLines, 0) },
		"word":            func() { wk.FromWord(wk.Word(wordStruct{A: 1})) },
		"hash struct":     func() { wk.Hash(wordStruct{A: 1}) },
		"hash array":      func() { ak.Hash([16]byte{1}) },
		"hash longer":     func() { sk.Hash(longText) },
		"hash long":       func() { sk.Hash("a string key that is longer than sixteen bytes") },
		"decode key":      func() { uk.Decode(encKey) },
		"append+hash key": func() { buf, _ = sk.AppendHash(buf[:0], "12345678") },
		"append string":   func() { buf = sk.Append(buf[:0], "12345678") },
		"append compound": func() { buf = ck.Append(buf[:0], compound{Name: "n"}) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { lines, _, _ = lc.DecodeBatch(lines[:0], encLines, 2) }); n > 1 {
		t.Errorf("decode batch of strings: %v allocations, want the one copy", n)
	}
}
