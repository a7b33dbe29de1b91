package weirtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// TestJobGoesOnFromSavepoints: a job is stopped, cancelled and left behind, each time at
// another parallelism; every update is committed once, to the slice of whoever wrote it.
func TestJobGoesOnFromSavepoints(t *testing.T) {
	all := lines(3000)
	feed := NewFeed(t, all[:1000]...)
	var first, second, last []string
	options := func(into *[]string, more ...Option) []Option {
		return append(more, ReplaceSource("lines", feed), Capture("count-print", into))
	}
	j := Run(t, words, options(&first)...)
	j.AwaitCaptured("count-print", 3000)
	stopped, _ := j.Stop()

	feed.Send(all[1000:1500]...)
	j = Run(t, words, options(&second, From(stopped), Setting("parallelism.default", "3"))...)
	j.AwaitCaptured("count-print", 1000)
	saved := j.NativeSavepoint()
	feed.Send(all[1500:2000]...)
	j.AwaitCaptured("count-print", 1500)
	j.Cancel() // what came after the savepoint is computed again
	if n := len(second); n < 3000-1500 {
		t.Errorf("%d updates captured", n)
	}

	var again []string
	j = Run(t, words, options(&again, From(saved), Setting("parallelism.default", "1"), Slots(3))...)
	j.AwaitCaptured("count-print", 1500)
	j.Rescale(3)
	feed.Send(all[2000:2500]...)
	j.AwaitCaptured("count-print", 3000)
	left := j.Retained()

	feed.Send(all[2500:]...)
	feed.End()
	j = Run(t, words, options(&last, From(left))...)
	j.Wait()
	got := slices.Concat(first, second[:1500], again, last)
	slices.Sort(got)
	if d := cmp.Diff(updates(all), got); d != "" {
		t.Errorf("%d updates instead of %d: %.1000s", len(got), len(updates(all)), d)
	}
}

// renamed is words with its counting operator under another uid, and a state more.
func renamed(env *weir.Env) error {
	env.From("lines", weir.Source[string](never{})).
		FlatMapSeq("split", strings.FieldsSeq).
		KeyBy(weir.Self).
		Fold("total", 0, func(n int, _ string) int { return n + 1 }, word).
		To("out", discard[string]{})
	return nil
}

type discard[T any] struct{}

func (discard[T]) NewWriter(*weir.Setup) (weir.Writer[T], error) { return discard[T]{}, nil }
func (discard[T]) Write(T) error                                 { return nil }

func TestUpgradeIsRefusedOrMapped(t *testing.T) {
	feed := NewFeed(t, "a b", "a")
	var first, second []string
	j := Run(t, words, ReplaceSource("lines", feed), Capture("count-print", &first))
	j.AwaitCaptured("count-print", 3)
	s := j.Savepoint()
	j.Cancel()

	err := Refused(t, renamed, From(s), ReplaceSource("lines", feed))
	if !strings.Contains(err.Error(), `operator "count"`) {
		t.Errorf("error %v", err)
	}
	feed.Send("a")
	feed.End()
	j = Run(t, renamed, From(s), MapUID("count", "total"), MapUID("count-print", "out"), ReplaceSource("lines", feed), Capture("out", &second))
	j.Wait()
	if d := cmp.Diff([]string{word("a", 3)}, second); d != "" {
		t.Error(d)
	}
	var third []string
	feed = NewFeed(t, "x", "x", "a")
	feed.End()
	j = Run(t, renamed, From(s), AllowNonRestored(), ReplaceSource("lines", feed), Capture("out", &third))
	j.Wait()
	if d := cmp.Diff([]string{word("a", 1)}, third); d != "" { // the source goes on after what it has read
		t.Error(d)
	}
	err = Refused(t, func(env *weir.Env) error {
		env.From("lines", generator.Range(1, func(uint64) string { return "" })).KeyBy(func(s string) int { return len(s) }).
			Reduce("count", func(a, _ string) string { return a }).Print()
		return nil
	}, From(s), AllowNonRestored())
	if !strings.Contains(err.Error(), "stored under keys string, the program has int64") {
		t.Errorf("error %v", err)
	}
}
