package codec

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

type shownKey struct {
	A int16
	B string
	C float64
	D [3]uint8
	E time.Time
	F float32
	G bool
}

type shownValue struct {
	Key    uint8
	Minus  int32
	Big    uint64
	Name   string
	Raw    []byte
	List   []shownInner
	None   *int64
	Some   *int64
	Map    map[uint16]string
	At     time.Time
	Half   float32
	NoNum  float64
	Digest [2]byte
	Pair   [2]int8
}

type shownInner struct{ X, Y int8 }

// TestShow: values and keys are shown by their schemas alone.
func TestShow(t *testing.T) {
	seven := int64(7)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	v := shownValue{
		1, -2, math.MaxUint64, "näh", []byte{0xff, 0}, []shownInner{{1, -1}, {2, -2}}, nil, &seven,
		map[uint16]string{3: "c", 1: "a"}, at, 0.5, math.Inf(-1), [2]byte{0xab, 1}, [2]int8{-1, 1},
	}
	show := func(s Schema, b []byte) string {
		x, n, err := s.Show(append(b, 99))
		if err != nil || n != len(b) {
			t.Fatalf("%v: %d of %d bytes, %v", s, n, len(b), err)
		}
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			if _, _, err := s.Show(b[:i]); err == nil {
				t.Errorf("%v: first %d of %d bytes are shown", s, i, len(b))
			}
		}
		return string(text)
	}
	c := mustFor[shownValue](t)
	want := `{"Key":1,"Minus":-2,"Big":18446744073709551615,"Name":"näh","Raw":"/wA=","List":[{"X":1,"Y":-1},{"X":2,"Y":-2}],"None":null,"Some":7,` +
		`"Map":{"1":"a","3":"c"},"At":"2026-01-02T03:04:05.000000006Z","Half":0.5,"NoNum":"-Inf","Digest":"ab01","Pair":[-1,1]}`
	if got := show(c.Schema(), c.Append(nil, v)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	k := mustKey[shownKey](t)
	want = `{"A":-5,"B":"a\u0000b","C":-1.5,"D":"010203","E":"2026-01-02T03:04:05.000000006Z","F":2.5,"G":true}`
	if got := show(k.Schema(), k.Append(nil, shownKey{-5, "a\x00b", -1.5, [3]uint8{1, 2, 3}, at, 2.5, true})); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// FuzzShow: no schema and no bytes make Show panic, or say that it took more than there is.
func FuzzShow(f *testing.F) {
	c, k := mustFor[shownValue](f), mustKey[shownKey](f)
	f.Add([]byte(c.Schema()), c.Append(nil, shownValue{Name: "x", Map: map[uint16]string{1: "a"}}))
	f.Add([]byte(k.Schema()), k.Append(nil, shownKey{B: "a\x00b", C: -1.5}))
	f.Add([]byte(NewSchema("T", 1, "[]struct{A [3]*map[string]@n/1(custom);B proto(p){1 string}}")), []byte{1, 1, 0})
	f.Fuzz(func(t *testing.T, schema, b []byte) {
		v, n, err := Schema(schema).Show(b)
		if n > len(b) {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
		if err == nil {
			if _, err := json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
	})
}
