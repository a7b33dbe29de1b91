package weirtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
)

var unknown = weir.NewTag[string]("unknown")

// enrich joins purchases with the newest address of their user; those that have none are
// told of on the side.
type enrich struct {
	address *weir.Value[string]
	waiting *weir.List[int64]
	unknown *weir.Collector[string]
}

func newEnrich(s *weir.Setup) *enrich {
	return &enrich{s.Value[string]("address"), s.List[int64]("waiting"), s.Side(unknown)}
}

func (e *enrich) ProcessLeft(c *weir.Ctx[string], p purchase, out *weir.Collector[string]) error {
	if a, ok := e.address.Get(); ok {
		out.Emit(fmt.Sprintf("%s %d %s", c.Key(), p.Cents, a))
		return nil
	}
	e.waiting.Append(p.Cents)
	e.unknown.Emit(fmt.Sprintf("%s %d", c.Key(), p.Cents))
	return nil
}

func (e *enrich) ProcessRight(c *weir.Ctx[string], line string, out *weir.Collector[string]) error {
	_, a, _ := strings.Cut(line, " ")
	e.address.Set(a)
	for cents := range e.waiting.All() {
		out.Emit(fmt.Sprintf("%s %d %s", c.Key(), cents, a))
	}
	e.waiting.Clear()
	return nil
}

// limits tells of purchases at or above a limit that rules have set.
type limits struct {
	rules *weir.BroadcastMap[string, int64]
}

func newLimits(s *weir.Setup) *limits { return &limits{s.BroadcastMap[string, int64]("rules")} }

func (l *limits) OnBroadcast(line string, _ *weir.Collector[string]) error {
	name, limit, _ := strings.Cut(line, " ")
	var n int64
	if _, err := fmt.Sscan(limit, &n); err != nil {
		return err
	}
	l.rules.Set(name, n)
	return nil
}

func (l *limits) Process(c *weir.Ctx[string], p purchase, out *weir.Collector[string]) error {
	for name, limit := range l.rules.All() {
		if p.Cents >= limit {
			out.Emit(fmt.Sprintf("%s %d over %s", c.Key(), p.Cents, name))
		}
	}
	if p.Cents < 0 {
		l.rules.Set("broken", 1)
	}
	return nil
}

// TestConnect: two keyed streams meet by key, and what goes to the side comes out there,
// over kills.
func TestConnect(t *testing.T) {
	build := func(env *weir.Env) error {
		purchases := env.From("purchases", weir.Source[purchase](neverPurchases{}))
		addresses := env.From("addresses", weir.Source[string](never{}))
		joined := purchases.KeyBy(userOf).Connect("join", addresses.KeyBy(func(l string) string { u, _, _ := strings.Cut(l, " "); return u }), newEnrich)
		joined.Print()
		joined.Side(unknown).Map("shout", strings.ToUpper).Print()
		return nil
	}
	var all []purchase
	var addresses, want, wantUnknown []string
	for i := range int64(6000) {
		p := purchase{User: fmt.Sprintf("u%d", i%997), Cents: i}
		all = append(all, p)
		want = append(want, fmt.Sprintf("%s %d street-%d", p.User, i, i%997))
		wantUnknown = append(wantUnknown, fmt.Sprintf("U%d %d", i%997, i))
	}
	for u := range 997 {
		addresses = append(addresses, fmt.Sprintf("u%d street-%d", u, u))
	}
	var got, gotUnknown []string
	feed, places := NewFeed(t, all[:3000]...), NewFeed[string](t)
	c := Run(t, build, TaskManagers(3), ReplaceSource("purchases", feed), ReplaceSource("addresses", places),
		Capture("join-print", &got), Capture("shout-print", &gotUnknown))
	c.AwaitCaptured("shout-print", 3000)
	c.KillTaskManager(1)
	c.AddTaskManager()
	feed.Send(all[3000:]...)
	c.AwaitCaptured("shout-print", 6000)
	places.Send(addresses...)
	c.AwaitCheckpoint(3)
	c.KillTaskManager(0)
	feed.End()
	places.End()
	if r := c.Wait(); r.Restarts < 2 {
		t.Errorf("%+v", r)
	}
	for what, pair := range map[string][2][]string{"joined": {want, got}, "unknown": {wantUnknown, gotUnknown}} {
		slices.Sort(pair[0])
		slices.Sort(pair[1])
		if d := cmp.Diff(pair[0], pair[1]); d != "" {
			t.Errorf("%s (-want +got):\n%.2000s", what, d)
		}
	}
}

// TestBroadcast: every subtask knows the rules that were broadcast, over kills and at
// another parallelism; a record that is no broadcast can't change them.
func TestBroadcast(t *testing.T) {
	build := func(env *weir.Env) error {
		rules := env.From("rules", weir.Source[string](never{})).Broadcast()
		env.From("purchases", weir.Source[purchase](neverPurchases{})).KeyBy(userOf).
			ConnectBroadcast("limits", rules, newLimits).
			Print()
		return nil
	}
	var all []purchase
	var want []string
	for i := range int64(3000) {
		p := purchase{User: fmt.Sprintf("u%d", i%211), Cents: i}
		all = append(all, p)
		for _, rule := range []string{"low 10", "high 2000"} {
			name, limit, _ := strings.Cut(rule, " ")
			if n := map[string]int64{"low": 10, "high": 2000}[name]; i >= n && limit != "" {
				want = append(want, fmt.Sprintf("%s %d over %s", p.User, i, name))
			}
		}
	}
	var got []string
	feed, rules := NewFeed[purchase](t), NewFeed(t, "low 10", "high 2000")
	c := Run(t, build, TaskManagers(3), Setting("parallelism.default", "3"), ReplaceSource("purchases", feed), ReplaceSource("rules", rules), Capture("limits-print", &got))
	c.AwaitCheckpoint(2) // behind the rules
	c.KillTaskManager(1)
	c.AddTaskManager()
	feed.Send(all...)
	c.AwaitCaptured("limits-print", 100)
	c.KillTaskManager(0)
	feed.End()
	rules.End()
	if r := c.Wait(); r.Restarts < 2 {
		t.Errorf("%+v", r)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%d, want %d (-want +got):\n%.2000s", len(got), len(want), d)
	}

	bad := NewFeed(t, purchase{User: "eve", Cents: -1})
	bad.End()
	none := NewFeed[string](t)
	none.End()
	c = Run(t, build, Setting("restart-strategy.type", "none"), ReplaceSource("purchases", bad), ReplaceSource("rules", none), Capture("limits-print", &got))
	if why := c.WaitFailed(); !strings.Contains(why, `Set of broadcast state "rules"`) {
		t.Errorf("failed with %q", why)
	}
}

// TestConnected: a connected operator alone, its side output, over a rescale.
func TestConnected(t *testing.T) {
	h := Connected(t, newEnrich, userOf, func(l string) string { u, _, _ := strings.Cut(l, " "); return u })
	buy := func(user string, cents int64) { h.Push(Start, Left[string](purchase{User: user, Cents: cents})) }
	buy("ann", 1)
	buy("bob", 2)
	h.RestoreAt(2, h.Snapshot())
	h.Push(Start, Right[purchase]("ann Elm"))
	buy("ann", 3)
	if d := cmp.Diff([]string{"ann 1 Elm", "ann 3 Elm"}, h.Output()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"ann 1", "bob 2"}, h.Side(unknown)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
