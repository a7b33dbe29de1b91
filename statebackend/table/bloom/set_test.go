package bloom

import (
	"math/rand/v2"
	"testing"
)

// TestSet: what was put in is there, and little else; the memory is bounded and accounted for.
func TestSet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 1000, 100_000} {
		var f Set
		in := make([]uint64, n)
		grew := int64(0)
		for i := range in {
			in[i] = r.Uint64()
			grew += f.Add(in[i])
			grew += f.Add(in[i])
		}
		for _, h := range in {
			if !f.Has(h) {
				t.Fatalf("%x was put in and is not there", h)
			}
		}
		false1 := 0
		for range 20_000 {
			if f.Has(r.Uint64()) {
				false1++
			}
		}
		if false1 > 20_000/12 || grew != f.Bytes() || f.Bytes() > int64(4*n)+1024 {
			t.Errorf("%d hashes in %d bytes (%d): %d false of 20,000", n, f.Bytes(), grew, false1)
		}
	}
}
