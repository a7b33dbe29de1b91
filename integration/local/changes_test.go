package local

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/weirtest"
)

// TestForwardEdgesAreParted: a union takes its inputs subtask by subtask. Given another
// parallelism than its sources', while records flow, it takes them in turn; each once.
func TestForwardEdgesAreParted(t *testing.T) {
	text := func(from string, first, n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("%s%04d", from, first+i))
		}
		return all
	}
	a, b := weirtest.NewFeed(t, text("a", 0, 500)...), weirtest.NewFeed(t, text("b", 0, 500)...)
	var got []string
	j := weirtest.Run(t, func(env *weir.Env) error {
		env.From("a", nil2[string]()).Union(env.From("b", nil2[string]())).Map("both", weir.Self).To("out", sink{})
		return nil
	}, weirtest.ReplaceSource("a", a), weirtest.ReplaceSource("b", b), weirtest.Capture("out", &got), weirtest.Slots(3), weirtest.Setting("parallelism.default", "2"))
	j.AwaitCaptured("out", 1000)
	for i, parallelism := range []int{3, 1, 2} {
		j.RescaleOperator("both", parallelism)
		a.Send(text("a", 500+100*i, 100)...)
		b.Send(text("b", 500+100*i, 100)...)
		j.AwaitCaptured("out", 1000+200*(i+1))
	}
	a.End()
	b.End()
	j.Wait()
	slices.Sort(got)
	if d := cmp.Diff(slices.Concat(text("a", 0, 800), text("b", 0, 800)), got); d != "" {
		t.Errorf("%.1000s", d)
	}
}

// TestSelfUnion: a stream joined with itself, and with another, by key: each record comes as
// often as its stream stands there, across checkpoints that overtake, a loss and a rescale.
func TestSelfUnion(t *testing.T) {
	const keys, each = 20, 100
	var a, b []string
	for i := range keys * each {
		a = append(a, fmt.Sprintf("k%02d", i%keys))
		b = append(b, fmt.Sprintf("k%02d", i*7%keys))
	}
	first, second := weirtest.NewFeed(t, a...), weirtest.NewFeed(t, b...)
	var got []string
	j := weirtest.Run(t, func(env *weir.Env) error {
		s := env.From("a", nil2[string]())
		s.Union(s).Union(env.From("b", nil2[string]())).KeyBy(weir.Self).
			Process("notes", func(s *weir.Setup) *notes { return &notes{n: s.Value[int]("n")} }).
			To("out", sink{})
		return nil
	}, weirtest.ReplaceSource("a", first), weirtest.ReplaceSource("b", second), weirtest.Capture("out", &got), weirtest.TaskManagers(2), weirtest.Slots(2),
		weirtest.Setting("parallelism.default", "2"), weirtest.Setting("execution.checkpointing.interval", "10 ms"),
		weirtest.Setting("execution.checkpointing.aligned-checkpoint-timeout", "0 s"))
	j.AwaitCaptured("out", 3*keys*each)
	first.Send(a...)
	j.KillTaskManager(0)
	second.Send(b...)
	j.AwaitCaptured("out", 6*keys*each)
	j.Rescale(1)
	first.Send(a...)
	first.End()
	second.End()
	j.Wait()
	var want []string
	for k := range keys {
		for n := range (3*2 + 2) * each {
			want = append(want, fmt.Sprintf("k%02d %d", k, n+1))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%.1000s", d)
	}
}

// notes counts by key, in one state or two.
type notes struct{ n, more *weir.Value[int] }

func (p *notes) Process(c *weir.Ctx[string], _ string, out *weir.Collector[string]) error {
	n, _ := p.n.Get()
	p.n.Set(n + 1)
	if p.more == nil {
		out.Emit(fmt.Sprintf("%s %d", c.Key(), n+1))
		return nil
	}
	more, _ := p.more.Get()
	p.more.Set(more + 1)
	out.Emit(fmt.Sprintf("%s %d %d", c.Key(), n+1, more+1))
	return nil
}

// TestDroppedStateComesBackEmpty: a version without a state was asked to go on without it;
// the next one, which has it again, does not find the entries that were dropped, although
// the files of the snapshot still hold them.
func TestDroppedStateComesBackEmpty(t *testing.T) {
	version := func(more bool) func(env *weir.Env) error {
		return func(env *weir.Env) error {
			env.From("in", nil2[string]()).KeyBy(weir.Self).Process("notes", func(s *weir.Setup) *notes {
				p := &notes{n: s.Value[int]("n")}
				if more {
					p.more = s.Value[int]("more")
				}
				return p
			}).To("out", sink{})
			return nil
		}
	}
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			feed := weirtest.NewFeed(t, "x", "x", "y")
			var first, second, third []string
			options := func(into *[]string, more ...weirtest.Option) []weirtest.Option {
				return append(more, weirtest.ReplaceSource("in", feed), weirtest.Capture("out", into), weirtest.Setting("state.backend.type", backend))
			}
			j := weirtest.Run(t, version(true), options(&first)...)
			j.AwaitCaptured("out", 3)
			saved := j.NativeSavepoint()
			j.Cancel()
			feed.Send("x")
			j = weirtest.Run(t, version(false), options(&second, weirtest.From(saved), weirtest.AllowNonRestored())...)
			j.AwaitCaptured("out", 1)
			saved = j.NativeSavepoint()
			j.Cancel()
			feed.Send("x", "y")
			feed.End()
			weirtest.Run(t, version(true), options(&third, weirtest.From(saved))...).Wait()
			slices.Sort(third)
			if d := cmp.Diff([]string{"x 4 1", "y 2 1"}, third); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{"x 3"}, second); d != "" {
				t.Error(d)
			}
		})
	}
}
