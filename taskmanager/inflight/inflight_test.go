package inflight

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// TestPiece holds the format, for ever.
func TestPiece(t *testing.T) {
	const want = "03000000" + "01" + "03" + "0200" + "cd7c1d6c" + "616263"
	got := hex.EncodeToString(Append(nil, FlagHashes|FlagTimes, 2, []byte("abc")))
	if got != want {
		t.Errorf("piece %s, want %s", got, want)
	}
	p, rest, err := Cut(append(Append(nil, FlagHashes, 7, []byte("xyz")), 1, 2))
	if err != nil || p.Flags() != FlagHashes || p.Records() != 7 || string(p.Payload()) != "xyz" || len(rest) != 2 {
		t.Errorf("cut %x, %x: %v", p, rest, err)
	}
}

// FuzzCut: no bytes make it panic, and what it takes it would write.
func FuzzCut(f *testing.F) {
	f.Add(Append(nil, FlagHashes, 1, []byte("12345678v")))
	f.Add(Append(Append(nil, 0, stream.MaxBatch, nil), 0, 1, []byte("v")))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, rest, err := Cut(in)
		if err != nil {
			if !errors.Is(err, ErrPiece) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again := Append(nil, p.Flags(), p.Records(), p.Payload()); !bytes.Equal(again, p) || len(p)+len(rest) != len(in) {
			t.Errorf("%x is taken for %x", in, again)
		}
	})
}

// store is a folder that counts what is read.
type store struct {
	objstore.Store
	read atomic.Int64
}

type reader struct {
	objstore.Reader
	s *store
}

func (s *store) Open(ctx context.Context, name string) (objstore.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	return &reader{r, s}, err
}

func (r *reader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(b, at)
	r.s.read.Add(int64(n))
	return n, err
}

func newStore(t *testing.T) *store {
	t.Helper()
	s, err := objstore.Parse(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &store{Store: s}
}

// numbered are n pieces of about size bytes, each of which begins with its number.
func numbered(first, n, size int) (all []byte) {
	for i := range n {
		payload := make([]byte, 8+(size+i*37)%(2*size))
		copy(payload, fmt.Sprintf("%08d", first+i))
		all = Append(all, 0, 1+i%stream.MaxBatch, payload)
	}
	return all
}

// stored writes parts to one object and returns their sources.
func stored(t *testing.T, s objstore.Store, name string, parts ...[]byte) (all []Source) {
	t.Helper()
	w, err := Create(t.Context(), s, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		c := &metapb.ChannelState{}
		if any, err := w.Part(c, func() error { return w.Write(p) }); err != nil || any != (len(p) > 0) {
			t.Fatal(any, err)
		}
		all = append(all, Source{Store: s, State: c})
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all
}

// takeAll takes what is left, waiting for the reader.
func takeAll(r *Reader) (pieces []byte, err error) {
	for !r.Over() {
		p, _, err := r.Next()
		switch {
		case err != nil:
			return pieces, err
		case p == nil:
			synctest.Wait()
		}
		pieces = append(pieces, p...)
	}
	return pieces, nil
}

// TestReader: pieces come in order, whatever lies across the border of a block, no further
// ahead than said; and what has not been taken can be copied meanwhile.
func TestReader(t *testing.T) {
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		large := Append(numbered(0, 3, 100), 0, 1, make([]byte, 5*blockBytes))
		parts := [][]byte{numbered(1000, 300, 30_000), nil, append(large, numbered(2000, 9, 70_000)...), numbered(3000, 1, 10)}
		all := stored(t, s, "chk-1/inflight", parts...)
		inline := stored(t, nil, "", numbered(4000, 5, 60))[0]
		all = append(all, inline)
		parts = append(parts, inline.State.Pieces)
		want := bytes.Join(parts, nil)

		wakes := 0
		r := NewReader(t.Context(), all, func() { wakes++ })
		synctest.Wait()
		if n := s.read.Load(); n > (blocks+1)*blockBytes || wakes == 0 {
			t.Errorf("%d bytes are read ahead, with %d wake-ups", n, wakes)
		}
		var got []byte
		for len(got) < len(want)/3 {
			p, source, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if p == nil {
				synctest.Wait()
				continue
			}
			if source != 0 && len(got) < len(parts[0]) {
				t.Fatalf("a piece of source %d after %d bytes", source, len(got))
			}
			got = append(got, p...)
		}
		// A checkpoint copies the rest.
		w, err := Create(t.Context(), s, "chk-2/inflight")
		if err != nil {
			t.Fatal(err)
		}
		again := slices.Clone(got)
		for i, from := range r.Taken() {
			c := &metapb.ChannelState{}
			keep := func(p Piece) ([]byte, error) { return p, nil }
			if i%2 == 0 {
				keep = nil
			}
			if _, err := w.Part(c, func() error { return all[i].CopyFrom(t.Context(), from, keep, w) }); err != nil {
				t.Fatal(err)
			}
			all[i] = Source{Store: s, State: c}
		}
		if err := w.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest, err := takeAll(r)
		if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("took %d bytes, want %d; %v", len(got), len(want), err)
		}
		r.Close()
		r = NewReader(t.Context(), all, func() {})
		rest, err = takeAll(r)
		if again = append(again, rest...); err != nil || !bytes.Equal(again, want) {
			t.Errorf("copied %d bytes, want %d; %v", len(again), len(want), err)
		}
		r.Close()
	})
}

// TestReaderCloses also while it waits for room, and while its context ends.
func TestReaderCloses(t *testing.T) {
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		all := stored(t, s, "x", numbered(0, 200, 30_000))
		r := NewReader(t.Context(), all, func() {})
		synctest.Wait()
		r.Close()
		ctx, cancel := context.WithCancel(t.Context())
		r = NewReader(ctx, all, func() {})
		cancel()
		if _, err := takeAll(r); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled reader says %v", err)
		}
		r.Close()
	})
}

// TestDamage: every flipped bit and every wrong length is found before the last piece is
// taken, by reading and by copying.
func TestDamage(t *testing.T) {
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		pieces := numbered(0, 4, 20)
		sum := sha256.Sum256(pieces)
		for name, change := range map[string]func(c *metapb.ChannelState){
			"bit":          func(c *metapb.ChannelState) { c.Pieces[len(c.Pieces)-1] ^= 1 },
			"first length": func(c *metapb.ChannelState) { c.Pieces[3] = 1 },
			"cut":          func(c *metapb.ChannelState) { c.Pieces = c.Pieces[:len(c.Pieces)-1] },
			"cut at piece": func(c *metapb.ChannelState) { p, _, _ := Cut(c.Pieces); c.Pieces = c.Pieces[:len(p)] },
			"another's":    func(c *metapb.ChannelState) { c.Pieces = numbered(1, 4, 20) },
			"gone":         func(c *metapb.ChannelState) { c.File, c.Pieces, c.Size = "none", nil, 5 },
			"short object": func(c *metapb.ChannelState) { c.File, c.Offset, c.Size = "small", 5, 1<<40 },
			"offset":       func(c *metapb.ChannelState) { c.File, c.Offset, c.Size = "small", 1<<63, 1<<63 },
		} {
			c := &metapb.ChannelState{Pieces: bytes.Clone(pieces), Digest: sum[:], Size: uint64(len(pieces))}
			if name == "short object" {
				stored(t, s, "small", pieces)
			}
			change(c)
			damaged := func(err error) bool {
				return errors.Is(err, statebackend.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound)
			}
			r := NewReader(t.Context(), []Source{{Store: s, State: c}}, func() {})
			if got, err := takeAll(r); !damaged(err) || len(got) >= len(pieces) {
				t.Errorf("%s: %d bytes are read: %v", name, len(got), err)
			}
			r.Close()
			w, _ := Create(t.Context(), nil, "")
			if err := (Source{Store: s, State: c}).CopyFrom(t.Context(), 0, nil, w); !damaged(err) {
				t.Errorf("%s: is copied: %v", name, err)
			}
		}
	})
}
