package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/objstore/errstore"
	"github.com/weirstream/weir/stream"
)

// small is a run of one file with sets, tombstones and clears in several blocks, and
// its bytes in a store.
func small(t testing.TB, seed uint64, o Options) (r Run, content []byte, want model, store *objstore.Memory) {
	t.Helper()
	fs := vfs.NewMem()
	o.FS, o.Dir, o.BlockSize = fs, "", 64
	ops := randomOps(rand.New(rand.NewPCG(seed, 3)))
	if seed == 0 { // as small as a file with everything in it can be
		ops = []op{{KindClear, key(1, ""), key(3, "")}}
		for i := range 12 {
			ops = append(ops, op{KindSet, key(uint16(i/5), fmt.Sprintf("key-%02d", i)), "\x01\x00value"})
		}
		ops[4] = op{KindDelete, ops[4].key, ""}
		ops = append(ops, op{KindMerge, "\x00\x02\x00\x00\x00\x02list", "\x02\x00\x01v"})
		slices.SortStableFunc(ops, func(a, b op) int { return strings.Compare(a.key, b.key) })
	}
	r = write(t, o, ops)
	if len(r.Files) != 1 {
		t.Fatalf("%d files", len(r.Files))
	}
	store = objstore.NewMemory("test")
	upload(t, r, store, fs, "")
	content, err := objstore.Get(t.Context(), store, r.Files[0].Name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want = model{}
	want.apply(ops, stream.AllKeyGroups)
	return r, content, want, store
}

// readDamaged reads the run's file as if it held b.
func readDamaged(t *testing.T, r Run, b []byte) (model, error) {
	open := func(_ context.Context, _ string) (objstore.Reader, error) { return objstore.BytesReader(b), nil }
	s := List{r}.Read(t.Context(), open, stream.AllKeyGroups)
	defer s.Close()
	m := model{}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		k := string(e.Key)
		if m[k] = string(e.Value); isList(k) {
			m[k] = readList(m[k])
		}
	}
	return m, s.Err()
}

func verifyDamaged(t *testing.T, r Run, b []byte) error {
	return r.Verify(t.Context(), func(_ context.Context, _ string) (objstore.Reader, error) { return objstore.BytesReader(b), nil })
}

func TestEveryTruncationAndBitFlipIsFound(t *testing.T) {
	r, content, want, _ := small(t, 0, Options{ID: "e1.n1-7"})
	if m, err := readDamaged(t, r, content); err != nil || !maps.Equal(m, want) || len(want) < 10 {
		t.Fatalf("undamaged: %d of %d entries, %v", len(m), len(want), err)
	}
	check := func(what string, b []byte) {
		if err := verifyDamaged(t, r, b); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: Verify: %v", what, err)
		}
		if _, err := readDamaged(t, r, b); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: read: %v", what, err)
		}
	}
	for n := range content {
		check(fmt.Sprintf("truncated to %d bytes", n), content[:n])
	}
	check("longer by a byte", append(bytes.Clone(content), 0))
	b := bytes.Clone(content)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			check(fmt.Sprintf("byte %d, bit %d", i, bit), b)
			if f := r.Files[0]; bit == i%8 && int64(i) >= f.Size-f.TailSize {
				var ce *CorruptError
				if _, err := Open(t.Context(), objstore.BytesReader(b), r.ID, 0, f); !errors.As(err, &ce) || ce.What != "digest of the tail" {
					t.Fatalf("byte %d of the tail: found by %v", i, err)
				}
			}
			b[i] ^= 1 << bit
		}
	}
}

// TestDamageBehindTheDigest: with a manifest that agrees with the damaged tail the
// table reader must still not panic, whatever it says.
func TestDamageBehindTheDigest(t *testing.T) {
	r, content, _, _ := small(t, 1, Options{ID: "e1.n1-7"})
	b := bytes.Clone(content)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		i, v := rnd.IntN(len(b)), byte(1+rnd.IntN(255))
		b[i] ^= v
		d := r
		f := r.Files[0]
		f.TailDigest = digest(b[f.Size-f.TailSize:])
		d.Files = []File{f}
		if _, err := readDamaged(t, d, b); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d: %v", i, err)
		}
		b[i] ^= v
	}
}

func TestInlineDamageIsFound(t *testing.T) {
	ops := randomOps(rand.New(rand.NewPCG(3, 3)))
	r := write(t, Options{ID: "e1.n1-0", InlineLimit: 1 << 20, FS: vfs.NewMem()}, ops)
	if r.Inline == nil || len(r.Files) > 0 || r.Bytes != int64(len(r.Inline)) {
		t.Fatalf("%d files, %d bytes inline", len(r.Files), len(r.Inline))
	}
	for i := range r.Inline {
		r.Inline[i] ^= 4
		if err := r.Verify(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
			t.Fatal(i, err)
		}
		if _, err := readDamaged(t, r, nil); !errors.Is(err, ErrCorrupt) {
			t.Fatal(i, err)
		}
		r.Inline[i] ^= 4
	}
}

func TestSwappedFileIsFound(t *testing.T) {
	a, _, _, _ := small(t, 1, Options{ID: "e1.n1-1"})
	b, other, _, _ := small(t, 1, Options{ID: "e1.n1-2"}) // same entries, same size
	if a.Files[0].Size != b.Files[0].Size {
		t.Fatal("the files differ in size")
	}
	if _, err := readDamaged(t, a, other); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	// Even if the manifest had taken over the other's digests.
	swapped := a
	swapped.Files = b.Files
	_, err := readDamaged(t, swapped, other)
	var ce *CorruptError
	if !errors.As(err, &ce) || ce.Want != "e1.n1-1-0" || ce.Got != "e1.n1-2-0" {
		t.Fatal(err)
	}
	f := b.Files[0]
	tab, err := Open(t.Context(), objstore.BytesReader(other), "e1.n1-2", 1, f)
	if !errors.As(err, &ce) || tab != nil {
		t.Fatalf("another file of the run: %v", err)
	}
}

func TestErrorsOfTheStoreAreNotCorruption(t *testing.T) {
	r, _, want, store := small(t, 1, Options{ID: "e1.n1-7"})
	reads := 0
	for skip := 0; ; skip++ {
		s := errstore.New(store, errstore.Fault{Op: errstore.Read, Skip: skip, Kind: errstore.Fail})
		m := List{r}.Read(t.Context(), s.Open, stream.AllKeyGroups)
		got := model{}
		for e, ok := m.Next(); ok; e, ok = m.Next() {
			k := string(e.Key)
			if got[k] = string(e.Value); isList(k) {
				got[k] = readList(got[k])
			}
		}
		m.Close()
		if len(s.Injected()) == 0 {
			if m.Err() != nil || !maps.Equal(got, want) {
				t.Fatal(m.Err())
			}
			break
		}
		reads++
		if err := m.Err(); !errors.Is(err, errstore.ErrInjected) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("read %d: %v", skip, err)
		}
	}
	if reads < 3 {
		t.Fatalf("only %d reads", reads)
	}
	// Flipped bits on the way are corruption, whichever read they hit.
	for skip := range reads {
		s := errstore.New(store, errstore.Fault{Op: errstore.Read, Skip: skip, Times: 1, Kind: errstore.Flip})
		m := List{r}.Read(t.Context(), s.Open, stream.AllKeyGroups)
		for _, ok := m.Next(); ok; _, ok = m.Next() {
		}
		m.Close()
		if !errors.Is(m.Err(), ErrCorrupt) {
			t.Fatalf("read %d: %v", skip, m.Err())
		}
	}
}
