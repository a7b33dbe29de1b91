package operations

import (
	"fmt"
	"strings"
)

// Phase is where an operation is.
//
//	recording ──on record──▶ waiting ──Loaded──▶ (begun)
//	    │ not on record         (only while the job's checkpoints are not known)
//	    ▼
//	 (forgotten)
//
//	begun: checkpoint, savepoint,
//	       stop, cancel ──▶ taking ──taken──▶ copying ──copied──▶ ending ──▶ ended
//	                          │ a checkpoint     │ a stop            ▲
//	                          │ has no copy      ▼                   │
//	                          │              finishing ──result──────┤
//	                          └──────────────────────────────────────┤
//	       rescale ──▶ preparing ──slots──▶ taking ──▶ deploying ────┤
//	       disposal ──▶ deleting ────────────────────────────────────┘
//
// Whatever fails goes to ending at once.
type Phase uint8

// Phases.
const (
	Recording Phase = iota + 1 // the promise is being put on record
	Waiting                    // on record; the job's checkpoints are not known yet
	Preparing                  // a rescale: slots and workers are got ready
	Taking                     // its checkpoint is taken
	Deploying                  // a rescale: the job starts anew
	Copying                    // out of the pinned checkpoint
	Finishing                  // a stop: the copy is made, the job has not ended
	Deleting                   // a disposal
	Ending                     // its end is being put on record
	Ended
	phases
)

var phaseNames = [phases]string{"?", "recording", "waiting", "preparing", "taking", "deploying", "copying", "finishing", "deleting", "ending", "ended"}

// String is the phase's name.
func (p Phase) String() string {
	if p < phases {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase-%d", uint8(p))
}

// phaseMoves lists every transition that is possible; all others are bugs.
var phaseMoves = [phases][]Phase{
	Recording: {Waiting},
	Waiting:   {Preparing, Taking, Copying, Deleting, Ending},
	Preparing: {Taking, Ending},
	Taking:    {Deploying, Copying, Ending},
	Deploying: {Ending},
	Copying:   {Finishing, Ending},
	Finishing: {Ending},
	Deleting:  {Ending},
	Ending:    {Ended},
	Ended:     {},
}

// phaseTable is phaseMoves as text, one line a phase.
func phaseTable() string {
	var b strings.Builder
	for p := Recording; p < phases; p++ {
		fmt.Fprintf(&b, "%v:", p)
		for _, to := range phaseMoves[p] {
			fmt.Fprintf(&b, " %v", to)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// enter moves the operation to phase to.
func (o *operation) enter(to Phase) {
	for _, p := range phaseMoves[o.phase] {
		if p == to {
			o.phase = to
			return
		}
	}
	panic(fmt.Sprintf("weir: BUG: operation %s goes from %v to %v", o.rec.TriggerId, o.phase, to))
}
