package weir_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/weirtest"
	"github.com/weirstream/weir/window"
)

// hit is a record of the jobs under test.
type hit struct {
	User string
	At   int64 // ms
	N    int64
}

func (h hit) time() time.Time { return time.UnixMilli(h.At) }

// visit is what has come to a window.
type visit struct {
	User       string
	Start, End int64
	Count, Sum int64
}

// sumOf is the accumulator of visits.
type sumOf struct{ Count, Sum int64 }

func addHit(a sumOf, h hit) sumOf { return sumOf{a.Count + 1, a.Sum + h.N} }
func addSums(a, b sumOf) sumOf    { return sumOf{a.Count + b.Count, a.Sum + b.Sum} }
func visitOf(user string, w window.Span, a sumOf) visit {
	return visit{user, w.Start, w.End, a.Count, a.Sum}
}

// lengths sees all elements, and counts the windows of a user.
type lengths struct{ windows *weir.Value[int64] }

func newLengths(s *weir.Setup) *lengths { return &lengths{s.Value[int64]("windows")} }

func (l *lengths) Process(c *weir.Ctx[string], w window.Span, elements []window.Element[hit], out *weir.Collector[visit]) error {
	n, _ := l.windows.Get()
	l.windows.Set(n + 1)
	var a sumOf
	for _, e := range elements {
		a = addHit(a, e.Value)
	}
	out.Emit(visitOf(c.Key(), w, a))
	return nil
}

// windowJob puts hits into windows in every way.
func windowJob(env *weir.Env) error {
	hits := env.From("hits", weirtest.NewFeed[hit](nil)).EventTime(hit.time, 5*time.Millisecond, weir.Idleness(0))
	user := hits.KeyBy(func(h hit) string { return h.User })
	sink := func(uid string, s *weir.Stream[visit]) { s.To(uid, discard[visit]{}) }
	sink("folded", user.Window(window.Tumbling(10*time.Millisecond)).
		Fold("fold", sumOf{}, addHit, visitOf, weir.Merge(addSums)))
	sink("direct", user.Window(window.Tumbling(10*time.Millisecond)).
		Fold("direct-fold", sumOf{}, addHit, visitOf))
	sink("sliding", user.Window(window.Sliding(30*time.Millisecond, 10*time.Millisecond)).
		Aggregate("slide", func() sumOf { return sumOf{} }, addHit, addSums, visitOf))
	sink("sessions", user.Window(window.Session(4*time.Millisecond)).
		Aggregate("session", func() sumOf { return sumOf{} }, addHit, addSums, visitOf))
	sink("all", hits.WindowAll(window.Tumbling(10*time.Millisecond)).
		Fold("total", sumOf{}, addHit, func(w window.Span, a sumOf) visit { return visitOf("", w, a) }, weir.Merge(addSums)))
	sink("processed", user.Window(window.Session(4*time.Millisecond)).Process("lengths", newLengths))
	return nil
}

type discard[T any] struct{}

func (discard[T]) NewWriter(*weir.Setup) (weir.Writer[T], error) { return discard[T]{}, nil }
func (discard[T]) Write(T) error                                 { return nil }

// TestWindowsUnderKills: results of windows are those of a program that goes through the
// records by itself, byte for byte, however often TaskManagers are killed in between.
func TestWindowsUnderKills(t *testing.T) {
	var hits []hit
	for i := range int64(4000) {
		hits = append(hits, hit{fmt.Sprint("user ", i*i%23), i/4 - i%5 - 100, i})
	}
	for name, kills := range map[string]int{"undisturbed": 0, "killed": 3} {
		t.Run(name, func(t *testing.T) {
			outs := map[string]*[]visit{}
			feed := weirtest.NewFeed(t, hits[:500]...)
			opts := []weirtest.Option{weirtest.TaskManagers(2), weirtest.ReplaceSource("hits", feed)}
			for _, uid := range []string{"folded", "direct", "sliding", "sessions", "all", "processed"} {
				outs[uid] = new([]visit)
				opts = append(opts, weirtest.Capture(uid, outs[uid]))
			}
			j := weirtest.Run(t, windowJob, opts...)
			for i := range 6 {
				j.AwaitCheckpoint(1)
				if i < kills {
					j.KillTaskManager(0)
					j.AddTaskManager()
				}
				feed.Send(hits[500+i*500 : 1000+i*500]...)
			}
			feed.Send(hits[3500:]...)
			feed.End()
			j.Wait()
			key := func(h hit) string { return h.User }
			aligned := func(size, slide int64) []visit { return plainWindows(hits, key, size, slide) }
			for uid, want := range map[string][]visit{
				"folded": aligned(10, 10), "direct": aligned(10, 10), "sliding": aligned(30, 10),
				"all":      plainWindows(hits, func(hit) string { return "" }, 10, 10),
				"sessions": plainSessions(hits, 4), "processed": plainSessions(hits, 4),
			} {
				got := *outs[uid]
				slices.SortFunc(got, compareVisits)
				if !slices.Equal(got, want) {
					t.Errorf("%s: %d results, want %d: %v, want %v", uid, len(got), len(want), got[:min(5, len(got))], want[:5])
				}
			}
		})
	}
}

func compareVisits(a, b visit) int {
	return strings.Compare(fmt.Sprintf("%s %010d", a.User, a.End+1e6), fmt.Sprintf("%s %010d", b.User, b.End+1e6))
}

func plainWindows(hits []hit, key func(hit) string, size, slide int64) (all []visit) {
	type place struct {
		user string
		end  int64
	}
	sums := map[place]sumOf{}
	for _, h := range hits {
		for end := int64(-1000); end < 2000; end += slide {
			if h.At < end && h.At >= end-size {
				p := place{key(h), end}
				sums[p] = addHit(sums[p], h)
			}
		}
	}
	for p, a := range sums {
		all = append(all, visit{p.user, p.end - size, p.end, a.Count, a.Sum})
	}
	slices.SortFunc(all, compareVisits)
	return all
}

func plainSessions(hits []hit, gap int64) (all []visit) {
	sorted := slices.Clone(hits)
	slices.SortStableFunc(sorted, func(a, b hit) int { return int(a.At - b.At) })
	open := map[string]visit{}
	for _, h := range sorted {
		v, ok := open[h.User]
		if ok && h.At > v.End {
			all = append(all, v)
			ok = false
		}
		if !ok {
			v = visit{User: h.User, Start: h.At}
		}
		v.End, v.Count, v.Sum = h.At+gap, v.Count+1, v.Sum+h.N
		open[h.User] = v
	}
	for _, v := range open {
		all = append(all, v)
	}
	slices.SortFunc(all, compareVisits)
	return all
}

// TestWindowMistakes: what can't be run is said when the job is planned, with the name of
// the operator.
func TestWindowMistakes(t *testing.T) {
	fold := func(w *weir.Windowed[string, hit], opts ...weir.Option) {
		w.Fold("w", sumOf{}, addHit, visitOf, opts...)
	}
	for want, f := range map[string]func(k, timeless *weir.Keyed[string, hit]){
		`fold "w": window.Tumbling: a size of 0s`:                 func(k, _ *weir.Keyed[string, hit]) { fold(k.Window(window.Tumbling(0))) },
		"needs event time, and the records of \"hits\" have none": func(_, k *weir.Keyed[string, hit]) { fold(k.Window(window.Tumbling(time.Second))) },
		"sessions become one, so a fold needs weir.Merge":         func(k, _ *weir.Keyed[string, hit]) { fold(k.Window(window.Session(time.Second))) },
		"weir.Merge is given a func(int, int) int": func(k, _ *weir.Keyed[string, hit]) {
			fold(k.Window(window.Tumbling(time.Second)), weir.Merge(func(a, b int) int { return a }))
		},
		"nothing is ever late for window.Global": func(k, _ *weir.Keyed[string, hit]) { fold(k.Window(window.Global()).Lateness(time.Second)) },
		"a lateness of -1s is not possible":      func(k, _ *weir.Keyed[string, hit]) { fold(k.Window(window.Global()).Lateness(-time.Second)) },
		"window.SessionBy has a func(int) time.Duration": func(k, _ *weir.Keyed[string, hit]) {
			fold(k.Window(window.SessionBy(func(int) time.Duration { return 1 })))
		},
		"window.KeepNear has a func(int, int) float64": func(k, _ *weir.Keyed[string, hit]) {
			fold(k.Window(window.Count(3)).Evictor(window.KeepNear(1, func(a, b int) float64 { return 0 })))
		},
		"the trigger is zero": func(k, _ *weir.Keyed[string, hit]) { fold(k.Window(window.Count(3)).Trigger(window.Trigger{})) },
		"weir.AtEnd, which does nothing there": func(k, _ *weir.Keyed[string, hit]) {
			fold(k.Window(window.Count(3)), weir.AtEnd)
		},
		"method OnTimer of *weir_test.ticking is never called": func(k, _ *weir.Keyed[string, hit]) {
			k.Window(window.Count(3)).Process("w", func(*weir.Setup) *ticking { return &ticking{} })
		},
		"sessions become one: there is no saying": func(k, _ *weir.Keyed[string, hit]) {
			k.Window(window.Session(time.Second)).Process("w", func(s *weir.Setup) *lengths {
				s.WindowValue[int]("x")
				return newLengths(s)
			})
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

type ticking struct{ lengths }

func (*ticking) OnTimer(*weir.Ctx[string], *weir.Collector[visit]) error { return nil }

// TestLateTo: late records go to the side output, whole, and only those; the others' results
// are as without.
func TestLateTo(t *testing.T) {
	late := weir.NewTag[hit]("late")
	var hits []hit
	for i := range int64(400) {
		hits = append(hits, hit{fmt.Sprint("user ", i%3), i, i})
	}
	old := []hit{{"user 0", 5, 1000}, {"user 1", -20, 1001}}
	var got []visit
	var side []hit
	feed := weirtest.NewFeed(t, hits...)
	j := weirtest.Run(t, func(env *weir.Env) error {
		w := env.From("hits", weirtest.NewFeed[hit](nil)).EventTime(hit.time, 0, weir.Idleness(0)).KeyBy(func(h hit) string { return h.User }).
			Window(window.Tumbling(10*time.Millisecond)).LateTo(late).
			Fold("fold", sumOf{}, addHit, visitOf, weir.Merge(addSums))
		w.To("folded", discard[visit]{})
		w.Side(late).To("late", discard[hit]{})
		return nil
	}, weirtest.ReplaceSource("hits", feed), weirtest.Capture("folded", &got), weirtest.Capture("late", &side))
	j.AwaitCaptured("folded", 60) // so the watermark has passed the old ones' windows
	feed.Send(old...)
	feed.End()
	j.Wait()
	slices.SortFunc(got, compareVisits)
	slices.SortFunc(side, func(a, b hit) int { return int(a.N - b.N) })
	if want := plainWindows(hits, func(h hit) string { return h.User }, 10, 10); !slices.Equal(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
	if !slices.Equal(side, old) {
		t.Errorf("late %v, want %v", side, old)
	}
}
