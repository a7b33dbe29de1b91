package generator

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// TestInterleavedReadsEachRecordOnce stops in the middle, redistributes the stripes, and
// goes on, several times over.
func TestInterleavedReadsEachRecordOnce(t *testing.T) {
	for _, n := range []int64{0, 1, 511, 512, 513, 50_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var all []uint64
			var splits [][]byte
			for round, p := range []int{2, 3, 1, 5, 2} {
				given := make([][][]byte, p)
				for i, s := range splits {
					given[i%p] = append(given[i%p], s)
				}
				splits = nil
				for s := range p {
					r := newReader(t, n, s, p, round > 0, given[s], Interleaved())
					got, _ := read(t, r, 3+s, 197)
					all = append(all, got...)
					splits = append(splits, snapshot(t, r)...)
				}
			}
			r := newReader(t, n, 0, 1, true, splits, Interleaved())
			last, ended := read(t, r, int(n)+2, stream.MaxBatch)
			if !ended {
				t.Fatal("it does not end")
			}
			want(t, append(all, last...), int(n))
			if got := snapshot(t, r); len(got) != 0 {
				t.Errorf("an ended reader keeps %d stripes", len(got))
			}
		})
	}
}

// TestInterleavedKeepsStep: a reader reads in ascending order, and readers that have read
// alike are at the same place.
func TestInterleavedKeepsStep(t *testing.T) {
	const n, p = 100_000, 3
	for s := range p {
		got, _ := read(t, newReader(t, n, s, p, false, nil, Interleaved()), 20, stream.MaxBatch)
		if !slices.IsSorted(got) {
			t.Errorf("subtask %d reads out of order", s)
		}
		if last := got[len(got)-1]; len(got) != 20*blockSize || last/blockSize/p != 19 {
			t.Errorf("subtask %d has read %d records and come to %d", s, len(got), last)
		}
	}
}

// TestStripesAreSplits: the records of a Poll are of one active split, also the last ones.
func TestStripesAreSplits(t *testing.T) {
	const n = 10 * blockSize
	r := newReader(t, n, 0, 1, false, nil, Interleaved())
	b := &stream.Batch[uint64]{Values: make([]uint64, 0, stream.MaxBatch)}
	of := map[uint64]int32{} // stripe by block
	seen := map[int32]int{}
	for {
		polled, err := r.Poll(b)
		if err != nil {
			t.Fatal(err)
		}
		if polled.Status == operator.PollEnd {
			break
		}
		for _, v := range b.Values {
			stripe := v / blockSize % pieces
			if id, ok := of[stripe]; ok && id != polled.Split {
				t.Fatalf("record %d is of split %d, stripe %d of %d before", v, polled.Split, stripe, id)
			}
			of[stripe] = polled.Split
		}
		seen[polled.Split] += b.Len()
		active := r.(operator.SplitReader).ActiveSplits(nil)
		if !slices.ContainsFunc(active, func(a operator.ActiveSplit) bool { return a.ID == polled.Split && !a.Waiting }) {
			t.Fatalf("split %d is not among the active ones %v", polled.Split, active)
		}
		b.Reset()
	}
	if len(seen) != pieces {
		t.Errorf("%d splits, want %d", len(seen), pieces)
	}
	if left := r.(operator.SplitReader).ActiveSplits(nil); len(left) > 0 {
		t.Errorf("at the end %v are active", left)
	}
}

func TestInterleavedRate(t *testing.T) {
	total := 0.0
	for s := range 3 {
		r := newReader(t, -1, s, 3, false, nil, Interleaved(), Rate(900)).(*striped[uint64])
		total += r.pace.perSecond
	}
	if math.Abs(total-900) > 1e-6 {
		t.Errorf("subtasks together read %g records a second, want 900", total)
	}
}

// TestStripeGolden holds the persisted layout.
func TestStripeGolden(t *testing.T) {
	s := stripe{next: 512 * 19, end: 1 << 40, k: 3, stripes: 16, length: 512}
	const golden = "020000000000002600000001000000000000000003" + "0000001000000200"
	if got := fmt.Sprintf("%x", s.encode()); got != golden {
		t.Errorf("encoded %s, want %s", got, golden)
	}
	back, err := decodeStripe(s.encode())
	if err != nil || back != s {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

func TestBadStripes(t *testing.T) {
	good := stripe{next: 512 * 19, end: 1 << 40, k: 3, stripes: 16, length: 512}
	change := func(f func(*stripe)) []byte { s := good; f(&s); return s.encode() }
	for name, b := range map[string][]byte{
		"empty":           {},
		"a range":         split{next: 1, end: 2, share: 1}.encode(),
		"short":           good.encode()[:stripeSize-1],
		"another's":       change(func(s *stripe) { s.k = 4 }),
		"no stripes":      change(func(s *stripe) { s.stripes = 0 }),
		"no block":        change(func(s *stripe) { s.length = 0 }),
		"read to its end": change(func(s *stripe) { s.end = s.next }),
		"too wide":        change(func(s *stripe) { s.length, s.stripes, s.next = math.MaxUint32, math.MaxUint32, 3*math.MaxUint32 }),
		"endless":         change(func(s *stripe) { s.end = math.MaxUint64 }),
	} {
		if s, err := decodeStripe(b); err == nil {
			t.Errorf("%s: decoded %+v", name, s)
		}
	}
	r := &striped[int]{source: Range(5, func(uint64) int { return 0 })}
	if err := r.AddSplits([][]byte{good.encode(), good.encode()}); err == nil {
		t.Error("a stripe was accepted twice")
	}
}

func FuzzDecodeStripe(f *testing.F) {
	f.Add((&stripe{next: 512 * 19, end: 1 << 40, k: 3, stripes: 16, length: 512}).encode())
	f.Add([]byte{2, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStripe(b)
		if err != nil {
			return
		}
		if string(s.encode()) != string(b) {
			t.Errorf("%x decoded to %+v, encoded to %x", b, s, s.encode())
		}
		if n := s.inBlock(); n == 0 || n > uint64(s.length) {
			t.Errorf("%+v has %d records left of its block", s, n)
		}
	})
}
