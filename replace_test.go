package weir

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/replace"
)

// TestReplaced: only what the program has can be replaced, by what fits.
func TestReplaced(t *testing.T) {
	build := func(env *Env) error { env.From("in", numbers(5)).To("out", printSink[uint64]{}); return nil }
	sources := func(uid string, s any) *replace.Set { return &replace.Set{Sources: map[string]any{uid: s}} }
	for name, c := range map[string]struct {
		set  *replace.Set
		want string
	}{
		"nothing":         {nil, ""},
		"source":          {sources("in", numbers(7)), ""},
		"sink":            {&replace.Set{Sinks: map[string]any{"out": Sink[uint64](printSink[uint64]{})}}, ""},
		"unknown source":  {sources("inn", numbers(7)), `the program has no source "inn" to replace; it has "in"`},
		"sink as source":  {sources("out", numbers(7)), `no source "out" to replace; it has "in"`},
		"other records":   {sources("in", printSink[int]{}), `source "in" can't be replaced by a weir.printSink[int]: its type must be operator.Source[uint64]`},
		"unknown sink":    {&replace.Set{Sinks: map[string]any{"x": printSink[int]{}}}, `no sink "x" to replace; it has "out"`},
		"sink of another": {&replace.Set{Sinks: map[string]any{"out": printSink[int]{}}}, `sink "out" can't be replaced by a weir.printSink[int]: its type must be operator.Sink[uint64]`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planOf(build, Replaced(c.set))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
