// Command topn says which pages were looked at most in each minute: a count by page and
// window, and then the best of each window. Run it with `go run ./examples/topn`, or on a
// cluster with `weir run ./examples/topn`.
//
// Both steps are spread over all subtasks: the counts by page, the rankings by window. What
// is ranked are counts, of which there are few; records are counted where they are read.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/window"
)

// View is a look at a page.
type View struct {
	Page string
	At   time.Time
}

// Count is how often a page was looked at in the window that ends at End.
type Count struct {
	Page  string
	Views int64
	End   time.Time
}

// Ranking is the pages of a window, the most popular first.
type Ranking struct {
	End time.Time
	Top []Count
}

// String is what Print prints.
func (r Ranking) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "until %s:", r.End.UTC().Format(time.TimeOnly))
	for i, c := range r.Top {
		fmt.Fprintf(&b, " %d. %s (%d)", i+1, c.Page, c.Views)
	}
	return b.String()
}

const size = time.Minute

func main() { weir.Main(build, weir.Checkpoint(time.Second)) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("topn", flag.ContinueOnError)
	views := fs.Int64("views", 100_000, "`number` of views; -1 goes on for ever")
	n := fs.Int("top", 3, "`places` of a ranking")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	env.From("views", generator.Range(*views, view, generator.Interleaved())).
		EventTime(func(v View) time.Time { return v.At }, time.Second).
		KeyBy(func(v View) string { return v.Page }).
		Window(window.Tumbling(size)).
		Fold("count", int64(0), func(n int64, _ View) int64 { return n + 1 },
			func(page string, w window.Span, n int64) Count { return Count{page, n, w.EndTime()} },
			weir.Merge(func(a, b int64) int64 { return a + b })).
		// A count has the last ms of its window as event time, so this window has all of one.
		KeyBy(func(c Count) time.Time { return c.End }).
		Window(window.Tumbling(size)).
		Fold("rank", []Count{}, func(top []Count, c Count) []Count { return best(*n, append(top, c)) },
			func(end time.Time, _ window.Span, top []Count) Ranking { return Ranking{end.UTC(), top} },
			weir.Merge(func(a, b []Count) []Count { return best(*n, append(a, b...)) })).
		Print()
	return nil
}

// view is the i-th, 10 ms after the one before; pages have their minutes.
func view(i uint64) View {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(i) * 10 * time.Millisecond)
	return View{fmt.Sprintf("/page/%d", (i*i+i/6000)%23), at}
}

// best keeps the first n; of pages with as many views, the one whose name comes first.
func best(n int, all []Count) []Count {
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(-cmp.Compare(a.Views, b.Views), cmp.Compare(a.Page, b.Page))
	})
	return all[:min(n, len(all))]
}
