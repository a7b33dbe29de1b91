package windowing_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/operator/windowing"
	"github.com/weirstream/weir/weirtest"
	"github.com/weirstream/weir/window"
)

// numbers is what is in a window, as text.
func numbers(_ *weir.Ctx[int], w window.Span, elements []window.Element[rec], out *weir.Collector[string]) error {
	var all []string
	for _, e := range elements {
		all = append(all, fmt.Sprint(e.Value.N))
	}
	text := strings.Join(all, "+")
	if w != window.All {
		text = fmt.Sprintf("[%d,%d) %s", w.Start, w.End, text)
	}
	out.Emit(text)
	return nil
}

// at is a record with its time for a number.
func at(ms int64) step { return step{rec: rec{At: ms, N: int(ms)}} }

func upTo(ms int64) step { return step{watermark: &ms} }

func wall(d time.Duration) step { return step{advance: d} }

// TestExpected: what each trigger, evictor and assigner emits, step by step.
func TestExpected(t *testing.T) {
	tumbling := window.Tumbling(10 * ms)
	base := fmt.Sprint(weirtest.Start.UnixMilli())
	for name, c := range map[string]struct {
		p     windowing.Plan
		steps []step
		want  string // what the steps emit, " | " between them; the last is the end of the input
	}{
		"count": {plan(window.Count(2)), []step{at(1), at(2), at(3), at(4), at(5)}, " | 1+2 |  | 3+4 |  | "},
		"sliding count": {
			plan(window.SlidingCount(3, 2)),
			[]step{at(1), at(2), at(3), at(4), at(5), at(6)}, " | 1+2 |  | 2+3+4 |  | 4+5+6 | ",
		},
		"global at the end": {
			windowing.Plan{Assigner: window.Global(), Trigger: window.OnEventTime()},
			[]step{at(1), upTo(100), at(2)}, " |  |  | 1+2",
		},
		"count in windows": {
			windowing.Plan{Assigner: tumbling, Trigger: window.Every(2)},
			[]step{at(1), at(12), at(2), at(3), at(4), upTo(100)}, " |  | [0,10) 1+2 |  | [0,10) 1+2+3+4 |  | ",
		},
		"continuous": {
			windowing.Plan{Assigner: tumbling, Trigger: window.Continuous(4 * ms)},
			[]step{at(1), upTo(3), upTo(4), at(6), upTo(8), upTo(9), upTo(20)},
			" |  | [0,10) 1 |  | [0,10) 1+6 | [0,10) 1+6 |  | ",
		},
		"purging continuous": {
			windowing.Plan{Assigner: tumbling, Trigger: window.Purging(window.Continuous(4 * ms))},
			[]step{at(1), upTo(4), at(6), upTo(8), upTo(9)}, " | [0,10) 1 |  | [0,10) 6 |  | ",
		},
		"late, updated": {
			windowing.Plan{Assigner: tumbling, Trigger: window.OnEventTime(), Lateness: 5},
			[]step{at(1), upTo(9), at(2), upTo(13), at(3), upTo(14), at(4)},
			" | [0,10) 1 | [0,10) 1+2 |  | [0,10) 1+2+3 |  |  | ",
		},
		"late, purged": {
			windowing.Plan{Assigner: tumbling, Trigger: window.Purging(window.OnEventTime()), Lateness: 5},
			[]step{at(1), upTo(9), at(2)}, " | [0,10) 1 | [0,10) 2 | ",
		},
		"late, bridging sessions": {
			windowing.Plan{Assigner: window.Session(4 * ms), Trigger: window.OnEventTime(), Lateness: 20},
			[]step{at(1), at(8), upTo(11), at(4), upTo(30), upTo(31), at(20)},
			" |  | [1,5) 1,[8,12) 8 | [1,12) 1+8+4 |  |  | [20,24) 20 | ",
		},
		"sessions that touch": {
			plan(window.Session(4 * ms)), []step{at(1), at(5), at(10), upTo(100)}, " |  |  | [1,9) 1+5,[10,14) 10 | ",
		},
		"evict last": {
			windowing.Plan{Assigner: tumbling, Trigger: window.OnEventTime(), Evictor: window.KeepLast(2)},
			[]step{at(3), at(1), at(2), upTo(9)}, " |  |  | [0,10) 1+2 | ",
		},
		"evict recent": {
			windowing.Plan{Assigner: tumbling, Trigger: window.OnEventTime(), Evictor: window.KeepRecent(3 * ms)},
			[]step{at(3), at(9), at(6), at(7), upTo(9)}, " |  |  |  | [0,10) 9+7 | ",
		},
		"evict afterwards": {
			windowing.Plan{Assigner: tumbling, Trigger: window.Every(2), Evictor: window.KeepLast(1).After()},
			[]step{at(1), at(2), at(3), at(4)}, " | [0,10) 1+2 |  | [0,10) 2+3+4 | ",
		},
		"processing time": {
			plan(tumbling.ProcessingTime()), []step{at(500), wall(9 * ms), at(1), wall(ms), at(2)},
			" |  |  | [" + base + "," + base[:len(base)-2] + "10) 500+1 |  | ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := windowing.Check[rec](c.p); err != nil {
				t.Fatal(err)
			}
			for how, d := range disturbances {
				var got []string
				for _, out := range run(t, func(s *weir.Setup) machine {
					return windowing.NewWindows(s, c.p, windowing.NewCollected(s, c.p.Evictor, numbers), nil)
				}, c.steps, d) {
					got = append(got, strings.Join(out, ","))
				}
				if all := strings.Join(got, " | "); all != c.want {
					t.Errorf("%s:\n got %q\nwant %q", how, all, c.want)
				}
			}
		})
	}
}

func plan(a window.Assigner) windowing.Plan {
	p := windowing.Plan{Assigner: a}
	p.Trigger, p.Evictor = a.Defaults()
	return p
}

// TestWindowValue: state for each window is its own, and gone with it.
func TestWindowValue(t *testing.T) {
	p := windowing.Plan{Assigner: window.Tumbling(10 * ms), Trigger: window.Every(1), Lateness: 5}
	all := []step{at(1), at(11), at(2), at(12), upTo(14), at(13), at(3), upTo(40), at(50)}
	for how, d := range disturbances {
		var got []string
		for _, out := range run(t, func(s *weir.Setup) machine {
			fired := s.WindowValue[int]("fired")
			return windowing.NewWindows(s, p, windowing.NewCollected(s, p.Evictor,
				func(_ *weir.Ctx[int], w window.Span, _ []window.Element[rec], out *weir.Collector[string]) error {
					n, _ := fired.Get()
					fired.Set(n + 1)
					out.Emit(fmt.Sprintf("[%d,%d) %d", w.Start, w.End, n+1))
					return nil
				}), nil)
		}, all, d) {
			got = append(got, out...)
		}
		want := []string{"[0,10) 1", "[10,20) 1", "[0,10) 2", "[10,20) 2", "[10,20) 3", "[50,60) 1"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", how, got, want)
		}
	}
}

// TestEndsOfTime: times at the ends of int64 have windows as others do, and all of them fire.
func TestEndsOfTime(t *testing.T) {
	times := []int64{math.MinInt64 + 1, math.MinInt64 + 2, -1, 0, 1 << 60, math.MaxInt64 - 1, math.MaxInt64}
	for name, a := range map[string]struct {
		a    window.Assigner
		each int // in how many windows a record is
	}{
		"tumbling": {window.Tumbling(10 * ms), 1}, "sliding": {window.Sliding(20*ms, 5*ms), 4}, "longest": {window.Tumbling(math.MaxInt64 / 1_000_000 * ms), 1},
		"session": {window.Session(6 * ms), 1}, "longest session": {window.Session(math.MaxInt64 / 1_000_000 * ms), 1}, "offset": {window.Tumbling(10 * ms).Offset(-time.Hour), 1},
	} {
		for _, late := range []int64{0, math.MaxInt64 / 1_000_000} {
			p := plan(a.a)
			p.Lateness = late
			for which, factory := range machines(p) {
				t.Run(fmt.Sprintf("%s/late=%d/%s", name, late, which), func(t *testing.T) {
					var all []step
					for i, at := range times {
						all = append(all, step{rec: rec{1, at, i}})
					}
					records := 0
					for _, out := range run(t, factory, all, disturbances["restored"]) {
						for _, l := range out {
							var key, n int
							var start, end int64
							if _, err := fmt.Sscanf(l, "%d [%d,%d) %d records", &key, &start, &end, &n); err != nil || start >= end {
								t.Fatalf("result %q: %v", l, err)
							}
							records += n
						}
					}
					if records != len(times)*a.each {
						t.Errorf("%d records in windows, want %d", records, len(times)*a.each)
					}
				})
			}
		}
	}
}
