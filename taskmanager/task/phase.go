package task

import "fmt"

// phase of a subtask attempt.
//
//	┌────────────┐   ┌───────┐   ┌────────┐   ┌──────┐   ┌─────┐   ┌────────┐
//	│initializing├──▶│running├──▶│expiring├──▶│ending├──▶│ended├──▶│finished│
//	└─────┬──────┘   └─┬───┬─┘   └───┬────┘   └──┬───┘   └──┬──┘   └────────┘
//	      │            │   └─────────┼───────────┼──────────┼───────────▲  completed(terminal)
//	      └────────────┴─────────────┴───────────┴──────────┴──▶ canceled, failed
//
//	initializing  linking, restoring, opening
//	running       records flow
//	expiring      every input has ended; timers of event time fire, of which there is no more
//	ending        end-of-input hooks run, no barrier is handled
//	ended         only barriers and their cancellations follow
//
// From running straight to finished: restored from a terminal checkpoint, whose
// commits alone were missing.
type phase uint8

const (
	initializing phase = iota
	running
	expiring
	ending
	ended
	phaseFinished
	phaseCanceled
	phaseFailed
)

var phaseNames = [...]string{"INITIALIZING", "RUNNING", "EXPIRING", "ENDING", "ENDED", "FINISHED", "CANCELED", "FAILED"}

// String is the phase's name in logs.
func (p phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase-%d", uint8(p))
}

// follows is the table of transitions.
var follows = [...][]phase{
	initializing:  {running, phaseCanceled, phaseFailed},
	running:       {expiring, ending, phaseFinished, phaseCanceled, phaseFailed},
	expiring:      {ending, phaseFinished, phaseCanceled, phaseFailed},
	ending:        {ended, phaseFinished, phaseCanceled, phaseFailed},
	ended:         {phaseFinished, phaseCanceled, phaseFailed},
	phaseFinished: {},
	phaseCanceled: {},
	phaseFailed:   {},
}

// over reports whether the attempt is at its end.
func (p phase) over() bool { return p >= phaseFinished }

// to moves the attempt to another phase.
func (p *phase) to(next phase) {
	for _, ok := range follows[*p] {
		if ok == next {
			*p = next
			return
		}
	}
	panic(fmt.Sprintf("weir: BUG: subtask goes from %v to %v", *p, next))
}
