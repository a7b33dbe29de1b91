package codec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"
)

type (
	celsius float64
	level   uint8
	deep    struct {
		A [3]struct {
			S string
			N int16
		}
		B   [40]string
		C   map[[2]int8]*map[string][]bool
		D   **uint32
		E   []struct{ X, Y float32 }
		F   [][]string
		T   celsius
		L   []level
		Sub *struct{ Bytes [][]byte }
	}
)

// checkRoundTrip draws values of any supported type. Nil and empty slices and maps
// are the same.
func checkRoundTrip[T any](t *testing.T) {
	t.Helper()
	c := mustFor[T](t)
	t.Run(reflect.TypeFor[T]().String(), func(t *testing.T) {
		gen := rapid.Make[T]()
		rapid.Check(t, func(rt *rapid.T) {
			v := gen.Draw(rt, "v")
			enc := c.Append([]byte("head"), v)
			if f := c.Fixed(); f > 0 && len(enc) != 4+f {
				rt.Fatalf("%v takes %d bytes, want %d", v, len(enc)-4, f)
			}
			src := append(bytes.Clone(enc[4:]), "tail"...)
			one, n, err := c.Decode(src)
			if err != nil || n != len(enc)-4 {
				rt.Fatalf("Decode: %d of %d bytes, %v", n, len(enc)-4, err)
			}
			many, m, err := c.DecodeBatch([]T{v}, src, 1)
			if err != nil || m != n || len(many) != 2 {
				rt.Fatalf("DecodeBatch: %d values, %d of %d bytes, %v", len(many), m, n, err)
			}
			clear(src) // what was decoded must not lie in the caller's buffer
			for _, got := range []T{one, many[1]} {
				if d := cmp.Diff(v, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
					rt.Fatalf("round trip: %s", d)
				}
				if again := c.Append(nil, got); !bytes.Equal(again, enc[4:]) {
					rt.Fatalf("%x again is %x", enc[4:], again)
				}
			}
		})
	})
}

func TestRoundTripTypes(t *testing.T) {
	checkRoundTrip[bool](t)
	checkRoundTrip[int8](t)
	checkRoundTrip[int16](t)
	checkRoundTrip[int32](t)
	checkRoundTrip[int64](t)
	checkRoundTrip[int](t)
	checkRoundTrip[uint](t)
	checkRoundTrip[float32](t)
	checkRoundTrip[float64](t)
	checkRoundTrip[string](t)
	checkRoundTrip[[]byte](t)
	checkRoundTrip[[16]byte](t)
	checkRoundTrip[[3]bool](t)
	checkRoundTrip[[]uint32](t)
	checkRoundTrip[[]string](t)
	checkRoundTrip[map[float64]string](t)
	checkRoundTrip[map[int16]map[string]bool](t)
	checkRoundTrip[*celsius](t)
	checkRoundTrip[struct{}](t)
	checkRoundTrip[map[string]struct{}](t)
	checkRoundTrip[pair](t)
	checkRoundTrip[struct {
		A uint8
		B uint64
		C uint32
		D uint32
		E level
	}](t)
	checkRoundTrip[deep](t)
}

// TestMemoryIsCopiedOnlyWhereItIsTheEncoding: padding must not leak into bytes, and
// a bool must be checked.
func TestMemoryIsCopiedOnlyWhereItIsTheEncoding(t *testing.T) {
	copies := func(c any) bool { return reflect.ValueOf(c).Elem().NumField() == 1 } // memoryCodec has only its schema
	for _, c := range []struct {
		codec any
		want  bool
	}{
		{mustFor[pair](t), true}, {mustFor[uint16](t), true}, {mustFor[[4]pair](t), true},
		{mustFor[struct {
			A pair
			B [2]uint32
		}](t), true},
		{mustFor[struct {
			A uint32
			B uint64
		}](t), false},
		{mustFor[struct {
			A uint64
			B uint32
		}](t), false},
		{mustFor[struct {
			A uint8
			B bool
		}](t), false},
		{mustFor[struct {
			A uint64
			B uint64 `weir:"-"`
		}](t), false},
		{mustFor[struct{}](t), false}, {mustFor[time.Time](t), false},
	} {
		if got := copies(c.codec); got != c.want {
			t.Errorf("%T copies memory: %v, want %v", c.codec, got, c.want)
		}
	}
}

// TestTimeKeepsTheInstant and nothing else.
func TestTimeKeepsTheInstant(t *testing.T) {
	c := mustFor[time.Time](t)
	there := time.Date(2024, 5, 6, 7, 8, 9, 10, time.FixedZone("there", 7200))
	got, _, err := c.Decode(c.Append(nil, there))
	if err != nil || !got.Equal(there) || got.Location() != time.UTC {
		t.Errorf("%v came back as %v, %v", there, got, err)
	}
	k := mustKey[time.Time](t)
	if !bytes.Equal(k.Append(nil, there), k.Append(nil, there.UTC())) {
		t.Error("one instant in two locations is two keys")
	}
}

// TestLeftOutFieldsAreZero even in a recycled batch.
func TestLeftOutFieldsAreZero(t *testing.T) {
	type rec struct {
		A     uint64
		Cache *int `weir:"-"`
	}
	c := mustFor[rec](t)
	dst := []rec{{1, new(int)}, {2, new(int)}}
	dst, _, err := c.DecodeBatch(dst[:0], c.AppendBatch(nil, dst), 2)
	if err != nil || dst[0] != (rec{A: 1}) || dst[1] != (rec{A: 2}) {
		t.Errorf("decoded %+v, %v", dst, err)
	}
}

func TestBatchKeepsWhatIsBeforeABadValue(t *testing.T) {
	c := mustFor[string](t)
	got, _, err := c.DecodeBatch([]string{"kept"}, []byte("\x01a\x02b"), 2)
	if err == nil || len(got) != 2 || got[0] != "kept" || got[1] != "a" {
		t.Errorf("decoded %q, %v", got, err)
	}
	large := make([]pair, 2000) // more than a batch makes room for at once
	for i := range large {
		large[i].Key = uint64(i)
	}
	type wide struct {
		P pair
		S string
	}
	w := mustFor[wide](t)
	var enc []byte
	for _, p := range large {
		enc = w.Append(enc, wide{p, fmt.Sprint(p.Key)})
	}
	back, n, err := w.DecodeBatch(nil, enc, len(large))
	if err != nil || n != len(enc) || len(back) != len(large) || back[1999] != (wide{large[1999], "1999"}) {
		t.Errorf("%d values, %d of %d bytes, %v", len(back), n, len(enc), err)
	}
}

// TestStringHashIsXXH3OfTheEncoding over all lengths with a shortcut, and bytes of 0
// at any place.
func TestStringHashIsXXH3OfTheEncoding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 1100 {
		if n > 80 && n%97 != 0 {
			continue
		}
		for range 200 {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32()) | 1
			}
			for range r.IntN(3) * min(n, 1) {
				b[r.IntN(n)] = 0
			}
			if got, want := hashString(string(b)), xxh3.Hash(appendEscaped(nil, string(b))); got != want {
				t.Fatalf("hash of %x is %x, want %x", b, got, want)
			}
		}
	}
}

func TestHashWordIsXXH3(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for width := 1; width <= 8; width++ {
		for range 1000 {
			b := make([]byte, width)
			var w uint64
			for i := range b {
				b[i] = byte(r.Uint32())
				w = w<<8 | uint64(b[i])
			}
			if got, want := HashWord(w, width), xxh3.Hash(b); got != want {
				t.Fatalf("hash of %x is %x, want %x", b, got, want)
			}
		}
	}
}

// TestCollectorSeesHiddenValues: values whose address is hidden from escape
// analysis stay alive, and stay right when the stack moves, while they are encoded
// and decoded.
func TestCollectorSeesHiddenValues(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	c, k := mustFor[order](t), mustKey[compound](t)
	done := make(chan error)
	for g := range 4 {
		go func() { // a fresh goroutine has a small stack that grows below
			for i := range 200 {
				want := order{User: fmt.Sprint("user ", g, i), Raw: fmt.Append(nil, i), Counts: map[string]int64{fmt.Sprint(i): 1},
					Next: &inner{Tags: []string{fmt.Sprint("tag ", i)}}}
				enc := c.Append(nil, want)
				runtime.GC()
				got, _, err := c.Decode(enc)
				if err == nil && !reflect.DeepEqual(got, want) {
					err = fmt.Errorf("decoded %+v, want %+v", got, want)
				}
				if kd, _, kerr := k.Decode(k.Append(nil, compound{Name: fmt.Sprint("name ", i)})); err == nil && (kerr != nil || kd.Name != fmt.Sprint("name ", i)) {
					err = fmt.Errorf("decoded key %+v, %v", kd, kerr)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestStringsOfAShortBatchOutliveIt: a copy of up to 32 bytes that seems to end with
// the call is made on the stack by the compiler, and was.
func TestStringsOfAShortBatchOutliveIt(t *testing.T) {
	c := mustFor[string](t)
	enc := c.AppendBatch(nil, []string{"ab", "cd"})
	first, _, err := c.DecodeBatch(nil, enc, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.DecodeBatch(nil, c.AppendBatch(nil, []string{"xx", "yy"}), 2); err != nil {
		t.Fatal(err)
	}
	if first[0] != "ab" || first[1] != "cd" {
		t.Errorf("strings became %q", first)
	}
}
