// Command simcmd plays many seeds of the simulator (make sim SEEDS=N). Its last line
// on stdout is
//
//	sim: seeds=… steps=… crashes=… aborts=… completed=… violations=0
//
// and it exits with 1 if a seed broke an invariant, naming it. -seed N -trace prints
// the trace of one.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/weirstream/weir/integration/sim"
)

func main() {
	seeds := flag.Uint64("seeds", 1000, "how many seeds to play")
	first := flag.Uint64("seed", 0, "the first one")
	trace := flag.Bool("trace", false, "print the trace of the first one and stop")
	mutant := flag.Int("mutant", 0, "number of the mistake to build in")
	flag.Parse()
	if *mutant < 0 || *mutant >= int(sim.Mutants) {
		fmt.Fprintf(os.Stderr, "simcmd: there is no mutant %d, the last is %d\n", *mutant, int(sim.Mutants)-1)
		os.Exit(2)
	}
	o := sim.Options{Seed: *first, Mutant: sim.Mutant(*mutant)}
	if *trace {
		o.Trace = os.Stdout
		r := sim.Run(o)
		fmt.Printf("%+v\n", r)
		return
	}
	var sum sim.Figures
	violations := 0
	for range *seeds {
		r := sim.Run(o)
		if r.Violation != "" {
			violations++
			fmt.Printf("seed %d: %s\n", o.Seed, r.Violation)
		} else if o.Seed%100 == 0 && sim.Run(o).Hash != r.Hash {
			violations++
			fmt.Printf("seed %d: not the same trace the second time\n", o.Seed)
		}
		sum.Add(r.Figures)
		o.Seed++
	}
	fmt.Printf("sim: seeds=%d steps=%d crashes=%d leader-changes=%d adoptions=%d restores=%d rescales=%d lost-messages=%d unknown=%d read-backs=%d terminal-restores=%d aborts=%d completed=%d deleted=%d violations=%d\n",
		*seeds, sum.Steps, sum.WorkerCrashes, sum.LeaderChanges, sum.Adoptions, sum.Restores, sum.Rescales,
		sum.LostMessages, sum.Unknown, sum.ReadBacks, sum.TerminalRestores, sum.Aborts, sum.Completed, sum.Deleted, violations)
	if violations > 0 {
		os.Exit(1)
	}
}
