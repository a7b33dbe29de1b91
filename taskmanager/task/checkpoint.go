package task

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
)

// snapshot is a checkpoint of this subtask from its barrier to its ack.
type snapshot struct {
	id      stream.CheckpointID
	ack     *weirpb.CheckpointAck
	keyed   statebackend.Snapshot // nil if there is no keyed state
	frozen  time.Time
	aborted bool // no ack is wanted any more
	open    int  // parts of the ack that are not there yet: keyed state, records in flight
}

// checkpoint takes part in a checkpoint whose barrier is complete: the barrier goes
// on first, so that nothing here delays it (B8), then state is frozen. What Prepare
// or Snapshot of an operator fail with fails the attempt; what the backend fails with
// declines the checkpoint.
func (t *Task) checkpoint(f align.Effect) error {
	begin := t.o.Now()
	id := f.Barrier.ID
	if f.Barrier.Kind == stream.TerminalBarrier && (t.phase == expiring || t.phase == ending) {
		t.terminal = &f // its place is behind what the end of the input emits
		return nil
	}
	if f.Barrier.Kind == stream.TerminalBarrier && t.phase != ended {
		t.aborted(id, fmt.Sprintf("the barrier is terminal, but the subtask is %v", t.phase))
		return nil
	}
	t.silent = 0 // a barrier behind a stop's says that the stop has failed, should its abort be lost
	if f.Barrier.Kind == stream.StopBarrier {
		t.silent = id
	}
	if err := t.flushOperators(0); err != nil {
		return err
	}
	t.broadcast(stream.Event{Kind: stream.BarrierEvent, Barrier: f.Barrier})
	t.hold(f.Barrier)
	if err := t.prepare(id); err != nil {
		return err
	}
	capturing := t.aligner.Capturing() == id
	if capturing {
		t.beginCapture(id)
	}
	s := &snapshot{id: id, ack: &weirpb.CheckpointAck{
		CheckpointId: uint64(id), Subtask: t.subtask(), Attempt: t.attempt(), Operators: t.operatorSnapshots(),
		Timings: &weirpb.CheckpointTimings{StartDelayNs: int64(f.StartDelay), AlignmentNs: int64(f.Alignment), Unaligned: f.Barrier.Unaligned, ProcessedBytes: t.processed()},
	}}
	if t.gate != nil { // the older checkpoint's object is needed for longer than that checkpoint
		s.ack.StillReads = t.gate.StillReads()
	}
	if t.backend != nil {
		frozen, err := t.backend.Freeze(id)
		if err == nil && t.copying != nil {
			t.copied() // Freeze has seen to it
		}
		if err != nil {
			t.decline(id, fmt.Sprintf("freeze keyed state: %v", err))
			return nil
		}
		if f.Barrier.Kind == stream.FullBarrier {
			frozen.MakeFull()
		}
		s.keyed = frozen
	}
	s.frozen = t.o.Now()
	s.ack.Timings.SyncNs = int64(s.frozen.Sub(begin))
	s.ack.Timings.LongestStallNs = s.ack.Timings.SyncNs
	t.snapshots = append(t.snapshots, s)
	if s.keyed != nil {
		s.open++
		t.copying = s
	}
	if capturing {
		s.open++
		t.capturing = s
	}
	t.ackIfWhole(s)
	return nil
}

// ackIfWhole acks a snapshot when all of it is there.
func (t *Task) ackIfWhole(s *snapshot) {
	if s.open > 0 {
		return
	}
	t.drop(s)
	if !s.aborted {
		t.o.Reporter.Ack(s.ack)
	}
}

// drop forgets a snapshot: it is acked or never will be.
func (t *Task) drop(s *snapshot) {
	t.snapshots = slices.DeleteFunc(t.snapshots, func(o *snapshot) bool { return o == s })
}

// prepare calls the hooks of the operators and brings the head's splits up to date.
func (t *Task) prepare(id stream.CheckpointID) error {
	for _, in := range t.chain {
		t.rt.Operator = in.number
		for _, p := range in.prepare {
			if err := p.Prepare(id); err != nil {
				return fmt.Errorf("prepare %v: %w", id, err)
			}
		}
		for _, s := range in.snapshot {
			if err := s.Snapshot(id); err != nil {
				return fmt.Errorf("snapshot for %v: %w", id, err)
			}
		}
	}
	t.rt.Operator = 0
	if err := t.head.snapshot(); err != nil {
		return fmt.Errorf("snapshot for %v: %w", id, err)
	}
	return t.failed()
}

// operatorSnapshots is what the ack says of each operator, runs aside.
func (t *Task) operatorSnapshots() []*metapb.OperatorSnapshot {
	all := make([]*metapb.OperatorSnapshot, 0, len(t.chain))
	owned := stream.RangeOf(t.o.Subtask.Index, t.vertex.Parallelism)
	for _, in := range t.chain {
		s := &metapb.SubtaskSnapshot{
			Index: uint32(t.o.Subtask.Index), FirstGroup: uint32(owned.First), LastGroup: uint32(owned.Last),
			Ended: in.ended, Watermark: t.watermarkOf(in),
		}
		if in.setup != nil {
			in.setup.Snapshot(s)
		}
		all = append(all, &metapb.OperatorSnapshot{
			Uid: in.plan.Uid, Parallelism: uint32(t.vertex.Parallelism), Subtasks: []*metapb.SubtaskSnapshot{s},
		})
	}
	return all
}

// advance pushes the backend's work on and measures how long that stalls the loop.
func (t *Task) advance() (busy bool) {
	s := t.copying
	if s == nil {
		return t.backend.Advance(copySlice)
	}
	begin := t.o.Now()
	busy = t.backend.Advance(copySlice)
	// A batch may take user code seconds: a slice for each would take minutes. So copying
	// takes as long as the last turn did, and still at most half of the time.
	most, copied := min(t.lastTurn, maxCopying), t.backend.Store().CopyFrozen(0)
	for !copied && t.o.Now().Sub(begin) < most {
		copied = t.backend.Store().CopyFrozen(copySlice)
	}
	if stall := int64(t.o.Now().Sub(begin)); stall > s.ack.Timings.LongestStallNs {
		s.ack.Timings.LongestStallNs = stall
	}
	if copied { // none is left
		t.copied()
	}
	return busy
}

// copied ends the copying of a snapshot: its run can be written.
func (t *Task) copied() {
	t.toWrite = append(t.toWrite, t.copying)
	t.copying = nil
	t.write()
}

// write has the next run written, one at a time: each waits for the one before it
// anyway.
func (t *Task) write() {
	if t.writing != nil || len(t.toWrite) == 0 {
		return
	}
	s := t.toWrite[0]
	t.toWrite = t.toWrite[1:]
	t.writing = s
	t.async.Go(func() {
		r, err := finish(s.keyed, t)
		t.Post(Command{Kind: finished, snapshot: s, result: r, Err: err})
	})
}

func finish(s statebackend.Snapshot, t *Task) (r statebackend.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return s.Finish(t.rt.Context)
}

// written acks a snapshot that is durable, and declines one that will not be.
func (t *Task) written(c Command) error {
	s := c.snapshot
	t.writing = nil
	defer t.write()
	s.open--
	if c.Err != nil {
		t.backend.Failed(s.keyed)
		if s.aborted {
			t.rt.Log.Warn("keyed state of an aborted checkpoint could not be written", "checkpoint", s.id, "error", c.Err)
		} else {
			t.giveUp(s, fmt.Sprintf("write keyed state: %v", c.Err))
		}
		t.ackIfWhole(s)
		return nil
	}
	sub := s.ack.Operators[0].Subtasks[0]
	sub.Runs, sub.Schemas = c.result.Runs, c.result.Schemas
	s.ack.NewBytes += uint64(c.result.NewBytes)
	s.ack.Timings.AsyncNs = int64(c.posted.Sub(s.frozen))
	t.ackIfWhole(s)
	return nil
}

// giveUp declines a snapshot that was begun.
func (t *Task) giveUp(s *snapshot, reason string) {
	s.aborted = true
	t.decline(s.id, reason)
}

// cancelBarrier ends a checkpoint that will not complete.
func (t *Task) cancelBarrier(id stream.CheckpointID, reason string) error {
	return t.cancelBarriers(id, id, reason)
}

// cancelBarriers ends the checkpoints from first to id.
func (t *Task) cancelBarriers(first, id stream.CheckpointID, reason string) error {
	t.rt.Log.Debug("checkpoint aborted", "checkpoint", id, "first", first, "reason", reason)
	t.delayed = slices.DeleteFunc(t.delayed, func(c Command) bool { return c.Barrier.ID <= id })
	t.forget(first, id) // the aligner knows only the one begun last
	return t.align(align.Event{Kind: align.BarrierCancelled, Channel: align.Local, Barrier: stream.Barrier{ID: id}})
}

// leaderLost cancels what this subtask has not acked: without that ack it cannot
// complete. So does what follows, up to a command of the next leader: a barrier that is
// still on its way would have channels wait for others that were never injected, or were
// cancelled before they came here.
func (t *Task) leaderLost() error {
	t.leaderless = true
	t.alignNobody()
	for _, s := range slices.Clone(t.snapshots) {
		t.forget(s.id, s.id)
	}
	for _, c := range slices.Clone(t.delayed) {
		if err := t.cancelBarrier(c.Barrier.ID, "the leader was lost"); err != nil {
			return err
		}
	}
	if t.terminal != nil {
		if err := t.cancelBarrier(t.terminal.Barrier.ID, "the leader was lost"); err != nil {
			return err
		}
	}
	if id := max(t.aligner.Aligning(), t.aligner.Capturing()); id != 0 {
		return t.cancelBarrier(id, "the leader was lost")
	}
	return nil
}

// orphans reports whether barriers that come now are of a leader that was lost.
func (t *Task) orphans() bool { return t.leaderless && !t.found.Load() }

// orphan is a barrier that came while there is no leader, on a channel.
func (t *Task) orphan(id stream.CheckpointID) error {
	if id <= t.orphaned {
		return nil
	}
	t.orphaned = id
	return t.cancelBarrier(id, "its leader is lost")
}

// aborted ends, here and downstream, a checkpoint that was not begun here. Nothing is
// rolled back.
func (t *Task) aborted(id stream.CheckpointID, reason string) {
	if t.terminal != nil && t.terminal.Barrier.ID <= id {
		t.terminal = nil
	}
	t.broadcast(stream.Event{Kind: stream.CancelBarrierEvent, Barrier: stream.Barrier{ID: id}})
	t.decline(id, reason)
}

// forget gives up the acks of the checkpoints from first to last that were begun here.
// Their runs are written all the same: they are part of the list, and the next snapshot is
// the smaller for it.
func (t *Task) forget(first, last stream.CheckpointID) {
	is := func(id stream.CheckpointID) bool { return first <= id && id <= last }
	if t.terminal != nil && is(t.terminal.Barrier.ID) {
		t.terminal = nil
	}
	for _, s := range slices.Clone(t.snapshots) {
		if !is(s.id) {
			continue
		}
		s.aborted = true
		if t.capturing == s { // nothing more comes of it
			t.capturing = nil
			t.gate.DropCapture()
			s.open--
			t.ackIfWhole(s)
		}
	}
	if is(t.held.id) {
		t.held = heldBarrier{}
	}
	if is(t.silent) {
		t.silent = 0 // the stop has failed: resume
	}
}

func (t *Task) decline(id stream.CheckpointID, reason string) {
	t.o.Reporter.Decline(&weirpb.CheckpointDecline{
		CheckpointId: uint64(id), Subtask: t.subtask(), Attempt: t.attempt(), Reason: reason,
	})
}
