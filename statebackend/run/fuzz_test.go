package run

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

func FuzzProperties(f *testing.F) {
	p := properties{ID: "e1.n1-0", Number: 3, Points: 7, Schemas: []Schema{{5, []byte("schema")}, {1 << 31, nil}}}
	b := p.append(nil)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{2})
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
