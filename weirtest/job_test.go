package weirtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/operator"
)

// lines are what the tests count the words of.
func lines(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("w%d w%d all", i%7, i%500)
	}
	return all
}

// updates are all outputs of counting the words of lines, sorted.
func updates(lines []string) []string {
	counts := map[string]int{}
	var all []string
	for _, l := range lines {
		for w := range strings.FieldsSeq(l) {
			counts[w]++
			all = append(all, word(w, counts[w]))
		}
	}
	slices.Sort(all)
	return all
}

func word(w string, n int) string { return fmt.Sprintf("%s %06d", w, n) }

// words is the job under test; its source is to be replaced.
func words(env *weir.Env) error {
	env.ClosingLine("words in {ms} ms")
	env.From("lines", weir.Source[string](never{})).
		FlatMapSeq("split", strings.FieldsSeq).
		KeyBy(weir.Self).
		Fold("count", 0, func(n int, _ string) int { return n + 1 }, word).
		Print()
	return nil
}

// never is a source that no test may start.
type never struct{}

func (never) NewReader(*operator.SourceContext) (operator.Reader[string], error) {
	return nil, errors.New("the real source was started")
}

func (never) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) {
	return nil, errors.New("the real source was planned")
}

// TestKill: every update of every word comes out once, though two
// TaskManagers of three and one added are lost, the first after checkpoint 2.
func TestKill(t *testing.T) {
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			in := lines(12_000)
			var got []string
			feed := NewFeed(t, in[:4000]...)
			c := Run(t, words, TaskManagers(3), Setting("state.backend.type", backend),
				ReplaceSource("lines", feed), Capture("count-print", &got))
			c.AwaitCheckpoint(2)
			c.KillTaskManager(1)
			c.AddTaskManager()
			feed.Send(in[4000:8000]...)
			c.AwaitCaptured("count-print", 3*6000)
			c.KillTaskManager(0)
			feed.Send(in[8000:]...)
			feed.End()
			r := c.Wait()
			if r.Restarts < 2 || r.RestoredFrom == 0 || !strings.HasPrefix(r.ClosingLine, "words in ") {
				t.Errorf("%+v", r)
			}
			slices.Sort(got)
			if d := cmp.Diff(updates(in), got); d != "" {
				t.Errorf("%d updates (-want +got):\n%.2000s", len(got), d)
			}
		})
	}
}

func TestReplaceKeepsOrder(t *testing.T) {
	var got []string
	in := lines(2000)
	Run(t, func(env *weir.Env) error {
		env.From("in", weir.Source[string](never{})).To("out", weir.Sink[string](nowhere{}))
		return nil
	}, Replace("in", in...), Capture("out", &got)).Wait()
	if d := cmp.Diff(in, got); d != "" {
		t.Error(d)
	}
}

// nowhere is a sink that no test may run.
type nowhere struct{}

func (nowhere) NewWriter(*weir.Setup) (weir.Writer[string], error) {
	return nil, errors.New("the real sink was made")
}

// TestOnlyCommittedIsCaptured: what no checkpoint covers is not captured.
func TestOnlyCommittedIsCaptured(t *testing.T) {
	var got []string
	feed := NewFeed(t, lines(10)...)
	seen := make(chan struct{}, 100)
	c := Run(t, func(env *weir.Env) error {
		env.From("in", weir.Source[string](never{})).
			Map("seen", func(s string) string { seen <- struct{}{}; return s }).
			To("out", weir.Sink[string](nowhere{}))
		return nil
	}, ReplaceSource("in", feed), Capture("out", &got), Setting(keyInterval, "1 h"), Options(weir.Parallelism(1)))
	for range 10 {
		<-seen
	}
	if r := c.Cancel(); len(got) != 0 || r.Restarts != 0 || r.RestoredFrom != 0 {
		t.Errorf("captured %d records without a checkpoint, %+v", len(got), r)
	}
}

func TestArgsEnvironAndFailure(t *testing.T) {
	c := Run(t, func(env *weir.Env) error {
		text := strings.Join(env.Args(), " ") + " " + env.Param("WHO") + env.Param("HOME") + "."
		env.From("in", weir.Source[string](never{})).
			FlatMap("fail", func(string, *weir.Collector[string]) error { return errors.New(text) }).
			To("out", weir.Sink[string](nowhere{}))
		return nil
	}, Args("good", "bye"), Environ("WHO", "ann"), Setting("restart-strategy.type", "none"),
		Replace("in", "x"), Capture("out", new([]string)))
	if cause := c.WaitFailed(); !strings.Contains(cause, "good bye ann.") {
		t.Errorf("failed with %q", cause)
	}
}

// TestEndlessSource: a job with an endless source in all its subtasks loses a
// TaskManager, goes on, and is cancelled; of each key the outputs up to somewhere have
// come out, each once.
func TestEndlessSource(t *testing.T) {
	var got []string
	c := Run(t, words, TaskManagers(4), Setting(keyParallelism, "3"),
		ReplaceSource("lines", generator.Range(-1, func(i uint64) string { return fmt.Sprint("w", i%10) }, generator.Rate(20_000))),
		Capture("count-print", &got))
	c.AwaitCheckpoint(2)
	c.KillTaskManager(2)
	n := c.Captured("count-print")
	c.AwaitCaptured("count-print", n+1000)
	if r := c.Cancel(); r.Restarts == 0 || r.RestoredFrom == 0 {
		t.Errorf("%+v", r)
	}
	slices.Sort(got)
	last := ""
	n = 0
	for _, line := range got {
		key, _, _ := strings.Cut(line, " ")
		if key != last {
			last, n = key, 0
		}
		if n++; line != word(key, n) {
			t.Fatalf("output %q, want %q", line, word(key, n))
		}
	}
}
