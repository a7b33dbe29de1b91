package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/weirtest"
)

// visits are those of the first n clicks, by going through each user's in order.
func visits(n uint64, gap time.Duration) (all []Visit) {
	by := map[string][]Click{}
	for i := range n {
		c := click(i)
		by[c.User] = append(by[c.User], c)
	}
	for user, clicks := range by {
		slices.SortFunc(clicks, func(a, b Click) int { return a.At.Compare(b.At) })
		var v *Visit
		for i, c := range clicks {
			if i == 0 || c.At.Sub(clicks[i-1].At) > gap {
				all = append(all, Visit{User: user, Start: c.At, Path: Path{Seen: map[uint32]bool{}}})
				v = &all[len(all)-1]
			}
			v.Path.Clicks++
			v.Path.Seen[c.Page] = true
			v.Took, v.Path.Pages = c.At.Sub(v.Start), int64(len(v.Path.Seen))
		}
	}
	return all
}

func sorted(all []Visit) []Visit {
	slices.SortFunc(all, func(a, b Visit) int { return cmp.Or(cmp.Compare(a.User, b.User), a.Start.Compare(b.Start)) })
	return all
}

// TestSessions compares the job with the definition, undisturbed and over the loss of a
// TaskManager.
func TestSessions(t *testing.T) {
	const n, gap = 2000, 30 * time.Second
	want := sorted(visits(n, gap))
	if len(want) < 50 {
		t.Fatalf("only %d visits", len(want))
	}
	t.Run("undisturbed", func(t *testing.T) {
		var got []Visit
		weirtest.Run(t, build, weirtest.Capture("visits-print", &got)).Wait()
		if d := gocmp.Diff(want, sorted(got)); d != "" {
			t.Error(d)
		}
	})
	t.Run("killed", func(t *testing.T) {
		var got []Visit
		clicks := weirtest.NewFeed[Click](t)
		j := weirtest.Run(t, build, weirtest.TaskManagers(2), weirtest.ReplaceSource("clicks", clicks), weirtest.Capture("visits-print", &got))
		for i := range uint64(n) {
			if i == n/2 {
				j.AwaitCheckpoint(2)
				j.KillTaskManager(0)
			}
			clicks.Send(click(i))
		}
		clicks.End()
		j.Wait()
		if d := gocmp.Diff(want, sorted(got)); d != "" {
			t.Error(d)
		}
	})
}
