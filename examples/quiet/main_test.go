package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/weirtest"
)

func TestQuiet(t *testing.T) {
	h := weirtest.Keyed(t, func(s *weir.Setup) *quiet { return newQuiet(s, time.Second) }, func(c Click) string { return c.User })
	ann, bob := Click{User: "ann"}, Click{User: "bob"}
	h.Push(h.Now(), ann)
	h.Advance(900 * time.Millisecond)
	h.Push(h.Now(), ann)
	h.Push(h.Now(), bob)
	h.Restore(h.Snapshot()) // a failure changes nothing
	h.Advance(900 * time.Millisecond)
	h.Push(h.Now(), bob)
	h.Advance(200 * time.Millisecond)
	if d := cmp.Diff([]Quiet{{"ann", 2}}, h.Output()); d != "" {
		t.Error(d)
	}
	h.Advance(time.Hour)
	if d := cmp.Diff([]Quiet{{"bob", 2}}, h.Output()); d != "" {
		t.Error(d)
	}
}

// TestTimersSurviveAKill: every user is reported once, though a TaskManager is lost
// while the job waits for them to go quiet.
func TestTimersSurviveAKill(t *testing.T) {
	const users = 50
	var got, want []Quiet
	clicks := weirtest.NewFeed[Click](t)
	c := weirtest.Run(t, build, weirtest.TaskManagers(3), weirtest.Args("--after", "200ms"),
		weirtest.ReplaceSource("clicks", clicks), weirtest.Capture("quiet-print", &got))
	for i := range users {
		u := fmt.Sprintf("user-%02d", i)
		clicks.Send(Click{User: u})
		want = append(want, Quiet{u, 1})
	}
	c.AwaitCheckpoint(2)
	c.KillTaskManager(1)
	c.AwaitCaptured("quiet-print", users)
	clicks.End()
	if r := c.Wait(); r.Restarts == 0 {
		t.Error("nothing was restarted")
	}
	slices.SortFunc(got, func(a, b Quiet) int { return strings.Compare(a.User, b.User) })
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
