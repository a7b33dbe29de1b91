package weirtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
)

var (
	unparsed = weir.NewTag[weir.DeadLetter[string]]("unparsed")
	odd      = weir.NewTag[weir.DeadLetter[int]]("odd")
)

// even refuses odd numbers, and panics at 13.
type even struct{}

func (even) Process(_ *weir.Ctx[int], n int, out *weir.Collector[int]) error {
	switch {
	case n == 13:
		panic("thirteen")
	case n%2 != 0:
		return errors.New("odd")
	}
	out.Emit(n)
	return nil
}

// TestDeadLetters: records that an operator fails on go to the side, with the error and
// the place where they were read, and the job goes on; without the option it fails.
func TestDeadLetters(t *testing.T) {
	build := func(opts ...weir.Option) func(env *weir.Env) error {
		return func(env *weir.Env) error {
			parsed := env.From("lines", weir.Source[string](never{})).
				FlatMap("parse", func(l string, out *weir.Collector[int]) error {
					n, err := strconv.Atoi(l)
					if err == nil {
						out.Emit(n)
					}
					return err
				}, weir.DeadLetters(unparsed))
			numbers := parsed.KeyBy(func(n int) int { return n % 5 }).
				Process("even", func(*weir.Setup) even { return even{} }, opts...)
			numbers.Print()
			parsed.Side(unparsed).Map("a", func(d weir.DeadLetter[string]) string {
				return fmt.Sprintf("%s %s at %t", d.Operator, d.Record, d.Position != "")
			}).Print()
			if len(opts) > 0 {
				numbers.Side(odd).Map("b", func(d weir.DeadLetter[int]) string {
					return fmt.Sprintf("%s %d: %s", d.Operator, d.Record, d.Error)
				}).Print()
			}
			return nil
		}
	}
	in := NewFeed(t, "2", "x", "7", "13", "", "40")
	in.End()
	var got []int
	var a, b []string
	Run(t, build(weir.DeadLetters(odd)), ReplaceSource("lines", in), Capture("even-print", &got), Capture("a-print", &a), Capture("b-print", &b)).Wait()
	slices.Sort(got)
	slices.Sort(a)
	slices.Sort(b)
	if d := cmp.Diff([]int{2, 40}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"parse  at true", "parse x at true"}, a); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"even 13: panic: thirteen", "even 7: odd"}, b); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	again := NewFeed(t, "7")
	again.End()
	c := Run(t, build(), Setting("restart-strategy.type", "none"), ReplaceSource("lines", again), Capture("even-print", &got), Capture("a-print", &a))
	if why := c.WaitFailed(); !strings.Contains(why, "odd") {
		t.Errorf("failed with %q", why)
	}
}
