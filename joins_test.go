package weir_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/weirtest"
	"github.com/weirstream/weir/window"
)

// paid is a payment for what somebody has hit.
type paid struct {
	Who   string
	At    int64
	Cents int64
}

func (p paid) time() time.Time { return time.UnixMilli(p.At) }

// both is what comes out of a join.
type both struct {
	Hit  hit
	Paid paid
	Met  bool
}

func bothOf(h hit, p paid) both             { return both{h, p, true} }
func eitherOf(h hit, p paid, met bool) both { return both{h, p, met} }

// group is what comes out of a co-group.
type group struct {
	User       string
	Start, End int64
	Hits, Paid string
}

const joinWindow = 20

func groupOf(user string, w window.Span, hits []hit, payments []paid, out *weir.Collector[group]) error {
	g := group{User: user, Start: w.Start, End: w.End}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Compare(a.N, b.N) })
	for _, h := range hits {
		g.Hits += fmt.Sprint(h.N, " ")
	}
	slices.SortFunc(payments, func(a, b paid) int { return cmp.Compare(a.Cents, b.Cents) })
	for _, p := range payments {
		g.Paid += fmt.Sprint(p.Cents, " ")
	}
	out.Emit(g)
	return nil
}

// joinJob joins hits and payments in every way.
func joinJob(env *weir.Env) error {
	hits := env.From("hits", weirtest.NewFeed[hit](nil)).EventTime(hit.time, 5*time.Millisecond, weir.Idleness(0)).
		KeyBy(func(h hit) string { return h.User })
	payments := env.From("payments", weirtest.NewFeed[paid](nil)).EventTime(paid.time, 5*time.Millisecond, weir.Idleness(0)).
		KeyBy(func(p paid) string { return p.Who })

	byWindow := hits.Join(payments).Window(window.Tumbling(joinWindow * time.Millisecond))
	byWindow.Apply("window-join", bothOf).To("window", discard[both]{})
	byWindow.CoGroup("co-group", groupOf).To("groups", discard[group]{})
	hits.Join(payments).Window(window.Session(2*time.Millisecond)).CoGroup("co-sessions", groupOf).To("sessions", discard[group]{})
	near := hits.IntervalJoin(payments).Between(-2*time.Millisecond, 10*time.Millisecond)
	near.Apply("interval-join", bothOf).To("interval", discard[both]{})
	near.ApplyLeft("outer-join", eitherOf).To("outer", discard[both]{})
	hits.TemporalJoin(payments).ApplyLeft("temporal-join", eitherOf).To("temporal", discard[both]{})
	return nil
}

func plainJoins(hits []hit, payments []paid) (window, interval, outer, temporal []both, groups []group) {
	type place struct {
		user  string
		start int64
	}
	in := map[place]*group{}
	at := func(user string, ms int64) *group {
		p := place{user, (ms+1000)/joinWindow*joinWindow - 1000}
		if in[p] == nil {
			in[p] = &group{User: user, Start: p.start, End: p.start + joinWindow}
		}
		return in[p]
	}
	for _, h := range hits {
		g := at(h.User, h.At)
		g.Hits += fmt.Sprint(h.N, " ")
		var valid paid
		alone := true
		for _, p := range payments {
			if p.Who != h.User {
				continue
			}
			if g.Start <= p.At && p.At < g.End {
				window = append(window, both{h, p, true})
			}
			if p.At >= h.At-2 && p.At <= h.At+10 {
				interval = append(interval, both{h, p, true})
				alone = false
			}
			if p.At <= h.At && (valid.Who == "" || p.At > valid.At) {
				valid = p
			}
		}
		if alone {
			outer = append(outer, both{Hit: h})
		}
		temporal = append(temporal, both{h, valid, valid.Who != ""})
	}
	for _, p := range payments {
		at(p.Who, p.At).Paid += fmt.Sprint(p.Cents, " ")
	}
	for _, g := range in {
		groups = append(groups, *g)
	}
	return window, interval, append(outer, interval...), temporal, groups
}

func compareText[T any](a, b T) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }

func sameSet[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	slices.SortFunc(got, compareText)
	slices.SortFunc(want, compareText)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%s: %d results, want %d: %v, want %v", what, len(got), len(want), got[:min(4, len(got))], want[:min(4, len(want))])
	}
}

// TestJoinsUnderKills: results of joins are those of a program that goes through all pairs by
// itself, byte for byte, however often TaskManagers are killed in between.
func TestJoinsUnderKills(t *testing.T) {
	var hits []hit
	var payments []paid
	for i := range int64(2000) {
		hits = append(hits, hit{fmt.Sprint("user ", i*i%13), i/2 - i%5 - 100, i})
		payments = append(payments, paid{fmt.Sprint("user ", i*7%17), i/2*1 - i*i%4 - 100, i})
	}
	// Of two versions with one time the last to come counts: let there be none.
	slices.SortStableFunc(payments, func(a, b paid) int { return cmp.Compare(a.At, b.At) })
	payments = slices.CompactFunc(payments, func(a, b paid) bool { return a.At == b.At })
	byWindow, interval, outer, temporal, groups := plainJoins(hits, payments)
	for name, kills := range map[string]int{"undisturbed": 0, "killed": 3} {
		t.Run(name, func(t *testing.T) {
			var gotWindow, gotInterval, gotOuter, gotTemporal []both
			var gotGroups, gotSessions []group
			left, right := weirtest.NewFeed(t, hits[:200]...), weirtest.NewFeed(t, payments[:100]...)
			j := weirtest.Run(t, joinJob, weirtest.TaskManagers(2), weirtest.ReplaceSource("hits", left), weirtest.ReplaceSource("payments", right),
				weirtest.Capture("window", &gotWindow), weirtest.Capture("interval", &gotInterval), weirtest.Capture("outer", &gotOuter),
				weirtest.Capture("temporal", &gotTemporal), weirtest.Capture("groups", &gotGroups), weirtest.Capture("sessions", &gotSessions))
			for i := range 4 {
				j.AwaitCheckpoint(1)
				if i < kills {
					j.KillTaskManager(0)
					j.AddTaskManager()
				}
				left.Send(hits[200+i*400 : 600+i*400]...)
				right.Send(payments[100+i*150 : 250+i*150]...)
			}
			left.Send(hits[1800:]...)
			left.End()
			right.Send(payments[700:]...)
			right.End()
			j.Wait()
			sameSet(t, "window", gotWindow, slices.Clone(byWindow))
			sameSet(t, "interval", gotInterval, slices.Clone(interval))
			sameSet(t, "outer", gotOuter, slices.Clone(outer))
			sameSet(t, "temporal", gotTemporal, slices.Clone(temporal))
			sameSet(t, "groups", gotGroups, slices.Clone(groups))
			records := 0
			for _, g := range gotSessions {
				records += strings.Count(g.Hits+g.Paid, " ")
			}
			if records != len(hits)+len(payments) {
				t.Errorf("sessions have %d records, want %d", records, len(hits)+len(payments))
			}
		})
	}
}

// TestLateJoins: records of both streams that come too late go to their side outputs.
func TestLateJoins(t *testing.T) {
	lateHits, latePaid := weir.NewTag[hit]("late-hits"), weir.NewTag[paid]("late-payments")
	var joined, grouped []both
	var sideHits, sideHits2, sideHits3 []hit
	var sidePaid, sidePaid2 []paid
	hits := weirtest.NewFeed(t, hit{"ann", 10, 1}, hit{"ann", 500, 2})
	payments := weirtest.NewFeed(t, paid{"ann", 11, 1}, paid{"ann", 500, 2})
	j := weirtest.Run(t, func(env *weir.Env) error {
		l := env.From("hits", weirtest.NewFeed[hit](nil)).EventTime(hit.time, 0, weir.Idleness(0)).KeyBy(func(h hit) string { return h.User })
		r := env.From("payments", weirtest.NewFeed[paid](nil)).EventTime(paid.time, 0, weir.Idleness(0)).KeyBy(func(p paid) string { return p.Who })
		in := l.IntervalJoin(r).Between(0, time.Millisecond).LateTo(lateHits, latePaid).Apply("interval", bothOf)
		in.To("joined", discard[both]{})
		in.Side(lateHits).To("side-hits", discard[hit]{})
		in.Side(latePaid).To("side-payments", discard[paid]{})
		w := l.Join(r).Window(window.Tumbling(10*time.Millisecond)).LateTo(lateHits, latePaid).Apply("windows", bothOf)
		w.To("grouped", discard[both]{})
		w.Side(lateHits).To("side-hits-2", discard[hit]{})
		w.Side(latePaid).To("side-payments-2", discard[paid]{})
		v := l.TemporalJoin(r).LateTo(lateHits).Apply("versions", bothOf)
		v.Side(lateHits).To("side-hits-3", discard[hit]{})
		return nil
	}, weirtest.ReplaceSource("hits", hits), weirtest.ReplaceSource("payments", payments), weirtest.Capture("joined", &joined), weirtest.Capture("grouped", &grouped),
		weirtest.Capture("side-hits", &sideHits), weirtest.Capture("side-hits-2", &sideHits2), weirtest.Capture("side-hits-3", &sideHits3),
		weirtest.Capture("side-payments", &sidePaid), weirtest.Capture("side-payments-2", &sidePaid2))
	j.AwaitCaptured("grouped", 1) // so the watermark has passed what is sent now
	hits.Send(hit{"ann", 12, 3})
	payments.Send(paid{"ann", 13, 3})
	hits.End()
	payments.End()
	j.Wait()
	sameSet(t, "joined", joined, []both{bothOf(hit{"ann", 10, 1}, paid{"ann", 11, 1}), bothOf(hit{"ann", 500, 2}, paid{"ann", 500, 2})})
	for what, side := range map[string][]hit{"interval": sideHits, "windows": sideHits2, "versions": sideHits3} {
		sameSet(t, "late hits of "+what, side, []hit{{"ann", 12, 3}})
	}
	for what, side := range map[string][]paid{"interval": sidePaid, "windows": sidePaid2} {
		sameSet(t, "late payments of "+what, side, []paid{{"ann", 13, 3}})
	}
}

// TestJoinMistakes: what can't be run is said when the job is planned, with the name of the
// operator.
func TestJoinMistakes(t *testing.T) {
	type keyed = weir.Keyed[string, hit]
	for want, f := range map[string]func(k, timeless *keyed){
		`join "j": the interval is missing`: func(k, _ *keyed) { k.IntervalJoin(k).Apply("j", func(a, b hit) hit { return a }) },
		`join "j": an interval from 2ms to 1ms is empty`: func(k, _ *keyed) {
			k.IntervalJoin(k).Between(2*time.Millisecond, time.Millisecond).Apply("j", func(a, b hit) hit { return a })
		},
		`must be whole milliseconds`:   func(k, _ *keyed) { k.IntervalJoin(k).Between(0, 1).Apply("j", func(a, b hit) hit { return a }) },
		`join "j": the window is zero`: func(k, _ *keyed) { k.Join(k).Apply("j", func(a, b hit) hit { return a }) },
		`join "j": window.Tumbling needs event time, and the records of "hits" have none`: func(k, t *keyed) {
			k.Join(t).Window(window.Tumbling(time.Second)).Apply("j", func(a, b hit) hit { return a })
		},
		`join "j": a temporal join needs event time`: func(k, t *keyed) { t.TemporalJoin(k).Apply("j", func(a, b hit) hit { return a }) },
		`cogroup "j": its function is nil`: func(k, _ *keyed) {
			k.Join(k).Window(window.Tumbling(time.Second)).CoGroup[hit]("j", nil)
		},
		`join "j": the stream it is connected to is nil`: func(k, _ *keyed) {
			k.TemporalJoin((*keyed)(nil)).Apply("j", func(a, b hit) hit { return a })
		},
		`there is no such join`: func(k, _ *keyed) {
			k.Join(k).Window(window.SlidingCount(3, 2)).Apply("j", func(a, b hit) hit { return a })
		},
	} {
		_, _, err := weir.ProgramFor(nil, func(string) string { return "" }, func(env *weir.Env) error {
			hits := env.From("hits", weirtest.NewFeed[hit](nil))
			user := func(h hit) string { return h.User }
			f(hits.EventTime(hit.time, 0).KeyBy(user), hits.KeyBy(user))
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
}
