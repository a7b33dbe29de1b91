package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/weirstream/weir/statebackend"
)

// TestLayout holds the layout of format 2, byte by byte.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		e    Head
		want string
	}{
		{Head{Kind: 1}, "0100"},
		{Head{Kind: 3, Schema: 300}, "03ac02"},
		{Head{Kind: 6, HasTime: true, Time: 5}, "16008000000000000005"},
		{Head{Kind: 1, HasTime: true, Compressed: true, Time: -1, Schema: 1}, "31017fffffffffffffff"},
		{Head{Kind: 2, HasTime: true, Pieces: true}, "52008000000000000000"},
	} {
		b := Append(nil, c.e)
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("%+v: %s, want %s", c.e, got, c.want)
		}
		e, payload, err := Decode(append(b, "rest"...))
		if err != nil || e != c.e || string(payload) != "rest" {
			t.Errorf("%+v: decoded %+v %q %v", c.e, e, payload, err)
		}
	}
	pieces := []Piece{{1, 2, []byte("ab")}, {1, 1, []byte("c")}, {0, 0, nil}, {300, 1, []byte("de")}}
	if got := hex.EncodeToString(AppendList(nil, Head{Kind: 2}, pieces)); got != "4200"+"02"+"010303616263"+"ac0201026465" {
		t.Errorf("list in pieces: %s", got)
	}
	if got := hex.EncodeToString(AppendList(nil, Head{Kind: 2}, pieces[:3])); got != "0201"+"03616263" {
		t.Errorf("list: %s", got)
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
			if b, err := Join(nil, values...); !errors.Is(err, statebackend.ErrCorrupt) {
				t.Errorf("%s: %x, %v", name, b, err)
			}
		}
	}
}

// TestJoinTakesTheNewestTime: a joined value has the time of its newest operand.
func TestJoinTakesTheNewestTime(t *testing.T) {
	at := func(ms int64) []byte {
		return append(Append(nil, Head{Kind: kindList, HasTime: true, Time: ms}), 1, 'x')
	}
	v, err := Join(nil, at(5), at(3))
	if err != nil {
		t.Fatal(err)
	}
	if e, _, err := Decode(v); err != nil || !e.HasTime || e.Time != 3 {
		t.Fatalf("%+v, %v", e, err)
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("\x01\x00x"))
	f.Add([]byte{0x31, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x10, 0})
	f.Add([]byte{0xc0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, payload, err := Decode(b)
		if err != nil {
			if !errors.Is(err, statebackend.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got := append(Append(nil, e), payload...); !bytes.Equal(got, b) {
			t.Fatalf("%x: %+v encodes as %x", b, e, got)
		}
	})
}

// FuzzJoin: values of any bytes are refused or joined, and a joined value splits into what
// the others had.
func FuzzJoin(f *testing.F) {
	f.Add([]byte("\x02\x00\x01x"), []byte("\x02\x01\x02yz"))
	f.Add([]byte("\x42\x00\x02\x00\x01\x01x\x01\x01\x01y"), []byte("\x12\x01\x80\x00\x00\x00\x00\x00\x00\x05\x01z"))
	f.Add([]byte("\x02\x00\x00"), []byte("\x02\x00\x00"))
	f.Add([]byte("\x42\x00\x01\x00\x01\x01x"), []byte("\x01\x00x"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		joined, err := Join(nil, a, b)
		if err != nil {
			if !errors.Is(err, statebackend.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		split := func(values ...[]byte) (all []Piece) {
			for _, v := range values {
				e, payload, err := Decode(v)
				if err != nil {
					t.Fatal(err)
				}
				pieces, err := Split(nil, e, payload)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range pieces {
					if n := len(all); n > 0 && all[n-1].Schema == p.Schema {
						all[n-1].Count += p.Count
						all[n-1].Elements = slices.Concat(all[n-1].Elements, p.Elements)
					} else if p.Count > 0 {
						all = append(all, p)
					}
				}
			}
			return all
		}
		same := func(x, y Piece) bool {
			return x.Schema == y.Schema && x.Count == y.Count && bytes.Equal(x.Elements, y.Elements)
		}
		if got, want := split(joined), split(a, b); !slices.EqualFunc(got, want, same) {
			t.Fatalf("%x and %x make %x: %+v, want %+v", a, b, joined, got, want)
		}
	})
}
