package codec

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/golden.v1.txt anew: only before a release has persisted it")

// golden collects lines of name and bytes, and checks that the bytes decode back.
type golden struct {
	t     *testing.T
	lines []string
}

func goldenValue[T any](g *golden, name string, v T) {
	g.t.Helper()
	goldenIn(g, nil, name, v)
}

func goldenIn[T any](g *golden, types *Types, name string, v T) {
	g.t.Helper()
	c, err := In[T](types)
	if err != nil {
		g.t.Fatal(err)
	}
	enc := c.Append(nil, v)
	if got, n, err := c.Decode(enc); err != nil || n != len(enc) || !reflect.DeepEqual(got, v) {
		g.t.Errorf("%s: %x decodes to %v, %d bytes, %v, want %v", name, enc, got, n, err, v)
	}
	g.lines = append(g.lines, fmt.Sprintf("%s %x", name, enc), fmt.Sprintf("%s-schema %x", name, []byte(c.Schema())))
}

func goldenKey[K any](g *golden, name string, v K) {
	g.t.Helper()
	k := mustKey[K](g.t)
	enc := k.Append(nil, v)
	if got, n, err := k.Decode(enc); err != nil || n != len(enc) || !reflect.DeepEqual(got, v) {
		g.t.Errorf("%s: %x decodes to %v, %d bytes, %v, want %v", name, enc, got, n, err, v)
	}
	g.lines = append(g.lines, fmt.Sprintf("key-%s %x hash %016x", name, enc, k.Hash(v)), fmt.Sprintf("key-%s-schema %x", name, []byte(k.Schema())))
}

// TestGolden holds version 1 of all layouts for ever.
func TestGolden(t *testing.T) {
	g := &golden{t: t}
	at := time.Unix(10, 20).UTC()
	goldenValue(g, "bool", true)
	goldenValue(g, "int8", int8(-2))
	goldenValue(g, "int16", int16(-2))
	goldenValue(g, "int32", int32(-2))
	goldenValue(g, "int64", int64(-2))
	goldenValue(g, "int", -2)
	goldenValue(g, "uint8", uint8(2))
	goldenValue(g, "uint16", uint16(258))
	goldenValue(g, "uint32", uint32(258))
	goldenValue(g, "uint64", uint64(258))
	goldenValue(g, "uint", uint(258))
	goldenValue(g, "float32", float32(-1.5))
	goldenValue(g, "float64", -1.5)
	goldenValue(g, "string", "aé\x00")
	goldenValue(g, "string-long", strings.Repeat("x", 130))
	goldenValue(g, "bytes", []byte{0, 255})
	goldenValue(g, "time", at)
	goldenValue(g, "time-zero", time.Time{})
	goldenValue(g, "time-early", time.Date(-3, 1, 2, 3, 4, 5, 6, time.UTC))
	goldenValue(g, "array", [2]string{"a", "b"})
	goldenValue(g, "array-bytes", [4]byte{1, 2, 3, 4})
	goldenValue(g, "slice", []int16{1, -1})
	goldenValue(g, "slice-nil", []string(nil))
	goldenValue(g, "map", map[string]bool{"b": true, "a": false, "": true})
	goldenValue(g, "map-int", map[int16]uint8{256: 1, 2: 2}) // by bytes: 256 is 00 01
	one := int32(1)
	goldenValue(g, "pointer", &one)
	goldenValue(g, "pointer-nil", (*int32)(nil))
	goldenValue(g, "empty", struct{}{})
	goldenValue(g, "padded", struct {
		A uint8
		B uint64
		C bool
	}{1, 2, true})
	goldenValue(g, "pair", pair{1, -1})
	goldenValue(g, "order", order{
		ID: 1, User: "ann", Small: -1, Flag: true, Rate: 1.5, Raw: []byte{9, 0}, Grid: [3]int16{1, 2, 3},
		Items: []pair{{7, -7}}, Counts: map[string]int64{"b": 2, "a": 1}, Next: &inner{At: at, Tags: []string{"x"}},
		inner2: inner2{4},
	})
	goldenKeys(g)
	goldenNamed(g)
	g.compare("testdata/golden.v1.txt")
}

func goldenNamed(g *golden) {
	types := billTypes(g.t)
	if err := types.Add(Custom("money", 2, decimalCoder{}, Old(1, decimalCoderV1{}.Decode))); err != nil {
		g.t.Fatal(err)
	}
	goldenIn(g, types, "named", bill{150, "ann"})
	goldenIn(g, types, "custom", decimal{305})
	goldenIn(g, types, "custom-nested", map[string]decimal{"a": {1}, "b": {2}})
	goldenValue(g, "tags", struct {
		A int8 `weir:"name=B,was=C,was=D"`
	}{1})
	goldenValue(g, "proto-nil", (*timestamppb.Timestamp)(nil))
	c := mustFor[*timestamppb.Timestamp](g.t)
	g.lines = append(g.lines, fmt.Sprintf("proto %x", c.Append(nil, &timestamppb.Timestamp{Seconds: 5, Nanos: 6})))
}

func goldenKeys(g *golden) {
	goldenKey(g, "bool", true)
	goldenKey(g, "int8", int8(-2))
	goldenKey(g, "int16", int16(-2))
	goldenKey(g, "int32", int32(-2))
	goldenKey(g, "int64", int64(-2))
	goldenKey(g, "int", 2)
	goldenKey(g, "uint8", uint8(2))
	goldenKey(g, "uint16", uint16(258))
	goldenKey(g, "uint32", uint32(258))
	goldenKey(g, "uint64", uint64(258))
	goldenKey(g, "uint", uint(258))
	goldenKey(g, "float32", float32(-1.5))
	goldenKey(g, "float64", 1.5)
	goldenKey(g, "float64-negative", -1.5)
	goldenKey(g, "string", "ann")
	goldenKey(g, "string-empty", "")
	goldenKey(g, "string-zero", "a\x00b")
	goldenKey(g, "string-long", strings.Repeat("x", 300))
	goldenKey(g, "bytes", []byte{0, 1, 255})
	goldenKey(g, "time", time.Unix(10, 20).UTC())
	goldenKey(g, "time-zero", time.Time{})
	goldenKey(g, "array", [2]int16{1, -1})
	goldenKey(g, "array-bytes", [16]byte{1, 15: 2})
	goldenKey(g, "compound", compound{"n", 1, 2, time.Unix(3, 4).UTC()})
}

// compare holds the lines against the file.
func (g *golden) compare(file string) {
	t := g.t
	got := []byte(strings.Join(g.lines, "\n") + "\n")
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		have := strings.Split(string(want), "\n")
		for i, l := range g.lines {
			if i >= len(have) || have[i] != l {
				t.Errorf("layout changed: line %d is now\n%s", i+1, l)
			}
		}
		t.Errorf("%d lines, want %d", len(g.lines), len(have)-1)
	}
}
