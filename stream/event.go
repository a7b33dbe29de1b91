package stream

import (
	"fmt"
	"time"
)

// CheckpointID numbers the checkpoints of a job: ascending, never reused, also
// not by another leader (I7). 0 means none.
type CheckpointID uint64

// String returns "chk-N", the name of the checkpoint's folder too.
func (id CheckpointID) String() string { return fmt.Sprintf("chk-%d", uint64(id)) }

// BarrierKind says what a barrier asks of the subtasks it passes.
type BarrierKind uint8

// NB: persisted and on the wire; never renumber.
const (
	// CheckpointBarrier separates the records before and after a periodic checkpoint.
	CheckpointBarrier BarrierKind = 1
	// SavepointBarrier is a checkpoint that is always aligned and pinned for a copy.
	SavepointBarrier BarrierKind = 2
	// TerminalBarrier is the last of a job whose sources have all ended: after it
	// no record follows, and sinks commit everything.
	TerminalBarrier BarrierKind = 3
	// StopBarrier is a savepoint after which sources stay silent until they are
	// told to finish or to resume.
	StopBarrier BarrierKind = 4
	// FullBarrier is a checkpoint whose run lists hold only runs that were written by
	// the attempts that take part: it refers to nothing that was there before.
	FullBarrier BarrierKind = 5
)

// String returns the kind's name in logs.
func (k BarrierKind) String() string {
	switch k {
	case CheckpointBarrier:
		return "checkpoint"
	case SavepointBarrier:
		return "savepoint"
	case TerminalBarrier:
		return "terminal"
	case StopBarrier:
		return "stop"
	case FullBarrier:
		return "full"
	}
	return fmt.Sprintf("barrier-kind-%d", uint8(k))
}

// Barrier divides the records of a channel into those before and those after a
// checkpoint.
type Barrier struct {
	ID   CheckpointID
	Kind BarrierKind
	// Age is the time since the barrier was injected at the sources, as far as the
	// sender knows it: durations add up along the way, so no two clocks are compared.
	Age time.Duration
	// Unaligned is set once the barrier overtakes records; it stays set downstream.
	Unaligned bool
	// AlignmentTimeout is the age at which the barrier begins to overtake; 0: never.
	AlignmentTimeout time.Duration
}

// EventKind is the kind of an Event.
type EventKind uint8

// NB: on the wire; never renumber.
const (
	// BarrierEvent carries Event.Barrier.
	BarrierEvent EventKind = 1
	// CancelBarrierEvent says that the checkpoint Event.Barrier.ID will not complete:
	// whoever waits for its barrier stops waiting.
	CancelBarrierEvent EventKind = 2
	// EndOfInputEvent is the last event that brings records: after it only barriers
	// and their cancellations follow. No subtask finishes alone.
	EndOfInputEvent EventKind = 3
	// WatermarkEvent promises that no record with the time Event.Time or an earlier one
	// follows.
	WatermarkEvent EventKind = 4
	// IdleEvent takes the channel out of the watermark's minimum until the next
	// WatermarkEvent, which comes before the next record and may repeat the last one's
	// time.
	IdleEvent EventKind = 5
)

// Event is what travels between batches, in order with them.
type Event struct {
	Kind    EventKind
	Barrier Barrier
	Time    int64 // ms of event time since 1970, of a WatermarkEvent
}
