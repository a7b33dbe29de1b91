package run

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/stream"
)

// TestOperands: what the entries of one key make, by whether the oldest run is among those
// that are merged.
func TestOperands(t *testing.T) {
	k := "\x00\x01\x00\x00\x00\x02k"
	list := func(schema uint64, s string) string {
		return string(AppendList(nil, Envelope{Kind: kindList}, []Piece{{schema, uint64(len(s)), []byte(s)}}))
	}
	set := func(schema uint64, s string) op { return op{KindSet, k, list(schema, s)} }
	add := func(schema uint64, s string) op { return op{KindMerge, k, list(schema, s)} }
	del := op{KindDelete, k, ""}
	clr := op{KindClear, k, k + "\x00"}
	for _, c := range []struct {
		name   string
		runs   []op // oldest first
		want   string
		kind   Kind // without the oldest run; with it, it is always a SET
		absent bool // nothing is there, with the oldest run
	}{
		{"one", []op{add(0, "a")}, "0a", KindMerge, false},
		{"several, oldest first", []op{add(0, "a"), add(0, "bc"), add(0, "d")}, "0a0b0c0d", KindMerge, false},
		{"over a value", []op{set(0, "a"), add(0, "b"), add(0, "c")}, "0a0b0c", KindSet, false},
		{"over a tombstone", []op{set(0, "x"), del, add(0, "b")}, "0b", KindSet, false},
		{"over a clear", []op{set(0, "x"), clr, add(0, "b")}, "0b", KindSet, false},
		{"under a value", []op{add(0, "x"), set(0, "b")}, "0b", KindSet, false},
		{"under a tombstone", []op{add(0, "x"), del}, "", KindDelete, true},
		{"under a clear", []op{add(0, "x"), clr}, "", 0, true},
		{"under and over", []op{add(0, "x"), clr, add(0, "a"), set(0, "b"), add(0, "c")}, "0b0c", KindSet, false},
		{"of two schemas", []op{set(1, "a"), add(1, "b"), add(2, "c"), add(2, "d"), add(1, "e")}, "1a1b2c2d1e", KindSet, false},
		{"of two schemas alone", []op{add(1, "a"), add(2, "b")}, "1a2b", KindMerge, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			var l List
			for i, o := range c.runs {
				l = append(l, write(t, Options{ID: fmt.Sprint("r", i), FS: fs}, []op{o}))
			}
			for _, oldest := range []bool{true, false} {
				m := Merge(l.iters(t.Context(), LocalOpener(fs, ""), stream.AllKeyGroups), oldest)
				var got *Entry
				for e, ok := m.Next(); ok; e, ok = m.Next() {
					if e.Kind != KindClear {
						got = &Entry{Kind: e.Kind, Value: append([]byte(nil), e.Value...)}
					}
				}
				if m.Err() != nil {
					t.Fatal(m.Err())
				}
				want := c.kind
				if oldest {
					want = KindSet
				}
				if oldest && c.absent || want == 0 {
					if got != nil {
						t.Errorf("oldest %v: kind %d", oldest, got.Kind)
					}
					continue
				}
				if got == nil || got.Kind != want || want != KindDelete && readList(string(got.Value)) != c.want {
					t.Errorf("oldest %v: %+v, want %q of kind %d", oldest, got, c.want, want)
				}
			}
		})
	}
}

// TestJoinRefuses: values that are no lists, or broken ones.
func TestJoinRefuses(t *testing.T) {
	good := "\x02\x00\x01x"
	for name, v := range map[string]string{
		"no envelope":            "",
		"a value":                "\x01\x00x",
		"compressed":             "\x22\x00\x01x",
		"no count":               "\x02\x00",
		"elements, but none":     "\x02\x00\x00x",
		"one piece":              "\x42\x00\x01\x00\x01\x01x",
		"no pieces":              "\x42\x00",
		"fewer pieces":           "\x42\x00\x03\x00\x01\x01x\x01\x01\x01y",
		"more pieces":            "\x42\x00\x02\x00\x01\x01x\x01\x01\x01y\x00\x01\x01z",
		"piece with no elements": "\x42\x00\x02\x00\x01\x01x\x01\x00\x00",
		"twice the same schema":  "\x42\x00\x02\x01\x01\x01x\x01\x01\x01y",
		"piece cut off":          "\x42\x00\x02\x00\x01\x01x\x01\x01\x02y",
		"schema and pieces":      "\x42\x01\x02\x00\x01\x01x\x01\x01\x01y",
		"too many elements":      "\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7fx",
	} {
		for _, values := range [][][]byte{{[]byte(good), []byte(v)}, {[]byte(v), []byte(good)}} {
			if b, err := Join(nil, values...); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %x, %v", name, b, err)
			}
		}
	}
}

// TestJoinTakesTheNewestTime: a joined value has the time of its newest operand.
func TestJoinTakesTheNewestTime(t *testing.T) {
	at := func(ms int64) []byte {
		return append(AppendEnvelope(nil, Envelope{Kind: kindList, HasTime: true, Time: ms}), 1, 'x')
	}
	v, err := Join(nil, at(5), at(3))
	if err != nil {
		t.Fatal(err)
	}
	if e, _, err := DecodeEnvelope(v); err != nil || !e.HasTime || e.Time != 3 {
		t.Fatalf("%+v, %v", e, err)
	}
}
