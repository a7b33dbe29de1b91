package window

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// grids of every shape: tumbling, sliding that divide and not, with gaps, with offsets.
var grids = []Grid{
	{10, 10, 0}, {10, 10, 3}, {10, 5, 0}, {10, 5, 2}, {10, 3, 0}, {10, 3, 1}, {10, 4, 3}, {7, 1, 0}, {3, 10, 0}, {3, 10, 9}, {1, 1, 0}, {9, 10, 4},
}

// windowsOf are the windows that contain at, by trying every one near it.
func windowsOf(g Grid, at int64) (all []Span) {
	for k := (at-g.Offset)/g.Slide - g.Size/g.Slide - 3; k <= (at-g.Offset)/g.Slide+3; k++ {
		if w := (Span{g.Offset + k*g.Slide, g.Offset + k*g.Slide + g.Size}); w.Contains(at) {
			all = append(all, w)
		}
	}
	return all
}

func TestGrid(t *testing.T) {
	for _, g := range grids {
		var last Span
		for at := int64(-50); at <= 50; at++ {
			want := windowsOf(g, at)
			if got := g.Windows(nil, at); !slices.Equal(got, want) {
				t.Fatalf("%v: windows of %d are %v, want %v", g, at, got, want)
			}
			s := g.Slice(at)
			if !s.Contains(at) {
				t.Fatalf("%v: slice %v of %d", g, s, at)
			}
			if last != s && last != (Span{}) && last.End != s.Start {
				t.Fatalf("%v: slice %v follows %v", g, s, last)
			}
			last = s
			for _, other := range []int64{s.Start, s.End - 1} { // all of a slice lie in the same windows
				if got := g.Windows(nil, other); !slices.Equal(got, want) {
					t.Fatalf("%v: %d and %d share a slice, but not %v and %v", g, at, other, want, got)
				}
			}
			end, ok := g.LastEnd(s.End)
			if ok != (len(want) > 0) {
				t.Fatalf("%v: slice %v has a window: %t, want %v", g, s, ok, want)
			}
			if ok && (g.FirstEnd(s.End) != want[0].End || end != want[len(want)-1].End) {
				t.Fatalf("%v: slice %v is in windows that end from %d to %d, want %v", g, s, g.FirstEnd(s.End), end, want)
			}
			if int64(len(want)) > g.Overlap() {
				t.Fatalf("%v: %d is in %d windows, more than %d", g, at, len(want), g.Overlap())
			}
		}
	}
}

// TestEnds: times at the ends of int64 have windows and slices that contain them once they
// are clamped, and nothing overflows on the way, with the longest durations there are.
func TestEnds(t *testing.T) {
	longest := time.Duration(math.MaxInt64).Truncate(time.Millisecond)
	sizes := []time.Duration{time.Millisecond, time.Hour, longest}
	for _, at := range []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + margin, -1, 0, 1, math.MaxInt64 - margin, math.MaxInt64 - 1, math.MaxInt64} {
		c := Clamp(at)
		if c != at && at > -1<<62 && at < 1<<62 {
			t.Errorf("%d was clamped to %d", at, c)
		}
		for _, size := range sizes {
			for _, slide := range sizes {
				if size > slide && slide < time.Hour {
					continue
				}
				a := Sliding(size, slide)
				if size/slide > maxOverlap {
					continue
				}
				if a = a.Offset(-time.Minute); a.Err() != nil {
					t.Fatal(a.Err())
				}
				g := a.Grid()
				s := g.Slice(c)
				if !s.Contains(c) {
					t.Errorf("%v: slice %v of %d", g, s, c)
				}
				if end, ok := g.LastEnd(s.End); ok && (end < s.End || end+longest.Milliseconds() < end) {
					t.Errorf("%v: last end %d of %v", g, end, s)
				}
				for _, w := range g.Windows(nil, c) {
					if !w.Contains(c) || w.End-w.Start != g.Size {
						t.Errorf("%v: window %v of %d", g, w, c)
					}
				}
			}
		}
	}
	if All.MaxTime() != math.MaxInt64-1 || All.String() != "[all]" {
		t.Errorf("%v ends at %d", All, All.MaxTime())
	}
}

func TestSpan(t *testing.T) {
	s := Span{-1500, 500}
	if got := s.String(); got != "[1969-12-31T23:59:58.500Z, 1970-01-01T00:00:00.500Z)" {
		t.Error(got)
	}
	for _, c := range []struct {
		o    Span
		want bool
	}{{Span{500, 501}, true}, {Span{501, 502}, false}, {Span{-1501, -1500}, true}, {Span{-1600, -1501}, false}, {Span{0, 1}, true}} {
		if s.Touches(c.o) != c.want || c.o.Touches(s) != c.want {
			t.Errorf("%v touches %v: want %t", s, c.o, c.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	const ms = time.Millisecond
	for want, err := range map[string]error{
		"size of 0s":                  Tumbling(0).Err(),
		"size of -1s":                 Tumbling(-time.Second).Err(),
		"slide of 0s":                 Sliding(time.Second, 0).Err(),
		"size of 1.5ms is":            Tumbling(1500 * time.Microsecond).Err(),
		"gap of -1ms":                 Session(-ms).Err(),
		"gap of 1µs":                  Session(time.Microsecond).Err(),
		"SessionBy: its function":     SessionBy[int](nil).Err(),
		"in 3600000 windows":          Sliding(time.Hour, ms).Err(),
		"-1 records":                  Count(-1).Err(),
		"0 records":                   SlidingCount(3, 0).Err(),
		"KeepLast: 0 records":         SlidingCount(0, 3).Err(),
		"Session has no offset":       Session(ms).Offset(ms).Err(),
		"offset of 1ns":               Tumbling(ms).Offset(1).Err(),
		"Global knows no time":        Global().ProcessingTime().Err(),
		"the window is zero":          Assigner{}.Err(),
		"the trigger is zero":         Trigger{}.Err(),
		"interval of 0s":              Continuous(0).Err(),
		"interval of -1ns":            ContinuousProcessing(-1).Err(),
		"its rule is nil":             By[int](nil).Err(),
		"duration of 0s":              KeepRecent(0).Err(),
		"KeepNear: its function":      KeepNear[int](1, nil).Err(),
		"want a func(string, string)": CheckEvictor[string](KeepNear(1, func(a, b int) float64 { return 0 })),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
	for _, a := range []Assigner{Tumbling(1<<63 - 1 - (1<<63-1)%ms), Session(1<<63 - 1 - (1<<63-1)%ms), Global(), Count(1), SlidingCount(1, 5), Tumbling(ms).Offset(-3 * ms)} {
		if a.Err() != nil {
			t.Error(a.Err())
		}
	}
}

func TestEvict(t *testing.T) {
	elements := func(at ...int64) (all []Element[int64]) {
		for _, a := range at {
			all = append(all, Element[int64]{a, a})
		}
		return all
	}
	near := KeepNear(5, func(a, last int64) float64 { return math.Abs(float64(a - last)) })
	for _, c := range []struct {
		e        Evictor
		in, want []Element[int64]
	}{
		{KeepLast(2), elements(1, 2, 3), elements(2, 3)},
		{KeepLast(9), elements(1, 2, 3), elements(1, 2, 3)},
		{KeepRecent(10 * time.Millisecond), elements(1, 12, 2, 3, 11), elements(12, 3, 11)},
		{KeepRecent(time.Millisecond), elements(math.MinInt64+1, math.MaxInt64), elements(math.MaxInt64)},
		{near, elements(1, 20, 7, 10), elements(7, 10)},
		{Evictor{}, elements(1, 2), elements(1, 2)},
		{KeepLast(1), nil, nil},
	} {
		if got := Evict(c.e, slices.Clone(c.in)); !slices.Equal(got, c.want) {
			t.Errorf("of %v %v are left, want %v", c.in, got, c.want)
		}
	}
}

// TestContinuousEnds: a continuous trigger sets no timer behind the end of its window, and
// at the end of time only that one, however long the window is.
func TestContinuousEnds(t *testing.T) {
	tr := Continuous(time.Second)
	for range 1000 {
		w := Span{rand.Int64N(1 << 40), 0}
		w.End = w.Start + 1 + rand.Int64N(5000)
		c := Context{Window: w, Time: w.Start, Event: NoTimer, Watermark: w.Start - 1, State: &State{}}
		if r := tr.OnRecord(&c); r != Continue {
			t.Fatal(r)
		}
		fires := 0
		for c.Event != NoTimer {
			if c.Event > w.MaxTime() || c.Event <= c.Time && fires > 0 {
				t.Fatalf("%v: timer at %d after %d", w, c.Event, c.Time)
			}
			c.Time, c.Event = c.Event, NoTimer
			if r := tr.OnEventTime(&c); r != Fire {
				t.Fatal(r)
			}
			fires++
		}
		if c.Time != w.MaxTime() {
			t.Fatalf("%v: last fired at %d", w, c.Time)
		}
	}
	c := Context{Window: All, Event: NoTimer, Time: 5, Watermark: math.MaxInt64, State: &State{}}
	if tr.OnEventTime(&c); c.Event != All.MaxTime() {
		t.Errorf("at the end of time the next timer is at %d", c.Event)
	}
}
