package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/weirtest"
)

// TestEnrich: orders come before the rates, and a TaskManager is lost while they wait; or
// they come after.
func TestEnrich(t *testing.T) {
	const n = 40
	var want, refused []string
	for i := range uint64(n) {
		o := order(i)
		if o.Currency == "XXX" {
			refused = append(refused, fmt.Sprintf("order %d: no rate for XXX", o.ID))
			continue
		}
		euros := map[string]int64{"USD": 8900, "CHF": 10700, "JPY": 55}[o.Currency]
		want = append(want, Priced{o, o.Cents * euros / 10_000}.String())
	}
	for _, first := range []string{"orders", "rates"} {
		t.Run(first, func(t *testing.T) {
			var priced []Priced
			var side []string
			rates, orders := weirtest.NewFeed[Rate](t), weirtest.NewFeed[Order](t)
			j := weirtest.Run(t, build, weirtest.TaskManagers(2), weirtest.ReplaceSource("rates", rates), weirtest.ReplaceSource("orders", orders),
				weirtest.Capture("price-print", &priced), weirtest.Capture("refused-print", &side))
			send := map[string]func(){
				"orders": func() {
					for i := range uint64(n) {
						orders.Send(order(i))
					}
				},
				"rates": func() {
					for i := range uint64(4) {
						rates.Send(rate(i))
					}
				},
			}
			send[first]()
			j.AwaitCheckpoint(2)
			j.KillTaskManager(0)
			delete(send, first)
			for _, other := range send {
				other()
			}
			rates.End()
			orders.End()
			j.Wait()
			var got []string
			for _, p := range priced {
				got = append(got, p.String())
			}
			for _, l := range [][]string{got, want, side, refused} {
				slices.Sort(l)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(refused, side); d != "" {
				t.Error(d)
			}
		})
	}
}
