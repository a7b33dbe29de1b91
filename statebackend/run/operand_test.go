package run

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

const kindList = uint8(metapb.StateKind_STATE_KIND_LIST)

// TestOperands: what the entries of one key make, by whether the oldest run is among those
// that are merged.
func TestOperands(t *testing.T) {
	k := "\x00\x01\x00\x00\x00\x02k"
	list := func(schema uint64, s string) string {
		return string(envelope.AppendList(nil, envelope.Head{Kind: kindList}, []envelope.Piece{{Schema: schema, Count: uint64(len(s)), Elements: []byte(s)}}))
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
