package windowing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/operator/windowing"
	"github.com/weirstream/weir/weirtest"
	"github.com/weirstream/weir/window"
)

const ms = time.Millisecond

// summing is the incremental result under test.
var summing = windowing.Aggregate[rec, total]{
	First: one,
	Add:   func(a total, r rec) total { return a.plus(one(r)) },
	Merge: total.plus,
}

// texts is a result whose accumulator has no fixed width.
var texts = windowing.Aggregate[rec, []total]{
	First: func(r rec) []total { return []total{one(r)} },
	Add:   func(a []total, r rec) []total { return append(a, one(r)) },
	Merge: func(a, b []total) []total { return append(a, b...) },
}

func addUp(key int, w window.Span, all []total) string {
	var a total
	for _, b := range all {
		a = a.plus(b)
	}
	return line(key, w, a)
}

func seeAll(c *weir.Ctx[int], w window.Span, elements []window.Element[rec], out *weir.Collector[string]) error {
	var a total
	for _, e := range elements {
		if e.At != e.Value.At && c.Key() >= 0 {
			return fmt.Errorf("element %v has time %d", e.Value, e.At)
		}
		a = a.plus(one(e.Value))
	}
	out.Emit(line(c.Key(), w, a))
	return nil
}

// machine is an operator under test.
type machine = weir.Processor[int, rec, string]

// machines are the ways to run a plan, all with the same results.
func machines(p windowing.Plan) map[string]func(*weir.Setup) machine {
	all := map[string]func(*weir.Setup) machine{
		"aggregated": func(s *weir.Setup) machine {
			return windowing.NewWindows(s, p, windowing.NewAggregated(s, summing, line), nil)
		},
		"in panes": func(s *weir.Setup) machine {
			return windowing.NewWindows(s, p, windowing.NewAggregated(s, texts, addUp), nil)
		},
		"collected": func(s *weir.Setup) machine {
			return windowing.NewWindows(s, p, windowing.NewCollected(s, p.Evictor, seeAll), nil)
		},
	}
	if p.Sliced(true) {
		all["sliced"] = func(s *weir.Setup) machine { return windowing.NewSliced(s, p, summing, line, nil) }
		all["sliced in slabs"] = func(s *weir.Setup) machine { return windowing.NewSliced(s, p, texts, addUp, nil) }
	}
	return all
}

// timedMachine has the timer method in its type, which the harness looks for.
type timedMachine struct{ machine }

func (m timedMachine) OnTimer(c *weir.Ctx[int], out *weir.Collector[string]) error {
	return m.machine.(interface {
		OnTimer(*weir.Ctx[int], *weir.Collector[string]) error
	}).OnTimer(c, out)
}

// disturb says what happens to an operator after each step.
type disturb func(h *weirtest.Harness[rec, string], step int)

var disturbances = map[string]disturb{
	"undisturbed": func(*weirtest.Harness[rec, string], int) {},
	"restored":    func(h *weirtest.Harness[rec, string], _ int) { h.Restore(h.Snapshot()) },
	"rescaled":    func(h *weirtest.Harness[rec, string], step int) { h.RestoreAt(1+step*7%4, h.Snapshot()) },
}

// step is a record, or a watermark or the wall clock moving on.
type step struct {
	rec       rec
	watermark *int64
	advance   time.Duration
}

// steps are random: records around a time that moves on, some very late, and watermarks
// behind it. Times begin before 1970.
func steps(seed uint64, n, keys int) (all []step) {
	r := rand.New(rand.NewPCG(seed, 1))
	now, watermark := int64(-120), int64(-150)
	for i := range n {
		switch r.IntN(6) {
		case 0:
			watermark = max(watermark, now-int64(r.IntN(30)))
			at := watermark
			all = append(all, step{watermark: &at})
		case 1:
			all = append(all, step{advance: time.Duration(r.IntN(8)) * ms})
			fallthrough
		default:
			now += int64(r.IntN(4))
			at := now - int64(r.IntN(12))
			if r.IntN(10) == 0 {
				at -= int64(r.IntN(80))
			}
			all = append(all, step{rec: rec{r.IntN(keys), at, i + 1}})
		}
	}
	return all
}

// run returns what each step emits, in order of its lines.
func run(t *testing.T, factory func(*weir.Setup) machine, all []step, d disturb) [][]string {
	t.Helper()
	h := weirtest.Keyed(t, func(s *weir.Setup) timedMachine { return timedMachine{factory(s)} }, func(r rec) int { return r.Key })
	var out [][]string
	note := func() {
		o := h.Output()
		slices.Sort(o)
		out = append(out, o)
	}
	for i, s := range all {
		switch {
		case s.watermark != nil:
			h.Watermark(time.UnixMilli(*s.watermark))
		case s.advance > 0:
			h.Advance(s.advance)
		default:
			h.Push(time.UnixMilli(s.rec.At), s.rec)
		}
		note()
		d(h, i)
	}
	h.EndOfInput()
	note()
	return out
}

// same fails at the first step where got and want differ.
func same(t *testing.T, all []step, got, want [][]string) {
	t.Helper()
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			what := any("the end")
			if i < len(all) {
				if what = all[i].rec; all[i].watermark != nil {
					what = fmt.Sprint("watermark ", *all[i].watermark)
				}
			}
			t.Fatalf("step %d (%v):\n got %q\nwant %q", i, what, got[i], want[i])
		}
	}
}

// TestModel compares every machine, through restores and rescales after each step, with
// windows by their definition.
func TestModel(t *testing.T) {
	gapOf := func(r rec) time.Duration { return time.Duration(3+r.N%11) * ms }
	for name, a := range map[string]window.Assigner{
		"tumbling":           window.Tumbling(10 * ms),
		"tumbling, offset":   window.Tumbling(10 * ms).Offset(-3 * ms),
		"sliding":            window.Sliding(20*ms, 5*ms),
		"sliding, uneven":    window.Sliding(20*ms, 7*ms).Offset(2 * ms),
		"sliding, gaps":      window.Sliding(5*ms, 12*ms),
		"session":            window.Session(6 * ms),
		"session, by record": window.SessionBy(gapOf),
	} {
		for _, late := range []int64{0, 3, 25} {
			p := windowing.Plan{Assigner: a, Lateness: late}
			p.Trigger, p.Evictor = a.Defaults()
			if err := windowing.Check[rec](p); err != nil {
				t.Fatal(err)
			}
			all := steps(uint64(late)+7, 140, 4)
			m := gridModel(a.Grid(), late)
			if p.Merging() {
				gap, of := a.Gap()
				m = sessionModel(func(r rec) int64 {
					if of != nil {
						return gapOf(r).Milliseconds()
					}
					return gap
				}, late)
			}
			want := modelOutput(m, all)
			if m.late == 0 {
				t.Fatalf("%s: no record is late", name)
			}
			for which, factory := range machines(p) {
				for how, d := range disturbances {
					t.Run(fmt.Sprintf("%s/late=%d/%s/%s", name, late, which, how), func(t *testing.T) {
						same(t, all, run(t, factory, all, d), want)
					})
				}
			}
		}
	}
}

func modelOutput(m *model, all []step) (want [][]string) {
	for _, s := range all {
		var out []string
		switch {
		case s.watermark != nil:
			out = m.advance(*s.watermark)
		case s.advance == 0:
			out = m.push(s.rec)
		}
		slices.Sort(out)
		want = append(want, out)
	}
	out := m.advance(1 << 62)
	slices.Sort(out)
	return append(want, out)
}

// counting fires at each third record and, by a timer, 5 ms of event time after each
// second one.
type counting struct{}

func (counting) OnRecord(c *window.Context, r rec) window.Result {
	c.State[0]++
	c.State[1] += int64(r.N)
	if c.State[0]%2 == 0 {
		c.Event = max(c.Time, c.Watermark) + 5
	}
	if c.State[0]%3 == 0 {
		return window.Fire
	}
	return window.Continue
}
func (counting) OnEventTime(c *window.Context) window.Result {
	if c.State[1]%2 == 0 {
		return window.Fire | window.Purge
	}
	return window.Fire
}
func (counting) OnProcessingTime(*window.Context) window.Result { return window.Fire }
func (counting) OnMerge(c *window.Context, other window.State) window.Result {
	c.State[0] += other[0]
	c.State[1] += other[1]
	return window.Continue
}

// TestTriggers: whatever the assigner, trigger, evictor and lateness, a restore or rescale
// after each step changes nothing, and something is emitted.
func TestTriggers(t *testing.T) {
	triggers := map[string]window.Trigger{
		"event time": window.OnEventTime(), "purging event time": window.Purging(window.OnEventTime()),
		"processing time": window.OnProcessingTime(), "count": window.Every(3), "purging count": window.Purging(window.Every(3)),
		"continuous": window.Continuous(4 * ms), "purging continuous": window.Purging(window.Continuous(4 * ms)),
		"continuous processing": window.ContinuousProcessing(5 * ms), "rule": window.By[rec](counting{}), "purging rule": window.Purging(window.By[rec](counting{})),
	}
	evictors := []window.Evictor{{}, window.KeepLast(2), window.KeepRecent(5 * ms).After()}
	for name, a := range map[string]window.Assigner{
		"tumbling": window.Tumbling(10 * ms), "sliding": window.Sliding(12*ms, 5*ms), "session": window.Session(6 * ms), "global": window.Global(),
		"processing": window.Tumbling(10 * ms).ProcessingTime(), "processing session": window.Session(6 * ms).ProcessingTime(),
	} {
		for with, trigger := range triggers {
			for i, evictor := range evictors {
				p := windowing.Plan{Assigner: a, Trigger: trigger, Evictor: evictor, Lateness: 4}
				if a.InProcessingTime() || a.Kind() == window.Whole {
					p.Lateness = 0
				}
				if a.Kind() == window.Whole && with == "processing time" { // its end never comes
					continue
				}
				if err := windowing.Check[rec](p); err != nil {
					t.Fatal(err)
				}
				factory := func(s *weir.Setup) machine {
					return windowing.NewWindows(s, p, windowing.NewCollected(s, evictor, anyTime), nil)
				}
				if i == 0 {
					factory = machines(p)["aggregated"]
				}
				t.Run(fmt.Sprintf("%s/%s/%d", name, with, i), func(t *testing.T) {
					all := steps(5, 70, 3)
					want := run(t, factory, all, disturbances["undisturbed"])
					if len(slices.Concat(want...)) == 0 {
						t.Fatal("nothing is emitted")
					}
					same(t, all, run(t, factory, all, disturbances["restored"]), want)
					same(t, all, run(t, factory, all, disturbances["rescaled"]), want)
				})
			}
		}
	}
}

// anyTime is seeAll for elements whose time is that of the wall clock.
func anyTime(c *weir.Ctx[int], w window.Span, elements []window.Element[rec], out *weir.Collector[string]) error {
	var a total
	for _, e := range elements {
		a = a.plus(one(e.Value))
	}
	out.Emit(line(c.Key(), w, a))
	return nil
}

// TestAllocates: a record that comes to a window that there is allocates nothing.
func TestAllocates(t *testing.T) {
	for name, a := range map[string]window.Assigner{
		"tumbling": window.Tumbling(time.Hour), "sliding": window.Sliding(time.Hour, time.Minute), "session": window.Session(time.Hour), "count": window.Count(1 << 30),
	} {
		p := windowing.Plan{Assigner: a}
		p.Trigger, p.Evictor = a.Defaults()
		for which, factory := range machines(p) {
			if which != "aggregated" && which != "sliced" {
				continue
			}
			var process func(r rec)
			weirtest.Keyed(t, func(s *weir.Setup) *grabbed {
				return &grabbed{factory(s), func(f func(r rec)) { process = f }}
			}, func(r rec) int { return r.Key }).Push(time.UnixMilli(5), rec{1, 5, 1})
			if n := testing.AllocsPerRun(100, func() { process(rec{1, 5, 2}) }); n != 0 {
				t.Errorf("%s, %s: %v allocations for a record", name, which, n)
			}
		}
	}
}

// grabbed hands its Process out, with the key and time of its first record.
type grabbed struct {
	machine
	give func(func(r rec))
}

func (g *grabbed) Process(c *weir.Ctx[int], r rec, out *weir.Collector[string]) error {
	g.give(func(r rec) {
		if err := g.machine.Process(c, r, out); err != nil {
			panic(err)
		}
	})
	return g.machine.Process(c, r, out)
}

func (g *grabbed) OnTimer(c *weir.Ctx[int], out *weir.Collector[string]) error { return nil }
