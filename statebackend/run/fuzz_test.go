package run

import (
	"context"
	"errors"
	"reflect"
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
