package main

import (
	"math"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for b := range buckets {
		if got := bucketOf(upper(b)); got != b {
			t.Fatalf("bucket of %d, the upper end of %d, is %d", upper(b), b, got)
		}
		if b > 0 && bucketOf(upper(b-1)+1) != b {
			t.Fatalf("bucket %d does not begin after %d", b, upper(b-1))
		}
		if b > 64 && b < buckets-1 {
			if width := float64(upper(b)-upper(b-1)) / float64(upper(b-1)); width > 0.03 {
				t.Fatalf("bucket %d is %g wide", b, width)
			}
		}
	}
	if got := bucketOf(math.MaxUint64); got != buckets-1 {
		t.Errorf("the largest value falls in bucket %d of %d", got, buckets)
	}
}

func TestQuantiles(t *testing.T) {
	var a, b, all histogram
	for i := 1; i <= 10000; i++ {
		h := &a
		if i%3 == 0 {
			h = &b
		}
		h.add(time.Duration(i) * time.Microsecond)
	}
	a.add(-time.Second) // a clock that was set back
	for _, h := range []*histogram{&a, &b} {
		if err := all.decode(h.encode()); err != nil {
			t.Fatal(err)
		}
	}
	for q, want := range map[float64]time.Duration{0.5: 5 * time.Millisecond, 0.99: 9900 * time.Microsecond, 1: 10 * time.Millisecond} {
		got := all.quantile(q)
		if got < want-2*time.Microsecond || got > want+want*3/100 {
			t.Errorf("quantile %g is %v, want %v", q, got, want)
		}
	}
	if all.total != 10001 || all.quantile(1) != 10*time.Millisecond {
		t.Errorf("%d durations, at most %v", all.total, all.quantile(1))
	}
	var empty histogram
	if empty.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

func FuzzHistogramDecode(f *testing.F) {
	var h histogram
	h.add(5)
	h.add(time.Hour)
	f.Add(h.encode())
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again histogram
		if h.decode(b) != nil {
			return
		}
		if err := again.decode(h.encode()); err != nil {
			t.Fatal(err)
		}
	})
}
