package weirtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// lookup is a system that answers late, and out of order.
type lookup struct {
	mu   sync.Mutex
	gate chan struct{} // closed: everybody is answered
	n    int
}

func (l *lookup) ask(ctx context.Context, n int) (int, error) {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
	if n%7 == 0 {
		select {
		case <-l.gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return n * 2, nil
}

func (l *lookup) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// TestAsync: records that are asked about at a checkpoint, a kill, a stop and a rescale are
// asked about again, and the results leave once each.
func TestAsync(t *testing.T) {
	for _, opts := range [][]weir.Option{nil, {weir.Ordered}} {
		l := &lookup{gate: make(chan struct{})}
		build := func(env *weir.Env) error {
			env.From("in", unstarted[int]()).AsyncMap("ask", l.ask, opts...).Print()
			return nil
		}
		in := NewFeed[int](t)
		var got, rest []int
		for n := range 50 {
			in.Send(n)
		}
		j := Run(t, build, ReplaceSource("in", in), Capture("ask-print", &got), Setting("execution.checkpointing.interval", "20ms"))
		j.AwaitCheckpoint(2) // with requests under way
		j.KillTaskManager(0)
		j.AddTaskManager()
		j.AwaitCheckpoint(2)
		j.Rescale(2)
		j.AwaitCheckpoint(1)
		at, _ := j.Stop()
		if len(got) >= 50 {
			t.Fatalf("all %d results, and nothing was answered", len(got))
		}
		close(l.gate)
		for n := range 50 {
			in.Send(50 + n)
		}
		in.End()
		Run(t, build, ReplaceSource("in", in), Capture("ask-print", &rest), From(at)).Wait()
		got = append(got, rest...)
		var want []int
		for n := range 100 {
			want = append(want, 2*n)
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if n := l.asked(); n <= 100 {
			t.Errorf("asked %d times about 100 records: none was under way at a restore", n)
		}
	}
}

// TestAsyncOrdered: results come in order, and failures go aside.
func TestAsyncOrdered(t *testing.T) {
	failed := weir.NewTag[weir.DeadLetter[int]]("failed")
	build := func(opts ...weir.Option) func(env *weir.Env) error {
		return func(env *weir.Env) error {
			all := env.From("in", unstarted[int]()).
				AsyncFlatMap("ask", func(_ context.Context, n int) ([]string, error) {
					if n == 5 {
						return nil, errors.New("not five")
					}
					return slices.Repeat([]string{fmt.Sprint(n)}, n%3), nil
				}, append(opts, weir.Ordered, weir.Capacity(3), weir.Timeout(time.Minute), weir.Retry(3, time.Microsecond, time.Millisecond))...)
			all.Print()
			if len(opts) > 0 {
				all.Side(failed).Map("why", func(d weir.DeadLetter[int]) string { return fmt.Sprint(d.Record, d.Error) }).Print()
			}
			return nil
		}
	}
	in := NewFeed(t, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	in.End()
	var got, aside []string
	Run(t, build(weir.DeadLetters(failed)), Setting("parallelism.default", "1"), ReplaceSource("in", in), Capture("ask-print", &got), Capture("why-print", &aside)).Wait()
	if s := strings.Join(got, " "); s != "1 2 2 4 7 8 8" {
		t.Errorf("got %s", s)
	}
	if d := cmp.Diff([]string{"5after 3 attempts: not five"}, aside); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	again := NewFeed(t, 5)
	again.End()
	j := Run(t, build(), Setting("restart-strategy.type", "none"), ReplaceSource("in", again), Capture("ask-print", &got))
	if why := j.WaitFailed(); !strings.Contains(why, "not five") {
		t.Errorf("failed with %q", why)
	}
}

// TestAsyncEventTime: windows of time behind an asynchronous operator, chained to it or
// not, lose nothing: a watermark waits for the records before it.
func TestAsyncEventTime(t *testing.T) {
	const records = 20_000
	for name, apart := range map[string]func(*weir.Stream[reading]) *weir.Stream[reading]{
		"chained": func(s *weir.Stream[reading]) *weir.Stream[reading] { return s },
		"head":    func(s *weir.Stream[reading]) *weir.Stream[reading] { return s.Rebalance() },
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			Run(t, func(env *weir.Env) error {
				in := env.From("in", generator.Range(records, func(i uint64) reading { return reading{int64(i % 5), int64(i)} })).
					EventTime(func(r reading) time.Time { return time.UnixMilli(r.At) }, 0)
				apart(in).AsyncMap("ask", func(_ context.Context, r reading) (reading, error) { return r, nil }).
					KeyBy(func(r reading) int64 { return r.Key }).
					Process("seconds", func(s *weir.Setup) *perSecond { return &perSecond{s.Map[int64, int]("n")} }).Print()
				return nil
			}, Capture("seconds-print", &got), Setting("execution.checkpointing.interval", "10ms"), Setting("restart-strategy.type", "none")).Wait()
			var want []string
			for k := range 5 {
				for s := range records / 1000 {
					want = append(want, fmt.Sprintf("%d %d 200", k, s))
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// unstarted is a source that a Feed takes the place of.
func unstarted[T any]() weir.Source[T] {
	return generator.Range(0, func(uint64) (v T) { return v })
}

type reading struct{ Key, At int64 }

// perSecond counts the records of each second of a key, which must be complete when time
// has passed it.
type perSecond struct{ n *weir.Map[int64, int] }

func (p *perSecond) Process(c *weir.Ctx[int64], r reading, _ *weir.Collector[string]) error {
	if c.WatermarkMillis() >= r.At {
		return fmt.Errorf("record of %d is late at %d", r.At, c.WatermarkMillis())
	}
	second := r.At / 1000
	n, _ := p.n.Get(second)
	p.n.Set(second, n+1)
	c.TimerAtMillis(second*1000 + 999)
	return nil
}

func (p *perSecond) OnTimer(c *weir.Ctx[int64], out *weir.Collector[string]) error {
	second := c.Millis() / 1000
	n, _ := p.n.Get(second)
	out.Emit(fmt.Sprintf("%d %d %d", c.Key(), second, n))
	p.n.Delete(second)
	return nil
}
