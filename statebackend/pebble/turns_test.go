package pebble

import "testing"

// TestDebt: compactions yield until too many runs wait for one, and never once the tier is
// to be closed.
func TestDebt(t *testing.T) {
	g := new(turns).newGate()
	for range owed {
		g.debt.runs.Add(1)
	}
	if g.debt.urgent() {
		t.Errorf("%d runs are not too many", owed)
	}
	g.debt.runs.Add(1)
	if !g.debt.urgent() {
		t.Errorf("%d runs are", owed+1)
	}
	if !g.s.take() {
		t.Fatal("nothing runs")
	}
	g.Done()
	if g.debt.urgent() {
		t.Error("a compaction has ended")
	}
	g.debt.runs.Add(closing)
	if !g.debt.urgent() {
		t.Error("the tier is closed")
	}
}
