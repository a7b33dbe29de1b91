package weir

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/operator"
)

// keeper is a timeKeeper of records that are their own times, in ms, without a subtask.
func keeper(w Watermarks[int64], o options) *timeKeeper[int64] {
	rt := &operator.Runtime{Turn: time.UnixMilli(0), Time: operator.NoTime}
	k := &timeKeeper[int64]{
		runs: runs{rt: rt}, at: func(v int64) int64 { return v }, watermarks: w, bound: -1,
		idleness: defaultIdleness, maxAhead: defaultMaxAhead, ahead: &operator.Counter{},
		out: operator.NewCollector[int64](rt, 0, operator.Discard[int64]{}),
	}
	k.configure(o)
	k.Resume(math.MinInt64)
	return k
}

// TestTimeKeeper: a transcript of what a source reads and how far event time comes.
// "a5" is a record of split a at 5 s; "12s" asks at that time by the clock, where the
// splits named behind it are there ("b-" waits for its system, "!": the subtask was kept
// from reading).
func TestTimeKeeper(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps string
		want  string // watermark in s, ~ for idle, +n for the wait that is asked for
	}{
		{"behind the latest record", "a5 a3 0s:a a9 1s:a", "3.999 7.999"},
		{"the least of the splits", "a5 b9 0s:ab b12 1s:ab a20 2s:ab", "3.999 3.999 10.999"},
		{"one that has not begun holds time back", "a5 0s:ab a9 30s:ab 3600s:ab", "min min min"},
		{"one that waits is idle after a minute", "a5 0s:ab- a7 30s:ab- a9 60s:ab-", "min+60 min+30 7.999"},
		{"and counts again with a record", "a5 0s:ab- 60s:ab- b4 61s:ab b9 a9 62s:ab", "min+60 3.999 3.999 7.999"},
		{"a record starts the minute anew", "b5 a5 0s:a-b- a6 59s:a-b- 60s:a-b- 119s:a-b-", "3.999+60 3.999+1 4.999+59 4.999~"},
		{"blocked is not idle", "a5 0s:a- 59s!:a- 60s:a- 119s:a- 120s:a-", "3.999+60 3.999 3.999+60 3.999+1 3.999~"},
		{"without splits", "a5 0s:a 1s: 30s: 61s: 62s:a", "3.999 3.999+60 3.999+31 3.999~ 3.999"},
		{"one that ended", "a5 b9 0s:ab 1s:b", "3.999 7.999"},
		{"its number is used again", "a5 b9 0s:ab 1s:b a20 b20 2s:ab", "3.999 7.999 18.999"},
		{"too far ahead of the clock", "a5 a100000 0s:a 13600s:a a100000 13601s:a", "3.999 3.999 99.998e3"},
		{"the ends of time", "a-min 0s:a a-max 1s:a", "min min"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := keeper(OutOfOrder[int64](time.Second), options{})
			var got []string
			for _, step := range strings.Fields(c.steps) {
				if at, splits, ok := strings.Cut(step, ":"); ok {
					got = append(got, ask(t, k, at, splits))
					continue
				}
				read(t, k, step)
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.steps, g, c.want)
			}
		})
	}
}

func read(t *testing.T, k *timeKeeper[int64], step string) {
	t.Helper()
	k.rt.Split = int32(step[0] - 'a')
	switch step[1:] {
	case "-min":
		k.Receive(math.MinInt64)
	case "-max":
		k.Receive(math.MaxInt64)
	default:
		var s int64
		if _, err := fmt.Sscan(step[1:], &s); err != nil {
			t.Fatal(err)
		}
		k.Receive(s * 1000)
	}
}

func ask(t *testing.T, k *timeKeeper[int64], at, splits string) string {
	t.Helper()
	at, stalled := strings.CutSuffix(at, "!")
	now, err := time.ParseDuration(at)
	if err != nil {
		t.Fatal(err)
	}
	var active []operator.ActiveSplit
	for i, c := range splits {
		if c != '-' {
			active = append(active, operator.ActiveSplit{ID: int32(c - 'a'), Waiting: strings.HasPrefix(splits[i+1:], "-")})
		}
	}
	k.rt.Turn = time.UnixMilli(now.Milliseconds())
	a := k.Tick(k.rt.Turn, active, stalled)
	text := "min"
	switch {
	case a.Watermark >= 10_000_000:
		text = fmt.Sprintf("%.3fe3", float64(a.Watermark/1000)/1000)
	case a.Watermark > math.MinInt64:
		text = fmt.Sprintf("%.3f", float64(a.Watermark)/1000)
	}
	if a.Idle {
		text += "~"
	}
	if a.Wait > 0 {
		text += fmt.Sprintf("+%d", int(a.Wait.Seconds()))
	}
	return text
}

// TestWatermarkStrategies: what the built-in ones say of a few records.
func TestWatermarkStrategies(t *testing.T) {
	marks := func(v, at int64) (int64, bool) { return at - 10, v%2 == 0 }
	for name, c := range map[string]struct {
		w    Watermarks[int64]
		want int64
	}{
		"monotonous":  {Monotonous[int64](), 6},
		"bounded":     {OutOfOrder[int64](2 * time.Millisecond), 4},
		"punctuated":  {Punctuated(marks), -6},
		"one's own":   {own{}, 3},
		"never going": {own{back: true}, 3},
	} {
		k := keeper(c.w, options{})
		for _, v := range []int64{3, 4, 7, 5} {
			k.Receive(v)
		}
		if got := k.Tick(k.rt.Turn, []operator.ActiveSplit{{}}, false).Watermark; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if k.Receive(1); k.Tick(k.rt.Turn, []operator.ActiveSplit{{}}, false).Watermark < c.want {
			t.Errorf("%s: went back", name)
		}
	}
}

// own stands at the number of records it has seen, but 1.
type own struct{ back bool }

func (o own) NewGenerator() WatermarkGenerator[int64] { return &ownGenerator{back: o.back} }

type ownGenerator struct {
	n    int64
	back bool
}

func (g *ownGenerator) OnRecord(int64, int64) { g.n++ }

func (g *ownGenerator) Watermark() int64 {
	if g.back && g.n > 4 {
		return math.MinInt64
	}
	return g.n - 1
}
