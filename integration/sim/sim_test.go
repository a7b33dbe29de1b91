package sim

import (
	"testing"
)

// seeds of `go test`; make sim SEEDS=N plays more.
const seeds = 1000

// TestSeeds plays a thousand seeds; each must keep every invariant. One in a hundred
// is played twice and must leave the same trace.
func TestSeeds(t *testing.T) {
	n := uint64(seeds)
	if testing.Short() {
		n = 100
	}
	var sum Figures
	for seed := range n {
		r := Run(Options{Seed: seed})
		if r.Violation != "" {
			t.Fatalf("seed %d: %s", seed, r.Violation)
		}
		if seed%100 == 0 {
			if again := Run(Options{Seed: seed}); again.Hash != r.Hash {
				t.Fatalf("seed %d: trace hash %x, the second time %x", seed, r.Hash, again.Hash)
			}
		}
		sum.Add(r.Figures)
	}
	t.Logf("%+v", sum)
	// The scenarios took their paths.
	for name, figure := range map[string]int{
		"worker crashes": sum.WorkerCrashes, "leader changes": sum.LeaderChanges, "adoptions": sum.Adoptions, "refused adoptions": sum.Refused,
		"restores": sum.Restores, "rescales": sum.Rescales, "aborts": sum.Aborts, "completed": sum.Completed,
		"unknown results": sum.Unknown, "lost messages": sum.LostMessages, "deleted objects": sum.Deleted, "read-backs": 3 * sum.ReadBacks, "restores of a terminal checkpoint": 3 * sum.TerminalRestores,
		"late acks": sum.LateAcks, "savepoints": sum.Savepoints, "pins of other jobs": 2 * sum.Pins, "stops": 2 * sum.Stops, "orphans": sum.Orphans, "late transactions": 10 * sum.LateApplied, "restores of a stop": 10 * sum.StopRestores,
		"channels captured": sum.Captured, "records in flight restored": sum.InFlight,
	} {
		if figure < int(n)/10 {
			t.Errorf("only %d %s in %d seeds", figure, name, n)
		}
	}
}

// TestMutantsAreFound is the negative control.
func TestMutantsAreFound(t *testing.T) {
	for m := NoMutant + 1; m < Mutants; m++ {
		t.Run(m.String(), func(t *testing.T) {
			for seed := range uint64(400) {
				if r := Run(Options{Seed: seed, Mutant: m}); r.Violation != "" {
					t.Logf("seed %d: %s", seed, r.Violation)
					return
				}
			}
			t.Errorf("not found in 400 seeds")
		})
	}
}
