package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/weirtest"
)

var t0 = time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC)

func at(machine string, celsius int64, after time.Duration) Reading {
	return Reading{machine, celsius, t0.Add(after)}
}

// TestAlerts: one that cools down in time is not reported, one that doesn't is, once; a
// failure or another parallelism in between changes nothing.
func TestAlerts(t *testing.T) {
	for _, parallelism := range []int{1, 3} {
		h := weirtest.Keyed(t, func(s *weir.Setup) *watch { return newWatch(s, 90, time.Minute) }, func(r Reading) string { return r.Machine })
		for _, r := range []Reading{
			at("a", 95, 0), at("b", 91, 0), at("c", 90, 0),
			at("a", 99, 30*time.Second), at("b", 89, 59*time.Second), at("b", 95, 70*time.Second),
			at("d", 95, 0), at("d", 80, 61*time.Second), at("e", 95, 0), at("e", 80, 60*time.Second),
		} {
			h.Push(r.At, r)
			h.RestoreAt(parallelism, h.Snapshot())
		}
		h.Watermark(t0.Add(time.Minute))
		if d := cmp.Diff([]Alert{{"d", t0}, {"a", t0}}, h.Output()); d != "" {
			t.Error(d)
		}
		h.Push(t0.Add(80*time.Second), at("a", 97, 80*time.Second)) // still hot, and known
		h.Push(t0.Add(90*time.Second), at("a", 80, 90*time.Second))
		h.RestoreAt(parallelism, h.Snapshot())
		h.Watermark(t0.Add(time.Hour))
		if d := cmp.Diff([]Alert{{"b", t0.Add(70 * time.Second)}}, h.Output()); d != "" {
			t.Error(d)
		}
	}
}

// TestJob runs the program: machine m is hot for m half minutes, so those from 3 on are too
// long.
func TestJob(t *testing.T) {
	var got []Alert
	weirtest.Run(t, build, weirtest.Args("--readings", "1200"), weirtest.Capture("alerts-print", &got)).Wait()
	slices.SortFunc(got, func(a, b Alert) int {
		return strings.Compare(a.Since.Format(time.TimeOnly)+a.Machine, b.Since.Format(time.TimeOnly)+b.Machine)
	})
	var machines []string
	for _, a := range got {
		machines = append(machines, a.Machine)
	}
	want := []string{"machine-3", "machine-4", "machine-5", "machine-3", "machine-4", "machine-5"}
	if d := cmp.Diff(want, machines); d != "" {
		t.Error(d)
	}
}
