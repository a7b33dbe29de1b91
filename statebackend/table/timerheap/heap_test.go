package timerheap

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

type timer struct {
	at  int64
	key uint64
}

// TestOrder: against a sorted slice, items come out by time, with their keys and hashes,
// whether keys are words or bytes of several lengths.
func TestOrder(t *testing.T) {
	for _, bytes := range []bool{false, true} {
		r := rand.New(rand.NewPCG(3, 4))
		var h Heap
		var want []timer
		for range 20_000 {
			if r.IntN(5) < 3 || len(want) == 0 {
				x := timer{r.Int64N(1000) - 500, r.Uint64()}
				switch r.IntN(50) {
				case 0:
					x.at = math.MinInt64
				case 1:
					x.at = math.MaxInt64
				}
				if want = append(want, x); bytes {
					h.PushBytes(x.at, x.key+1, binary.AppendUvarint(nil, x.key))
				} else {
					h.Push(x.at, x.key+1, x.key)
				}
				continue
			}
			var it Item
			if bytes {
				var b []byte
				it, b = h.PopBytes([]byte("x"))
				it.Word, _ = binary.Uvarint(b[1:])
			} else {
				it = h.Pop()
			}
			i := slices.Index(want, timer{it.At, it.Word})
			if i < 0 || it.Hash != it.Word+1 {
				t.Fatalf("bytes %v: took out %+v, which is not in", bytes, it)
			}
			want = slices.Delete(want, i, i+1)
			if len(want) != h.Len() {
				t.Fatalf("bytes %v: %d items, want %d", bytes, h.Len(), len(want))
			}
			if first, ok := h.First(); ok && first < it.At || ok != (len(want) > 0) {
				t.Fatalf("bytes %v: took out %d before %d (%v)", bytes, it.At, first, ok)
			}
			if len(want) > 0 {
				if least := slices.MinFunc(want, func(a, b timer) int { return cmp.Compare(a.at, b.at) }); least.at < it.At {
					t.Fatalf("bytes %v: took out %d before %d", bytes, it.At, least.at)
				}
			}
		}
	}
}

// TestKeysAreCompacted: keys that came and went take no memory for ever.
func TestKeysAreCompacted(t *testing.T) {
	var h Heap
	key := make([]byte, 100)
	for i := range int64(100_000) {
		h.PushBytes(i, 0, key)
		if h.Len() > 50 {
			h.PopBytes(nil)
		}
	}
	if h.Bytes() > 64<<10 {
		t.Errorf("51 items of 100 bytes take %d", h.Bytes())
	}
}
