package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/weirtest"
)

// rankings are those of the first n views, by counting all.
func rankings(n uint64, top int) (all []Ranking) {
	counts := map[time.Time]map[string]int64{}
	for i := range n {
		v := view(i)
		end := v.At.Truncate(size).Add(size)
		if counts[end] == nil {
			counts[end] = map[string]int64{}
		}
		counts[end][v.Page]++
	}
	for end, pages := range counts {
		r := Ranking{End: end}
		for page, n := range pages {
			r.Top = append(r.Top, Count{page, n, end})
		}
		slices.SortFunc(r.Top, func(a, b Count) int {
			return cmp.Or(-cmp.Compare(a.Views, b.Views), cmp.Compare(a.Page, b.Page))
		})
		r.Top = r.Top[:top]
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Ranking) int { return a.End.Compare(b.End) })
	return all
}

// TestTopN compares the job with the definition; a TaskManager is lost on the way.
func TestTopN(t *testing.T) {
	const n = 30_000
	var got []Ranking
	views := weirtest.NewFeed[View](t)
	j := weirtest.Run(t, build, weirtest.TaskManagers(2), weirtest.Args("--top", "4"),
		weirtest.ReplaceSource("views", views), weirtest.Capture("rank-print", &got))
	for i := range uint64(n) {
		if i == n/2 {
			j.AwaitCheckpoint(2)
			j.KillTaskManager(0)
		}
		views.Send(view(i))
	}
	views.End()
	j.Wait()
	slices.SortFunc(got, func(a, b Ranking) int { return a.End.Compare(b.End) })
	if d := gocmp.Diff(rankings(n, 4), got); d != "" {
		t.Error(d)
	}
}
