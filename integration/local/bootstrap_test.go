package local

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/weirtest"
)

// TestBootstrap: a job starts from state that no job has ever had.
func TestBootstrap(t *testing.T) {
	const before = 5 // orders of each user, made up
	to := filepath.Join(t.TempDir(), "made-up")
	w, err := savepoint.Create(t.Context(), to, "orders")
	if err != nil {
		t.Fatal(err)
	}
	op := w.Operator("spent", 4)
	totals, err := op.Values[string, total]("total")
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := op.Lists[string, int32]("sizes")
	if err != nil {
		t.Fatal(err)
	}
	days, err := op.Maps[string, string, int32]("days")
	if err != nil {
		t.Fatal(err)
	}
	photos, err := op.Values[string, []byte]("photo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range users {
		u := orderOf(i).User
		for _, err := range []error{
			totals.Put(u, total{before, before * price}), sizes.Put(u, make([]int32, before)),
			days.Put(u, "today", before), photos.Put(u, photoOf(u)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	weirtest.Run(t, first, weirtest.From(weirtest.SavepointAt(to)), rest(t), weirtest.Capture("out", &got)).Wait()
	count := map[string]int{}
	for i := range allOrders {
		u := orderOf(i).User
		count[u]++
		want = append(want, fmt.Sprintf("%s: %d orders, %d cents", u, before+count[u], (before+count[u])*price))
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%d updates, want %d: %.1000s", len(got), len(want), d)
	}
}
