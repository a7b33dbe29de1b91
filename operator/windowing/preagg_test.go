package windowing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/operator/windowing"
	"github.com/weirstream/weir/weirtest"
	"github.com/weirstream/weir/window"
)

type partial = windowing.Partial[int, total]

// producer is a PreAggregator and what has come out of it.
type producer struct {
	*windowing.PreAggregator[int, rec, total]
	rt        *operator.Runtime
	watermark int64
	out       []partial
}

func (p *producer) Receive(v partial) { p.out = append(p.out, v) }

func newProducer(t testing.TB, p windowing.Plan) *producer {
	keys, err := codec.ForKey[int]()
	if err != nil {
		t.Fatal(err)
	}
	o := &producer{rt: &operator.Runtime{}, watermark: math.MinInt64}
	o.PreAggregator = windowing.NewPreAggregator(o.rt, 0, p, summing, func(r rec) int { return r.Key }, func(k int) (uint64, int) { return keys.Hash(k), 0 },
		operator.NewCollector[partial](o.rt, 0, o))
	return o
}

// take gives a record to the table.
func (p *producer) take(r rec) {
	p.rt.Time = r.At
	p.PreAggregator.Receive(r)
}

// consumer is an operator in the harness with its late records.
type consumer[T any] struct {
	*weirtest.Harness[T, string]
	late *operator.Counter
}

func newConsumer[T any](t *testing.T, key func(T) int, factory func(*weir.Setup) weir.Processor[int, T, string]) *consumer[T] {
	c := &consumer[T]{}
	c.Harness = weirtest.Keyed(t, func(s *weir.Setup) timed[T] {
		p := factory(s)
		c.late = s.Counter(windowing.LateCounter)
		return timed[T]{p}
	}, key)
	return c
}

type timed[T any] struct{ weir.Processor[int, T, string] }

func (m timed[T]) OnTimer(c *weir.Ctx[int], out *weir.Collector[string]) error {
	return m.Processor.(interface {
		OnTimer(*weir.Ctx[int], *weir.Collector[string]) error
	}).OnTimer(c, out)
}

// TestPartials: two producers whose watermarks go their own ways, with flushes at any time,
// give the same results, at the same time, and the same late records, as without them.
func TestPartials(t *testing.T) {
	for name, a := range map[string]window.Assigner{
		"tumbling": window.Tumbling(10 * ms), "sliding": window.Sliding(20*ms, 5*ms), "uneven": window.Sliding(20*ms, 7*ms), "gaps": window.Sliding(5*ms, 12*ms),
	} {
		for _, late := range []int64{0, 3, 25} {
			t.Run(fmt.Sprintf("%s/late=%d", name, late), func(t *testing.T) {
				p := windowing.Plan{Assigner: a, Lateness: late}
				p.Trigger, _ = a.Defaults()
				plain := newConsumer(t, func(r rec) int { return r.Key }, func(s *weir.Setup) weir.Processor[int, rec, string] {
					return windowing.NewSliced(s, p, summing, line, nil)
				})
				folded := newConsumer(t, func(v partial) int { return v.Key }, func(s *weir.Setup) weir.Processor[int, partial, string] {
					return windowing.NewSlicedPartials(s, p, total.plus, line)
				})
				producers := []*producer{newProducer(t, p), newProducer(t, p)}
				records, partials := 0, 0
				move := func(o *producer) {
					for _, v := range o.out {
						folded.Push(time.UnixMilli(v.End-1), v)
					}
					partials += len(o.out)
					o.out = nil
				}
				r := rand.New(rand.NewPCG(uint64(late), 5))
				now := []int64{-100, -60}
				for i := range 3000 {
					which := r.IntN(2)
					o := producers[which]
					switch r.IntN(12) {
					case 0:
						if err := o.Flush(); err != nil {
							t.Fatal(err)
						}
						move(o)
						o.watermark = max(o.watermark, now[which]-int64(r.IntN(20)))
						if err := o.OnWatermark(o.watermark); err != nil {
							t.Fatal(err)
						}
						if at := min(producers[0].watermark, producers[1].watermark); at > math.MinInt64 {
							plain.Watermark(time.UnixMilli(at))
							folded.Watermark(time.UnixMilli(at))
						}
					case 1:
						if err := o.Flush(); err != nil {
							t.Fatal(err)
						}
					default:
						now[which] += int64(r.IntN(2))
						v := rec{r.IntN(5), now[which] - int64(r.IntN(15)), i}
						if r.IntN(20) == 0 {
							v.At -= 50
						}
						plain.Push(time.UnixMilli(v.At), v)
						o.take(v)
						records++
					}
					move(o)
					got, want := folded.Output(), plain.Output()
					slices.Sort(got)
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Fatalf("step %d:\n got %q\nwant %q", i, got, want)
					}
				}
				for _, o := range producers {
					if err := o.Flush(); err != nil {
						t.Fatal(err)
					}
					move(o)
				}
				plain.EndOfInput()
				folded.EndOfInput()
				got, want := folded.Output(), plain.Output()
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("at the end:\n got %q\nwant %q", got, want)
				}
				plain.late.Publish()
				folded.late.Publish()
				if n := plain.late.Published(); n != folded.late.Published() || n == 0 {
					t.Errorf("%d late records, want %d", folded.late.Published(), n)
				}
				if partials >= records {
					t.Errorf("%d partials of %d records", partials, records)
				}
			})
		}
	}
}

// TestPartialsPay: the table switches itself off when keys hardly ever come twice, and on
// again when they do.
func TestPartialsPay(t *testing.T) {
	a := window.Tumbling(time.Hour)
	p := windowing.Plan{Assigner: a, Trigger: window.OnEventTime()}
	o := newProducer(t, p)
	feed := func(n int, key func(i int) int) (partials int) {
		for i := range n {
			o.take(rec{key(i), 5, i})
			if i%1000 == 0 {
				partials += len(o.out)
				o.out = o.out[:0]
			}
		}
		if err := o.Flush(); err != nil {
			t.Fatal(err)
		}
		partials += len(o.out)
		o.out = nil
		return partials
	}
	if n := feed(1<<17, func(i int) int { return i % 1000 }); n != 1000 {
		t.Errorf("%d partials of 1000 keys", n)
	}
	if n := feed(1<<17, func(i int) int { return i + 1e6 }); n != 1<<17 {
		t.Errorf("%d partials of %d keys", n, 1<<17)
	}
	if n := feed(1<<16, func(i int) int { return i % 10 }); n != 1<<16 {
		t.Errorf("%d partials while it rests", n)
	}
	feed(1<<19, func(i int) int { return i % 10 })
	if n := feed(1<<16, func(i int) int { return i % 10 }); n > 100 {
		t.Errorf("%d partials of 10 keys: it never came back", n)
	}
}

// TestPartialsAllocate: a record that its slice and key are known of allocates nothing.
func TestPartialsAllocate(t *testing.T) {
	p := windowing.Plan{Assigner: window.Sliding(time.Hour, time.Minute), Trigger: window.OnEventTime()}
	o := newProducer(t, p)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		o.take(rec{i % 7, 5, i})
	}); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

// kept takes what a PreAggregator emits.
type kept[K, A any] struct{ out []windowing.Partial[K, A] }

func (k *kept[K, A]) Receive(v windowing.Partial[K, A]) { k.out = append(k.out, v) }

// TestLargeKeys: of keys that are large few are held.
func TestLargeKeys(t *testing.T) {
	keys, err := codec.ForKey[string]()
	if err != nil {
		t.Fatal(err)
	}
	rt, to := &operator.Runtime{Time: 5}, &kept[string, int]{}
	count := windowing.Aggregate[string, int]{
		First: func(string) int { return 1 }, Add: func(n int, _ string) int { return n + 1 }, Merge: func(a, b int) int { return a + b },
	}
	o := windowing.NewPreAggregator(rt, 0, plan(window.Tumbling(10*ms)), count, weir.Self[string],
		func(k string) (uint64, int) { return keys.Hash(k), len(k) }, operator.NewCollector[windowing.Partial[string, int]](rt, 0, to))
	const n = 30
	for i := range 2 * n {
		o.Receive(strings.Repeat(string(rune('A'+i/2)), 1<<20))
	}
	if held := n - len(to.out); held > 9 || held < 1 {
		t.Errorf("%d keys of 1 MiB are held", held)
	}
	if err := o.Flush(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, p := range to.out {
		total += p.Acc
	}
	if total != 2*n || len(to.out) > n+n/8 { // each time that it is full parts a pair, at most
		t.Errorf("%d records in %d partials, want %d in about %d", total, len(to.out), 2*n, n)
	}
}

// TestNaN: a key that is not equal to itself is one key behind the table.
func TestNaN(t *testing.T) {
	keys, err := codec.ForKey[float64]()
	if err != nil {
		t.Fatal(err)
	}
	rt, to := &operator.Runtime{Time: 5}, &kept[float64, total]{}
	p := plan(window.Tumbling(10 * ms))
	o := windowing.NewPreAggregator(rt, 0, p, summing, func(rec) float64 { return math.NaN() },
		func(k float64) (uint64, int) { return keys.Hash(k), 0 }, operator.NewCollector[windowing.Partial[float64, total]](rt, 0, to))
	const n = 100_000 // more than the table holds
	for i := range n {
		o.Receive(rec{0, 5, i})
	}
	if err := o.Flush(); err != nil {
		t.Fatal(err)
	}
	h := weirtest.Keyed(t, func(s *weir.Setup) *windowing.SlicedPartials[float64, total, int64] {
		return windowing.NewSlicedPartials(s, p, total.plus, func(_ float64, _ window.Span, a total) int64 { return a.Count })
	}, func(v windowing.Partial[float64, total]) float64 { return v.Key })
	for _, v := range to.out {
		h.Push(time.UnixMilli(v.End-1), v)
	}
	h.EndOfInput()
	if got := h.Output(); len(got) != 1 || got[0] != n {
		t.Errorf("results %v, want one of %d records", got, n)
	}
}
