package align

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/stream"
)

// EventKind is what an Event says.
type EventKind uint8

// Kinds of events.
const (
	// BarrierArrived on Channel: every record before it has been taken.
	BarrierArrived EventKind = iota + 1
	// BarrierInjected by the JobManager into a subtask without channels.
	BarrierInjected
	// BarrierSeen on Channel: it has come, but records before it wait to be taken. Said
	// of barriers that may overtake records, once each; BarrierArrived follows unless
	// the channel is captured.
	BarrierSeen
	// BarrierCancelled on Channel, or by the JobManager or the subtask itself if
	// Channel is Local: checkpoint Barrier.ID will not complete.
	BarrierCancelled
	// EndOfInput on Channel. The channel goes on relaying barriers.
	EndOfInput
	// TimeUp: the time that Aligner.Due named has come.
	TimeUp
	// Captured: the barrier has come on Channel, whose capture was asked for, and
	// everything before it is captured. The barrier itself is not said to arrive.
	Captured
)

// Local is the Channel of an event that came by the mailbox.
const Local = -1

// Event is what the task's loop met.
type Event struct {
	Kind    EventKind
	Channel int
	Barrier stream.Barrier // of BarrierCancelled only its ID
}

// EffectKind is what the task's loop has to do.
type EffectKind uint8

// Kinds of effects.
const (
	// Block Channel: take nothing more from it.
	Block EffectKind = iota + 1
	// UnblockAll channels.
	UnblockAll
	// Start checkpoint Barrier: forward the barrier (its Age is brought up to date),
	// then freeze and snapshot. It comes before the UnblockAll and Capture of the same
	// step, and no record may be taken between them.
	Start
	// Capture Channel for checkpoint Barrier, which has just been started: keep what is
	// before its barrier, and say Captured when the barrier has come. Records go on being
	// taken meanwhile.
	Capture
	// CaptureComplete: what was in flight to checkpoint Barrier is captured on all
	// channels; without Capture effects it does not come.
	CaptureComplete
	// Abort checkpoint Barrier.ID: it was not started here and never will be. Forward
	// its cancellation to all outputs and decline it.
	Abort
	// AbortStarted checkpoint Barrier.ID: it was started and will not complete: give up
	// what is still being written or captured for it. Nothing is forwarded (the barrier
	// has been), nothing is rolled back.
	AbortStarted
	// InputEnded: every channel has ended. Run the end-of-input hook, then send
	// EndOfInput to all outputs. Comes once.
	InputEnded
)

// Effect is one thing to do; effects of a step are carried out in order.
type Effect struct {
	Kind    EffectKind
	Channel int            // of Block, Capture
	Barrier stream.Barrier // of Start, Capture, CaptureComplete, Abort, AbortStarted

	// Of Start, for the ack's timings.
	StartDelay time.Duration // injection to the first barrier's arrival here
	Alignment  time.Duration // first barrier's arrival to the last one's
}

// String is the effect in a transcript.
func (e Effect) String() string {
	switch e.Kind {
	case Block:
		return fmt.Sprintf("block ch=%d", e.Channel)
	case UnblockAll:
		return "unblock all"
	case Start:
		unaligned := ""
		if e.Barrier.Unaligned {
			unaligned = " unaligned"
		}
		return fmt.Sprintf("start ckpt=%d kind=%v age=%v start-delay=%v alignment=%v%s",
			e.Barrier.ID, e.Barrier.Kind, e.Barrier.Age, e.StartDelay, e.Alignment, unaligned)
	case Capture:
		return fmt.Sprintf("capture ch=%d ckpt=%d", e.Channel, e.Barrier.ID)
	case CaptureComplete:
		return fmt.Sprintf("capture complete ckpt=%d", e.Barrier.ID)
	case Abort:
		return fmt.Sprintf("abort ckpt=%d", e.Barrier.ID)
	case AbortStarted:
		return fmt.Sprintf("abort-started ckpt=%d", e.Barrier.ID)
	case InputEnded:
		return "input ended"
	}
	return fmt.Sprintf("effect-%d", e.Kind)
}
