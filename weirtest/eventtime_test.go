package weirtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/operator"
)

// purchase is a record with a time of its own, in ms.
type purchase struct {
	User  string
	Cents int64
	At    int64
}

// quiet emits the sum of a user's orders when none has come for an hour of event time.
type quiet struct {
	total *weir.Value[int64]
	last  *weir.Value[int64]
}

func newQuiet(s *weir.Setup) *quiet {
	return &quiet{s.Value[int64]("total"), s.Value[int64]("last")}
}

func (q *quiet) Process(c *weir.Ctx[string], o purchase, _ *weir.Collector[string]) error {
	sum, _ := q.total.Get()
	q.total.Set(sum + o.Cents)
	if last, ok := q.last.Get(); ok {
		c.DeleteTimer(time.UnixMilli(last).Add(time.Hour))
	}
	at, _ := c.Time()
	q.last.Set(at.UnixMilli())
	c.TimerAt(at.Add(time.Hour))
	return nil
}

func (q *quiet) OnTimer(c *weir.Ctx[string], out *weir.Collector[string]) error {
	sum, _ := q.total.Get()
	at, domain := c.Timer()
	if now, ok := c.Time(); domain != weir.EventTimeDomain || !ok || !now.Equal(at) || c.Watermark().Before(at) {
		return fmt.Errorf("timer of %v, domain %d, at %v, watermark %v", at, domain, now, c.Watermark())
	}
	out.Emit(fmt.Sprintf("%s %d %s", c.Key(), sum, at.UTC().Format(time.TimeOnly)))
	q.total.Clear()
	q.last.Clear()
	return nil
}

func userOf(o purchase) string { return o.User }

// TestEventTimers: timers fire in the order of their times, once, when the watermark has
// come to them, over a restore at another parallelism too; deleted ones don't. The
// watermark that a snapshot was taken at is there again.
func TestEventTimers(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, parallelism := range []int{1, 3} {
		h := Keyed(t, newQuiet, userOf)
		push := func(user string, cents int64, after time.Duration) {
			h.Push(t0.Add(after), purchase{User: user, Cents: cents})
		}
		push("ann", 10, 0)
		push("bob", 20, 10*time.Minute)
		push("ann", 5, 30*time.Minute) // takes the first timer back
		h.Watermark(t0.Add(69 * time.Minute))
		if got := h.Output(); len(got) > 0 {
			t.Fatalf("too early: %q", got)
		}
		s := h.Snapshot()
		h.Watermark(t0.Add(70 * time.Minute))
		if d := cmp.Diff([]string{"bob 20 13:10:00"}, h.Output()); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		h.RestoreAt(parallelism, s)
		h.Watermark(t0) // it does not go back
		push("eve", 1, -2*time.Hour)
		h.Watermark(t0.Add(69*time.Minute + time.Millisecond)) // eve's is past due
		if d := cmp.Diff([]string{"eve 1 11:00:00"}, h.Output()); d != "" {
			t.Fatalf("parallelism %d (-want +got):\n%s", parallelism, d)
		}
		h.EndOfInput()
		got := h.Output()
		slices.Sort(got)
		if d := cmp.Diff([]string{"ann 15 13:30:00", "bob 20 13:10:00"}, got); d != "" {
			t.Fatalf("parallelism %d (-want +got):\n%s", parallelism, d)
		}
	}
}

// minute sums a user's orders by minutes: a window made by hand.
type minute struct{ sums *weir.Map[int64, int64] }

func newMinute(s *weir.Setup) *minute { return &minute{s.Map[int64, int64]("sums")} }

func (m *minute) Process(c *weir.Ctx[string], o purchase, out *weir.Collector[string]) error {
	end := (o.At/60_000 + 1) * 60_000
	if end-1 <= c.WatermarkMillis() {
		out.Emit(fmt.Sprintf("late %s %d %d", o.User, o.At, o.Cents))
		return nil
	}
	sum, _ := m.sums.Get(end)
	m.sums.Set(end, sum+o.Cents)
	c.TimerAtMillis(end - 1)
	return nil
}

func (m *minute) OnTimer(c *weir.Ctx[string], out *weir.Collector[string]) error {
	at, _ := c.Timer()
	sum, ok := m.sums.Get(at.UnixMilli() + 1)
	if !ok {
		return fmt.Errorf("a window without a sum at %v", at)
	}
	m.sums.Delete(at.UnixMilli() + 1)
	out.Emit(fmt.Sprintf("%s %d %d", c.Key(), at.UnixMilli()+1, sum))
	return nil
}

// neverPurchases is a source that no test may start.
type neverPurchases struct{}

func (neverPurchases) NewReader(*operator.SourceContext) (operator.Reader[purchase], error) {
	return nil, errors.New("the real source was started")
}

func (neverPurchases) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) {
	return nil, nil
}

// purchases is the job under test: sums by user and minute, of two sources.
func purchases(env *weir.Env) error {
	one := env.From("one", weir.Source[purchase](neverPurchases{}))
	two := env.From("two", weir.Source[purchase](neverPurchases{}))
	at := func(o purchase) time.Time { return time.UnixMilli(o.At) }
	one.EventTime(at, 5*time.Second).Union(two.EventTime(at, 5*time.Second)).
		KeyBy(userOf).
		Process("minutes", newMinute).
		Print()
	return nil
}

// TestEventTimeOverKills: the results of a job by event time are those of a plain
// program, none late, whatever is killed and however fast the sources are.
func TestEventTimeOverKills(t *testing.T) {
	var all []purchase
	sums := map[string]int64{}
	for i := range int64(20_000) {
		o := purchase{User: fmt.Sprintf("u%d", i%101), Cents: i % 17, At: i*40 - i%7*600}
		all = append(all, o)
		sums[fmt.Sprintf("%s %d", o.User, (o.At/60_000+1)*60_000)] += o.Cents
	}
	var want []string
	for k, v := range sums {
		want = append(want, fmt.Sprintf("%s %d", k, v))
	}
	slices.Sort(want)
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			var got []string
			one, two := NewFeed(t, all[:3000]...), NewFeed(t, all[10_000:11_000]...)
			c := Run(t, purchases, TaskManagers(3), Setting("state.backend.type", backend), Setting("parallelism.default", "3"),
				ReplaceSource("one", one), ReplaceSource("two", two), Capture("minutes-print", &got))
			c.AwaitCheckpoint(2)
			c.KillTaskManager(1)
			c.AddTaskManager()
			two.Send(all[11_000:]...)
			one.Send(all[3000:7000]...)
			c.AwaitCheckpoint(4)
			c.KillTaskManager(0)
			one.Send(all[7000:10_000]...)
			one.End()
			two.End()
			if r := c.Wait(); r.Restarts < 2 || r.RestoredFrom == 0 {
				t.Errorf("%+v", r)
			}
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%d results, want %d (-want +got):\n%.2000s", len(got), len(want), d)
			}
		})
	}
}

// TestEventTimeBehindAnEdge: event time may begin in another subtask than the source's;
// the job ends, and every timer has fired.
func TestEventTimeBehindAnEdge(t *testing.T) {
	build := func(env *weir.Env) error {
		env.From("one", weir.Source[purchase](neverPurchases{})).Rebalance().
			EventTime(func(o purchase) time.Time { return time.UnixMilli(o.At) }, time.Second).
			KeyBy(userOf).
			Process("minutes", newMinute).
			Print()
		return nil
	}
	in := NewFeed(t, purchase{"ann", 1, 10}, purchase{"bob", 2, 20}, purchase{"ann", 3, 59_999})
	in.End()
	var got []string
	Run(t, build, Setting("parallelism.default", "2"), ReplaceSource("one", in), Capture("minutes-print", &got)).Wait()
	slices.Sort(got)
	if d := cmp.Diff([]string{"ann 60000 4", "bob 60000 2"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestTimeHolder: the job says which split of which source holds event time back.
func TestTimeHolder(t *testing.T) {
	at := func(n int) time.Time { return time.UnixMilli(int64(n)) }
	one, two := NewFeed(t, 1_000, 9_000), NewFeed(t, 5_000)
	j := Run(t, func(env *weir.Env) error {
		first := env.From("one", unstarted[int]()).EventTime(at, 0, weir.Idleness(0))
		second := env.From("two", unstarted[int]()).EventTime(at, 0, weir.Idleness(0))
		first.Union(second).KeyBy(weir.Self[int]).Process("same", func(*weir.Setup) same { return same{} }).Print()
		return nil
	}, Setting("parallelism.default", "1"), ReplaceSource("one", one), ReplaceSource("two", two))
	held := func(uid string, watermark int64, by, input string) {
		j.await(fmt.Sprintf("%s to hold time back at %d", uid, watermark), false, func(v *api.Job) bool {
			vertex, s := v.TimeHolder()
			if s == nil || vertex.UID != uid || *s.Metrics.Watermark != watermark || s.Metrics.HeldBy != by {
				return false
			}
			for _, v := range v.Vertices {
				if m := v.Subtasks[0].Metrics; v.UID == "same" {
					return m != nil && m.Watermark != nil && *m.Watermark == watermark && m.HeldBy == input
				}
			}
			return false
		})
	}
	held("two", 4_999, "split before record 1", "two[0]")
	two.Send(20_000)
	held("one", 8_999, "split before record 2", "one[0]")
	one.End()
	held("two", 19_999, "split before record 2", "two[0]")
	two.End()
	j.Wait()
}

type same struct{}

func (same) Process(_ *weir.Ctx[int], n int, out *weir.Collector[int]) error {
	out.Emit(n)
	return nil
}

// TestAlignTime: a source that is far ahead of another of its group rests until that one has
// come nearer, through a restart too, and goes on when it is at its end.
func TestAlignTime(t *testing.T) {
	at := func(n int) time.Time { return time.UnixMilli(int64(n)) }
	fast, slow := NewFeed(t, 1_000), NewFeed(t, 1_000)
	var got []int
	j := Run(t, func(env *weir.Env) error {
		together := weir.AlignTime("g", 10*time.Second)
		first := env.From("fast", unstarted[int]()).EventTime(at, 0, weir.Idleness(0), together)
		second := env.From("slow", unstarted[int]()).EventTime(at, 0, weir.Idleness(0), together)
		first.Union(second).KeyBy(weir.Self[int]).Process("same", func(*weir.Setup) same { return same{} }).Print()
		return nil
	}, Setting("parallelism.default", "1"), ReplaceSource("fast", fast), ReplaceSource("slow", slow), Capture("same-print", &got))
	await := func(uid string, watermark int64, by string) {
		j.await(fmt.Sprintf("%s at %d held by %q", uid, watermark, by), false, func(v *api.Job) bool {
			for _, v := range v.Vertices {
				if m := v.Subtasks[0].Metrics; v.UID == uid {
					return m != nil && m.Watermark != nil && *m.Watermark == watermark && m.HeldBy == by
				}
			}
			return false
		})
	}
	await("fast", 999, "split before record 1")
	await("slow", 999, "split before record 1")
	fast.Send(50_000)
	await("fast", 49_999, "group g")
	fast.Send(60_000)
	j.AwaitCheckpoint(2) // a source that rests takes part
	await("fast", 49_999, "group g")
	j.KillTaskManager(0)
	j.AddTaskManager()
	slow.Send(55_000)
	await("fast", 59_999, "split before record 3")
	fast.Send(90_000, 91_000)
	await("fast", 90_999, "group g")
	slow.End()
	await("fast", 90_999, "split before record 5")
	fast.End()
	j.Wait()
	slices.Sort(got)
	if d := cmp.Diff([]int{1_000, 1_000, 50_000, 55_000, 60_000, 90_000, 91_000}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
