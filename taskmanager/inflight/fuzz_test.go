package inflight

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// FuzzSource: bytes that have the right digest and are no pieces are an error and no panic;
// others are copied as they are, from any piece on.
func FuzzSource(f *testing.F) {
	f.Add(Append(Append(nil, FlagHashes, 1, []byte("12345678v")), 0, stream.MaxBatch, nil), uint16(21))
	f.Add(numbered(0, 5, 40), uint16(0))
	f.Add([]byte{1, 0, 0, 0, 1}, uint16(0))
	f.Fuzz(func(t *testing.T, pieces []byte, from uint16) {
		sum := sha256.Sum256(pieces)
		s := Source{State: &metapb.ChannelState{Pieces: pieces, Size: uint64(len(pieces)), Digest: sum[:]}}
		w, err := Create(t.Context(), nil, "")
		if err != nil {
			t.Fatal(err)
		}
		c := &metapb.ChannelState{}
		var begins []int64
		at := int64(0)
		_, err = w.Part(c, func() error {
			return s.CopyFrom(t.Context(), int64(from), func(p Piece) ([]byte, error) { return p, nil }, w)
		})
		for rest := pieces; len(rest) > 0; {
			p, after, cut := Cut(rest)
			if cut != nil {
				if !errors.Is(err, statebackend.ErrCorrupt) {
					t.Fatalf("copied what is no piece: %v", err)
				}
				return
			}
			if at >= int64(from) {
				begins = append(begins, at)
			}
			at, rest = at+int64(len(p)), after
		}
		if err != nil {
			t.Fatal(err)
		}
		want := pieces[len(pieces):]
		if len(begins) > 0 {
			want = pieces[begins[0]:]
		}
		if !bytes.Equal(c.Pieces, want) {
			t.Errorf("%d bytes from %d on are copied, want %d", len(c.Pieces), from, len(want))
		}
	})
}
