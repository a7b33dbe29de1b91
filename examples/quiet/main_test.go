package main

import (
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
