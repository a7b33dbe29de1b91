package generator

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

func newReader(t *testing.T, n int64, subtask, parallelism int, restored bool, splits [][]byte, opts ...Option) operator.Reader[uint64] {
	t.Helper()
	rt := &operator.Runtime{Now: time.Now, Subtask: subtask, Parallelism: parallelism}
	r, err := Range(n, func(i uint64) uint64 { return i }, opts...).NewReader(&operator.SourceContext{Runtime: rt, UID: "numbers", Restored: restored})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(splits, func() {}); err != nil {
		t.Fatal(err)
	}
	return r
}

// read polls r at most polls times with room for batch records each.
func read(t *testing.T, r operator.Reader[uint64], polls, batch int) (got []uint64, ended bool) {
	t.Helper()
	b := &stream.Batch[uint64]{Values: make([]uint64, 0, batch)}
	for range polls {
		p, err := r.Poll(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b.Values...)
		b.Reset()
		if p.Status == operator.PollEnd {
			return got, true
		}
	}
	return got, false
}

func snapshot(t *testing.T, r operator.Reader[uint64]) [][]byte {
	t.Helper()
	s, err := r.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// want fails unless got is 0 … n−1, each once, in any order.
func want(t *testing.T, got []uint64, n int) {
	t.Helper()
	slices.Sort(got)
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	for i, v := range got {
		if v != uint64(i) {
			t.Fatalf("record %d is %d", i, v)
		}
	}
}

func TestRangesAreContiguousAndEven(t *testing.T) {
	for _, c := range []struct{ n, p int }{{0, 1}, {0, 3}, {1, 3}, {7, 3}, {9, 3}, {1000, 7}} {
		var all []uint64
		for s := range c.p {
			got, ended := read(t, newReader(t, int64(c.n), s, c.p, false, nil), 1000, 16)
			if !ended {
				t.Fatalf("n=%d p=%d: subtask %d does not end", c.n, c.p, s)
			}
			if d := len(got) - c.n/c.p; d != 0 && d != 1 {
				t.Errorf("n=%d p=%d: subtask %d reads %d records", c.n, c.p, s, len(got))
			}
			if !slices.IsSorted(got) {
				t.Errorf("n=%d p=%d: subtask %d reads out of order", c.n, c.p, s)
			}
			all = append(all, got...)
		}
		if !slices.IsSorted(all) {
			t.Errorf("n=%d p=%d: ranges are not in the order of the subtasks", c.n, c.p)
		}
		want(t, all, c.n)
	}
}

// TestRescaleReadsEachRecordOnce stops in the middle, redistributes the splits
// over another parallelism in turn, and goes on, several times over.
func TestRescaleReadsEachRecordOnce(t *testing.T) {
	const n = 10_000
	for _, way := range []string{"blocks", "in turn"} {
		t.Run(way, func(t *testing.T) {
			var all []uint64
			var splits [][]byte
			for round, p := range []int{2, 3, 1, 5, 5, 2} {
				given := make([][][]byte, p)
				for i, s := range splits {
					to := i % p
					if way == "blocks" {
						to = i * p / len(splits)
					}
					given[to] = append(given[to], s)
				}
				splits = nil
				for s := range p {
					r := newReader(t, n, s, p, round > 0, given[s])
					got, _ := read(t, r, 3+s, 97)
					all = append(all, got...)
					splits = append(splits, snapshot(t, r)...)
				}
				if len(splits) > 100 {
					t.Fatalf("round %d: %d splits in the snapshot", round, len(splits))
				}
			}
			var last []uint64
			r := newReader(t, n, 0, 1, true, splits)
			last, _ = read(t, r, n, 512)
			want(t, append(all, last...), n)
			if got := snapshot(t, r); len(got) != 0 {
				t.Errorf("an ended reader keeps %d splits", len(got))
			}
			if got, ended := read(t, newReader(t, n, 0, 1, true, nil), 1, 512); len(got) > 0 || !ended {
				t.Errorf("restored without splits: %d records, ended %v", len(got), ended)
			}
		})
	}
}

func TestSharesAddUpAfterRescale(t *testing.T) {
	sum := func(splits [][]byte) (total float64) {
		for _, b := range splits {
			s, err := decodeSplit(b)
			if err != nil {
				t.Fatal(err)
			}
			total += s.share
		}
		return total
	}
	var splits [][]byte
	for s := range 3 {
		r := newReader(t, -1, s, 3, false, nil)
		read(t, r, 10*s, 512)
		splits = append(splits, snapshot(t, r)...)
	}
	if len(splits) < 3*pieces || math.Abs(sum(splits)-1) > 1e-9 {
		t.Fatalf("%d splits with shares of %g", len(splits), sum(splits))
	}
	again := snapshot(t, newReader(t, -1, 0, 1, true, splits))
	if math.Abs(sum(again)-1) > 1e-9 {
		t.Errorf("after a rescale to 1: shares of %g", sum(again))
	}
}

// TestRate runs 10 s of a source on a virtual clock, pausing as it asks to.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		rate float64
		p    int
	}{{100, 1}, {5000, 1}, {100_000, 2}, {0.5, 1}} {
		t.Run(fmt.Sprintf("%g by %d", c.rate, c.p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReader(t, -1, 0, c.p, false, nil, Rate(c.rate))
				b := &stream.Batch[uint64]{Values: make([]uint64, 0, stream.MaxBatch)}
				start, made, most := time.Now(), 0, 0
				for time.Since(start) < 10*time.Second {
					p, err := r.Poll(b)
					if err != nil {
						t.Fatal(err)
					}
					made += b.Len()
					most = max(most, b.Len())
					b.Reset()
					if p.Status == operator.PollWait {
						if p.Wake < grain {
							t.Fatalf("asks to be polled again after %v", p.Wake)
						}
						<-time.After(p.Wake)
					}
				}
				expect := c.rate / float64(c.p) * 10
				if math.Abs(float64(made)-expect) > 1+expect/1000 {
					t.Errorf("%d records in 10 s, want %g", made, expect)
				}
				if limit := max(1, int(c.rate/float64(c.p)/1000)+1); most > limit {
					t.Errorf("up to %d records at once, want at most %d", most, limit)
				}
			})
		})
	}
}

func TestStallIsNotMadeUpForInABurst(t *testing.T) {
	p := pace{perSecond: 1000}
	now := time.Unix(0, 0)
	p.due(now, 512)
	n, _ := p.due(now.Add(time.Minute), 1<<40)
	if n != 100 { // catchUp's worth
		t.Errorf("%d records after a stall of a minute, want 100", n)
	}
}

func TestPollDoesNotAllocate(t *testing.T) {
	r := newReader(t, -1, 0, 1, false, nil)
	b := &stream.Batch[uint64]{Values: make([]uint64, 0, stream.MaxBatch)}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Poll(b); err != nil || b.Len() != stream.MaxBatch {
			t.Fatalf("%d records, %v", b.Len(), err)
		}
		b.Values = b.Values[:0]
	}); n != 0 {
		t.Errorf("%g allocations a batch", n)
	}
}

// TestSplitGolden holds the persisted layout.
func TestSplitGolden(t *testing.T) {
	s := split{next: 258, end: 1 << 40, share: 0.25}
	const golden = "01000000000000010200000100000000003fd0000000000000"
	if got := fmt.Sprintf("%x", s.encode()); got != golden {
		t.Errorf("encoded %s, want %s", got, golden)
	}
	back, err := decodeSplit(s.encode())
	if err != nil || back != s {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

func TestBadSplits(t *testing.T) {
	good := split{next: 1, end: 2, share: 1}.encode()
	for name, b := range map[string][]byte{
		"empty":       {},
		"format":      append([]byte{2}, good[1:]...),
		"short":       good[:splitSize-1],
		"long":        append(slices.Clone(good), 0),
		"empty range": split{next: 2, end: 2, share: 1}.encode(),
		"no share":    split{next: 1, end: 2}.encode(),
		"NaN share":   split{next: 1, end: 2, share: math.NaN()}.encode(),
	} {
		if s, err := decodeSplit(b); err == nil {
			t.Errorf("%s: decoded %+v", name, s)
		}
	}
	r := &reader[int]{source: Range(5, func(uint64) int { return 0 })}
	if err := r.AddSplits([][]byte{split{next: 1, end: 5, share: .5}.encode(), split{next: 4, end: 9, share: .5}.encode()}); err == nil {
		t.Error("overlapping splits accepted")
	}
}

func FuzzDecodeSplit(f *testing.F) {
	f.Add(split{next: 258, end: 1 << 40, share: 0.25}.encode())
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSplit(b)
		if err == nil && string(s.encode()) != string(b) {
			t.Errorf("%x decoded to %+v, encoded to %x", b, s, s.encode())
		}
	})
}
