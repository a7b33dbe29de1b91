package coordinator

import (
	"fmt"
	"strings"
)

// Phase is what a coordinator is about.
//
//	                    TookOver            all subtasks run
//	          ┌─────┐ ──────────▶ ┌──────────┐ ─────────▶ ┌─────────┐
//	          │ new │             │ starting │ ◀───────── │ running │
//	          └──┬──┘             └────▲──┬──┘   lost     └────┬────┘
//	newest is    │          lost ┌─────┘  │ all run,          │ all sources
//	terminal     │               │        ▼ sources ended     ▼ have ended
//	             │             ┌────────────────────────────────┐
//	             │             │             ending             │ terminal checkpoint
//	             │             └───────────────┬────────────────┘
//	             │                             │ its pointer is committed (or, from running,
//	             │                             │ that of a stop)
//	             └───────────────────▶ ┌───────▼────┐  (lost attempts are deployed anew
//	                                   │ committing │   from it and notified again)
//	                                   └───────┬────┘
//	                                           │ Committed by every subtask
//	                                   ┌───────▼────┐
//	                                   │  finished  │
//	                                   └───────┬────┘
//	    JobEnded, in any phase         ┌───────▼────┐
//	    ─────────────────────────────▶ │  cleaning  │
//	                                   └───────┬────┘
//	    Fenced or Stop, in any phase   ┌───────▼────┐
//	    ─────────────────────────────▶ │  stopped   │
//	                                   └────────────┘
type Phase uint8

// Phases.
const (
	PhaseNew        Phase = iota // waiting for TookOver
	PhaseStarting                // not every subtask runs
	PhaseRunning                 // checkpoints are triggered
	PhaseEnding                  // all sources have ended; the terminal checkpoint is to be taken
	PhaseCommitting              // the terminal checkpoint is complete; committers are at work
	PhaseFinished                // everything is committed; waiting for JobEnded
	PhaseCleaning                // the job has ended; deleting what need not be kept
	PhaseStopped                 // no effect any more
	phases
)

var phaseNames = [phases]string{
	"new", "starting", "running", "ending", "committing", "finished", "cleaning", "stopped",
}

// String is the phase's name.
func (p Phase) String() string {
	if p < phases {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase-%d", uint8(p))
}

// phaseMoves lists every transition that is possible; all others are bugs.
var phaseMoves = [phases][]Phase{
	PhaseNew:        {PhaseStarting, PhaseCommitting, PhaseCleaning, PhaseStopped},
	PhaseStarting:   {PhaseRunning, PhaseEnding, PhaseCommitting, PhaseCleaning, PhaseStopped},
	PhaseRunning:    {PhaseStarting, PhaseEnding, PhaseCommitting, PhaseCleaning, PhaseStopped},
	PhaseEnding:     {PhaseStarting, PhaseCommitting, PhaseCleaning, PhaseStopped},
	PhaseCommitting: {PhaseFinished, PhaseCleaning, PhaseStopped},
	PhaseFinished:   {PhaseCleaning, PhaseStopped},
	PhaseCleaning:   {PhaseStopped},
	PhaseStopped:    {},
}

// phaseTable is phaseMoves as text, one line a phase.
func phaseTable() string {
	var b strings.Builder
	for p := range phases {
		fmt.Fprintf(&b, "%v:", p)
		for _, to := range phaseMoves[p] {
			fmt.Fprintf(&b, " %v", to)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// enter moves the coordinator to phase to.
func (c *Coordinator) enter(to Phase) {
	for _, p := range phaseMoves[c.phase] {
		if p == to {
			c.phase = to
			return
		}
	}
	panic(fmt.Sprintf("weir: BUG: coordinator moves from %v to %v", c.phase, to))
}

// Phase is where the coordinator stands.
func (c *Coordinator) Phase() Phase { return c.phase }
