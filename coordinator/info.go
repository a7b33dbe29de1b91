package coordinator

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Info is one entry of the checkpoint history: logs, metrics, REST and tests read
// the same values.
type Info interface {
	// String is one line for the log.
	String() string
	info()
}

// CheckpointTriggeredInfo: the barrier is on its way.
type CheckpointTriggeredInfo struct {
	ID       stream.CheckpointID
	Kind     stream.BarrierKind
	At       time.Time
	Subtasks int
}

// CheckpointCompletedInfo: the pointer is committed.
type CheckpointCompletedInfo struct {
	ID            stream.CheckpointID
	Kind          stream.BarrierKind
	TriggeredAt   time.Time
	Duration      time.Duration // trigger to pointer
	Acked         time.Duration // trigger to last ack
	Subtasks      int
	NewBytes      uint64 // written for it
	StateBytes    uint64 // of all runs it lists
	MetadataBytes uint64
	// The largest of any subtask.
	StartDelay, Alignment, Sync, Async, LongestStall time.Duration
	Parts                                            []PartInfo
}

// PartInfo is what one subtask did for a checkpoint.
type PartInfo struct {
	Subtask    job.SubtaskID
	AckedAt    time.Time // zero: it has not
	NewBytes   uint64
	StateBytes uint64
	InFlight   uint64 // bytes of records that the barrier has overtaken here
	Timings    Timings
}

func (p *checkpoint) partInfos() []PartInfo {
	all := make([]PartInfo, len(p.parts))
	for i := range p.parts {
		t := &p.parts[i]
		all[i] = PartInfo{Subtask: t.execution.Subtask, AckedAt: t.ackedAt, NewBytes: t.newBytes, Timings: t.timings}
		all[i].StateBytes = stateBytes(&metapb.CheckpointMetadata{Operators: t.operators})
		all[i].InFlight = inFlight(t.operators)
	}
	return all
}

// CheckpointFailedInfo: it will never complete.
type CheckpointFailedInfo struct {
	ID          stream.CheckpointID
	Kind        stream.BarrierKind
	TriggeredAt time.Time
	Duration    time.Duration
	Cause       Cause
	Reason      string
	Acks, Of    int
	Consecutive int // failures that count, with this one
	Parts       []PartInfo
}

// CheckpointSubsumedInfo: newer ones have replaced it; its pointer is gone.
type CheckpointSubsumedInfo struct {
	ID stream.CheckpointID
}

// CheckpointDamagedInfo: it cannot be trusted and was passed over.
type CheckpointDamagedInfo struct {
	ID     stream.CheckpointID
	Reason string
}

func (i CheckpointTriggeredInfo) String() string {
	return fmt.Sprintf("%v triggered (%v) for %d subtasks", i.ID, i.Kind, i.Subtasks)
}

func (i CheckpointCompletedInfo) String() string {
	return fmt.Sprintf("%v completed (%v) in %v: %d subtasks, %d bytes new, %d bytes of state",
		i.ID, i.Kind, i.Duration, i.Subtasks, i.NewBytes, i.StateBytes)
}

func (i CheckpointFailedInfo) String() string {
	return fmt.Sprintf("%v failed (%v) after %v with %d of %d acks: %v: %s",
		i.ID, i.Kind, i.Duration, i.Acks, i.Of, i.Cause, i.Reason)
}

func (i CheckpointSubsumedInfo) String() string { return fmt.Sprintf("%v subsumed", i.ID) }

func (i CheckpointDamagedInfo) String() string {
	return fmt.Sprintf("%v is damaged and was passed over: %s", i.ID, i.Reason)
}

// OrphansInfo: objects that nobody lists have been found, and are deleted.
type OrphansInfo struct{ Objects int }

func (i OrphansInfo) String() string {
	return fmt.Sprintf("%d objects that nobody lists are deleted", i.Objects)
}

func (OrphansInfo) info()             {}
func (CheckpointTriggeredInfo) info() {}
func (CheckpointCompletedInfo) info() {}
func (CheckpointFailedInfo) info()    {}
func (CheckpointSubsumedInfo) info()  {}
func (CheckpointDamagedInfo) info()   {}
