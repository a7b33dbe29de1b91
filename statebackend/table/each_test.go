package table

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEachFindsEveryKeyOnce compares what Each yields with the model, with part of
// the keys in the cold tier, some of them cleared or changed since.
func TestEachFindsEveryKeyOnce(t *testing.T) {
	for seed := range uint64(6) {
		for _, words := range []bool{true, false} {
			for _, cold := range []bool{false, true} {
				t.Run(fmt.Sprintf("seed=%d/words=%v/cold=%v", seed, words, cold), func(t *testing.T) {
					r := rand.New(rand.NewPCG(seed, 11))
					keys := 5000
					d := &disk{m: map[string][]byte{}}
					var tier Cold
					if cold {
						// disk is slow to scan, and each of 65,536 groups is scanned.
						if seed > 1 {
							t.Skip("two seeds are enough")
						}
						keys, tier = 30, d
					}
					w := newWorld(t, words, tier)
					for range 10 {
						for range keys {
							w.op(r, keys)
						}
						if cold {
							w.evict(r, d)
						}
					}
					w.checkEach()
				})
			}
		}
	}
}

func (w *world) checkEach() {
	num, text := map[int]int64{}, map[int]string{}
	for b := range w.s.Bundles() {
		err := errors.Join(
			w.num.Each(b, func(k Key, x int64) error { return once(num, w.number(k), x) }),
			w.text.Each(b, func(k Key, x string) error { return once(text, w.number(k), x) }))
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if d := cmp.Diff(w.m.Num, num) + cmp.Diff(w.m.Text, text); d != "" {
		w.t.Fatal(d)
	}
}

// number is the model's number of k; k's hash must find the key.
func (w *world) number(k Key) (n int) {
	if w.words {
		if hash, word := wordKey(k.Word); hash != k.Hash || word != k.Word {
			w.t.Fatalf("key %d has hash %x, want %x", k.Word, k.Hash, hash)
		}
		return int(k.Word)
	}
	s, _, err := stringKey{}.Decode(k.Enc)
	if err != nil {
		w.t.Fatal(err)
	}
	fmt.Sscanf(s, "k\x00%d", &n)
	return n
}

func once[V any](m map[int]V, k int, x V) error {
	if _, dup := m[k]; dup {
		return fmt.Errorf("key %d comes twice", k)
	}
	m[k] = x
	return nil
}

func TestEachStopsAtAnError(t *testing.T) {
	w := newWorld(t, true, nil)
	for i := range 1000 {
		w.key(i)
		w.num.Set(1)
	}
	calls, stop := 0, errors.New("stop")
	for b := range w.s.Bundles() {
		if err := w.num.Each(b, func(Key, int64) error { calls++; return stop }); err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	if calls > w.s.Bundles() {
		t.Errorf("%d calls after errors in %d bundles", calls, w.s.Bundles())
	}
}
