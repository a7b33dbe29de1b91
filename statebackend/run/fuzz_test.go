package run

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

func FuzzProperties(f *testing.F) {
	p := properties{ID: "e1.n1-0", Number: 3, Points: 7, Operands: 2, Schemas: []Schema{{5, []byte("schema")}, {1 << 31, nil}}}
	b := p.append(nil)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{3})
	f.Add(append([]byte{1}, b[1:]...))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProperties(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		again, err := decodeProperties(p.append(nil))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v, again %+v, %v", p, again, err)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("\x01\x00x"))
	f.Add([]byte{0x31, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x10, 0})
	f.Add([]byte{0xc0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, payload, err := DecodeEnvelope(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got := append(AppendEnvelope(nil, e), payload...); !bytes.Equal(got, b) {
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
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		split := func(values ...[]byte) (all []Piece) {
			for _, v := range values {
				e, payload, err := DecodeEnvelope(v)
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

// FuzzTable: any bytes under a manifest that agrees with them are refused or read,
// without a panic.
func FuzzTable(f *testing.F) {
	r, content, _, _ := small(f, 1, Options{ID: "e1.n1-7"})
	f.Add(content, uint32(r.Files[0].TailSize))
	f.Add(content[:200], uint32(100))
	f.Fuzz(func(t *testing.T, b []byte, tail uint32) {
		if len(b) == 0 {
			return
		}
		tail = tail%uint32(len(b)) + 1
		r := r
		r.Files = []File{{
			Name: "x", Size: int64(len(b)), TailSize: int64(tail), TailDigest: digest(b[len(b)-int(tail):]), Digest: digest(b),
			Smallest: []byte{0, 0}, Largest: []byte{0xff, 0xff, 0xff},
		}}
		open := func(context.Context, string) (objstore.Reader, error) { return objstore.BytesReader(b), nil }
		it := NewIter(t.Context(), r, open, stream.AllKeyGroups)
		defer it.Close()
		for _, ok := it.Next(); ok; _, ok = it.Next() {
		}
		if err := it.Err(); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
	})
}
