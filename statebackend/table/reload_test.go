package table

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestReload: entries are loaded from the cold tier while others are changed and
// evicted, of the bundle that is being loaded above all; and then memory holds what it
// should.
func TestReload(t *testing.T) {
	const keys = 400
	for seed := range uint64(6) {
		for _, words := range []bool{true, false} {
			t.Run(fmt.Sprintf("seed=%d/words=%v", seed, words), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 12))
				d := &disk{m: map[string][]byte{}}
				w := newWorld(t, words, d)
				for range 4000 {
					w.op(r, keys)
				}
				for !w.s.loading.begun || w.s.Entries() > 0 && r.IntN(300) > 0 {
					if w.s.complete() {
						w.evictAll(d)
					}
					if _, err := w.s.LoadSpilled(1 + r.IntN(40)); err != nil {
						t.Fatal(err)
					}
					if r.IntN(4) == 0 {
						for range 2 { // the first only forgets who was touched
							w.s.DropClean(w.s.loading.bundle)
						}
					}
					if r.IntN(4) == 0 {
						w.op(r, keys)
					}
				}
				for more := true; more; {
					var err error
					if more, err = w.s.LoadSpilled(1 << 20); err != nil {
						t.Fatal(err)
					}
				}
				if !w.s.complete() {
					t.Fatal("not all is in memory")
				}
				d.m, d.keys = nil, nil // and nobody asks below
				w.check(keys)
			})
		}
	}
}

// evictAll leaves nothing but timers in memory.
func (w *world) evictAll(d *disk) {
	for range 2 {
		for b := range w.s.Bundles() {
			c, _ := w.s.CutBundles(b, 1)
			if err := c.Encode(&ordered{disk: d, t: w.t}); err != nil {
				w.t.Fatal(err)
			}
			w.s.Durable(c)
			w.s.DropClean(b)
		}
	}
}
