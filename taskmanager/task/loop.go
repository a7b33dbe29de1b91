package task

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
)

const (
	// copySlice is how many frozen entries are copied out at once: about 50 µs, as
	// much as a batch takes, so copying at most halves the throughput while it lasts.
	copySlice = 4096
	// maxCopying is how long copying may stall the loop at most, after a turn that took as
	// long: a quarter of what a checkpoint may.
	maxCopying = 5 * time.Millisecond
	// timerSlice is how many timers fire in a turn, as many as records.
	timerSlice = stream.MaxBatch
)

// loop turns until the attempt is over.
func (t *Task) loop() error {
	for {
		progress, wait, err := t.turn()
		if err != nil || t.phase.over() || t.cancelled() {
			return err
		}
		if !progress {
			t.sleep(wait)
		}
	}
}

// turn does at most one slice of each kind of work. If there was none, wait is how
// long that lasts at most; 0: until a wake-up.
func (t *Task) turn() (progress bool, wait time.Duration, err error) {
	now := t.o.Now()
	t.lastTurn, t.rt.Turn = now.Sub(t.rt.Turn), now
	if t.rt.Attention.Load() {
		t.rt.Attention.Store(false)
		if err := t.lookUp(); err != nil || t.phase.over() || t.cancelled() {
			return false, 0, err
		}
	}
	t.meter.due(t)
	busy := t.backend != nil && t.advance()
	busy = t.answer() || busy
	if t.phase != ended && (!t.room() || t.backend != nil && t.backend.Full() || t.rests()) {
		t.time.stalled = true
		listened, err := t.head.listen()
		if err == nil {
			err = t.failed()
		}
		return busy || listened, t.flushDue(), err
	}
	var timerWait, headWait, timeWait time.Duration
	progress, t.atKey = busy, true
	if t.time.due(t.rt.Turn) {
		if err := t.tick(); err != nil {
			return false, 0, err
		}
	}
	if t.time.held > t.rt.Watermark {
		t.release()
	}
	if t.phase != ended && t.rt.Watermark > t.time.passed { // its timers come before the next record
		if progress, err = t.advanceTime(); err == nil {
			err = t.failed()
		}
		return progress || busy, t.flushDue(), err
	}
	switch t.phase {
	case running:
		var fired bool
		if fired, timerWait, err = t.fire(); err != nil {
			return false, 0, err
		}
		if progress = progress || fired; t.rt.Attention.Load() {
			break
		}
		fallthrough
	case ended:
		var stepped bool
		if stepped, headWait, err = t.head.step(); err != nil {
			return false, 0, err
		}
		progress = progress || stepped
	case expiring:
		if !t.behind() {
			t.phase.to(ending)
		}
		progress = progress || t.phase == ending
	case ending:
		var stepped bool
		if stepped, err = t.endStep(); err != nil {
			return false, 0, err
		}
		progress = progress || stepped
	}
	if err := t.failed(); err != nil {
		return false, 0, err
	}
	if progress {
		t.flushDue()
		return true, 0, nil
	}
	if timeWait, err = t.pause(); err != nil {
		return false, 0, err
	}
	for _, o := range t.outputs { // out of input
		o.Flush()
	}
	return false, earlier(earlier(timerWait, headWait), timeWait), nil
}

// earlier is the shorter of two waits, where 0 means for ever.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// failed is the error that user code or a state handle has left.
func (t *Task) failed() error {
	_, err := t.rt.Err()
	return err
}

// rests reports whether the source waits for others, whose event time is far behind.
func (t *Task) rests() bool { return t.time.ahead && t.phase == running && !t.drained }

// room reports whether another batch of records may be taken.
func (t *Task) room() bool {
	for _, a := range t.asyncs {
		if !a.Room() {
			return false
		}
	}
	return t.outputRoom()
}

func (t *Task) outputRoom() bool {
	for _, o := range t.outputs {
		if !o.Room() {
			return false
		}
	}
	return true
}

// answer has asynchronous operators hand on what has come for them. A stopped job emits
// nothing more.
func (t *Task) answer() (progress bool) {
	if len(t.asyncs) == 0 || t.silent != 0 || !t.outputRoom() {
		return false
	}
	t.atKey = false
	for _, a := range t.asyncs {
		progress = a.Advance() || progress
	}
	return progress
}

func (t *Task) flushDue() (wait time.Duration) {
	for _, o := range t.outputs {
		wait = earlier(wait, o.FlushDue(t.rt.Turn))
	}
	return wait
}

// sleep waits for a wake-up, at most for wait if that is not 0.
func (t *Task) sleep(wait time.Duration) {
	t.meter.rest(t)
	defer t.meter.work(t, !t.room())
	if wait <= 0 {
		<-t.wake
		return
	}
	t.timer.Reset(wait)
	select {
	case <-t.wake:
	case <-t.timer.C:
	}
}

// lookUp handles what Attention was raised for.
func (t *Task) lookUp() error {
	if err := t.failed(); err != nil {
		return err
	}
	for _, c := range t.mail.take() {
		if t.cancelled() {
			return nil
		}
		if err := t.command(c); err != nil || t.phase.over() {
			return err
		}
	}
	return t.overtaking()
}

func (t *Task) command(c Command) error {
	t.atKey = false
	switch c.Kind {
	case Inject:
		if t.phase == ending {
			t.delayed = append(t.delayed, c)
			return nil
		}
		if t.gate != nil {
			return fmt.Errorf("barrier %v was injected, but its place is behind the inputs of the subtask", c.Barrier.ID)
		}
		t.head.settle()
		if err := t.failed(); err != nil {
			return err
		}
		c.Barrier.Age += t.o.Now().Sub(c.posted)
		return t.align(align.Event{Kind: align.BarrierInjected, Channel: align.Local, Barrier: c.Barrier})
	case Abort:
		return t.cancelBarriers(cmp.Or(c.First, c.ID), c.ID, c.Reason)
	case LeaderLost:
		return t.leaderLost()
	case LeaderFound:
		t.leaderless = false
		return nil
	case Completed:
		return t.completed(c)
	case finished:
		return t.written(c)
	case stored:
		return t.channelsStored(c)
	case Drain:
		t.drained = true
		return nil
	case AlignTime:
		return t.alignTime(c.Groups)
	case Fail:
		return c.Err
	case Cancel:
		return nil // Post has cancelled the context
	}
	panic(fmt.Sprintf("weir: BUG: %v", c.Kind))
}

// completed commits, and finishes the attempt if the checkpoint was the last.
func (t *Task) completed(c Command) error {
	if err := t.commit(c.ID); err != nil {
		return err
	}
	if t.backend != nil {
		t.backend.Confirm(c.ID)
	}
	t.o.Reporter.Committed(&weirpb.Committed{CheckpointId: uint64(c.ID), Subtask: t.subtask(), Attempt: t.attempt()})
	if c.Terminal {
		t.phase.to(phaseFinished)
	}
	return nil
}

// event handles what came between the batches of channel ch.
func (t *Task) event(ch int, e stream.Event) error {
	t.atKey = false
	switch e.Kind {
	case stream.BarrierEvent:
		if t.orphans() {
			return t.orphan(e.Barrier.ID)
		}
		if t.gate.Capturing(ch) && e.Barrier.ID == t.aligner.Capturing() { // before its announcement was heard
			t.gate.CloseCapture(ch)
			return t.align(align.Event{Kind: align.Captured, Channel: ch})
		}
		return t.align(align.Event{Kind: align.BarrierArrived, Channel: ch, Barrier: e.Barrier})
	case stream.CancelBarrierEvent:
		return t.align(align.Event{Kind: align.BarrierCancelled, Channel: ch, Barrier: e.Barrier})
	case stream.EndOfInputEvent:
		t.endTime(ch)
		return t.align(align.Event{Kind: align.EndOfInput, Channel: ch})
	case stream.WatermarkEvent, stream.IdleEvent:
		t.hearTime(ch, e)
		return nil
	}
	_, from := t.gate.ChannelInput(ch)
	return fmt.Errorf("subtask %v sent an event of kind %d, which this version does not have", from, e.Kind)
}

// align hands e to the aligner and does what it says.
func (t *Task) align(e align.Event) error {
	t.effects = t.aligner.Step(t.clock(), e, t.effects[:0])
	defer t.meterAlignment()
	var captured []int // channels
	for _, f := range t.effects {
		switch f.Kind {
		case align.Block:
			t.gate.Block(f.Channel)
			t.blocked = append(t.blocked, f.Channel)
		case align.UnblockAll:
			for _, ch := range t.blocked {
				t.gate.Unblock(ch)
			}
			t.blocked = t.blocked[:0]
		case align.Start:
			if err := t.checkpoint(f); err != nil {
				return err
			}
		case align.Capture:
			if t.capture(f.Channel) {
				captured = append(captured, f.Channel)
			}
		case align.CaptureComplete:
			t.captured(f.Barrier.ID)
		case align.Abort:
			t.aborted(f.Barrier.ID, "its barrier was cancelled")
		case align.AbortStarted:
			t.forget(f.Barrier.ID, f.Barrier.ID)
		case align.InputEnded:
			t.inputEnded()
		}
	}
	t.setAlarm()
	for _, ch := range captured { // another step, with the same scratch
		if err := t.align(align.Event{Kind: align.Captured, Channel: ch}); err != nil {
			return err
		}
	}
	return nil
}

// meterAlignment has the gate measure what is taken between a checkpoint's first barrier
// and its last.
func (t *Task) meterAlignment() {
	if t.gate != nil {
		t.gate.Meter(t.aligner.Aligning() != 0 || t.aligner.Capturing() != 0)
	}
}

// processed is how many bytes were taken so far since the first barrier of the checkpoint
// that is being aligned or captured.
func (t *Task) processed() uint64 {
	if t.gate == nil {
		return 0
	}
	return t.gate.Meter(true)
}

// fire calls the timers that are due. wait is the time until the next; 0 = none.
func (t *Task) fire() (fired bool, wait time.Duration, err error) {
	if t.timers == nil || t.silent != 0 {
		return false, 0, nil
	}
	now := t.rt.Turn.UnixMilli()
	for range timerSlice {
		d, ok := t.timers.Due(now)
		if !ok {
			break
		}
		fired = true
		t.rt.Operator, t.rt.Time = 0, operator.NoTime
		if err := t.onTimer(d, operator.ProcessingTime); err != nil {
			return true, 0, err
		}
		if t.rt.Attention.Load() {
			break
		}
	}
	if next, ok := t.timers.Next(); ok {
		wait = max(time.UnixMilli(next).Sub(t.rt.Turn), time.Microsecond)
	}
	return fired, wait, nil
}

// inputEnded begins the end: every input has ended, or the source is at its end.
func (t *Task) inputEnded() {
	if t.vertex.Inputs != nil && t.isSource() {
		return // the enumerator's end is not the source's
	}
	if t.phase.to(expiring); !t.behind() {
		t.phase.to(ending)
	}
}

func (t *Task) isSource() bool {
	return t.chain[0].plan.Kind == metapb.OperatorKind_OPERATOR_KIND_SOURCE
}

// endStep runs a piece of the end-of-input hooks, head first; after the last one the
// end is passed on. There is no progress while results are outstanding.
func (t *Task) endStep() (progress bool, err error) {
	for ; t.endAt < len(t.chain); t.endAt, t.endHook = t.endAt+1, 0 {
		in := t.chain[t.endAt]
		if in.async != nil && in.async.Pending() {
			return false, nil
		}
		t.rt.Operator, t.rt.Time = in.number, operator.NoTime
		for ; !in.ended && t.endHook < len(in.end); t.endHook++ {
			done, err := in.end[t.endHook]()
			if err != nil {
				return false, fmt.Errorf("at the end of the input: %w", err)
			}
			if !done {
				return true, nil
			}
			if t.rt.Attention.Load() {
				t.endHook++
				return true, nil
			}
		}
		in.ended = true
	}
	if err := t.flushOperators(0); err != nil {
		return false, err
	}
	t.broadcast(stream.Event{Kind: stream.EndOfInputEvent})
	t.phase.to(ended)
	t.rt.Attention.Store(true) // barriers that came meanwhile
	if t.isSource() {
		t.o.Reporter.SourceEnded(&weirpb.SourceEnded{Subtask: t.subtask(), Attempt: t.attempt()})
	}
	if f := t.terminal; f != nil {
		t.terminal = nil
		if err := t.checkpoint(*f); err != nil {
			return true, err
		}
	}
	delayed := t.delayed
	t.delayed = nil
	for _, c := range delayed {
		if err := t.command(c); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (t *Task) broadcast(e stream.Event) {
	for _, o := range t.outputs {
		o.Broadcast(e)
	}
}

// gateHead takes records from the gate.
type gateHead struct {
	t    *Task
	item exchange.Item // the batch being read
	at   int           // its next record
}

func (h *gateHead) open() error { return nil }

// listen takes barriers that are next in their channels; what else comes may be records.
func (h *gateHead) listen() (bool, error) {
	if h.item.Batch != nil {
		return false, nil
	}
	it, ok := h.t.gate.PollBarrier()
	if !ok {
		return false, nil
	}
	return true, h.t.event(it.Channel, it.Event)
}

// activeSplits implements head: there is one source of records, which waits when there
// are none.
func (h *gateHead) activeSplits(dst []operator.ActiveSplit) []operator.ActiveSplit {
	return append(dst, operator.ActiveSplit{Waiting: h.item.Batch == nil})
}

func (h *gateHead) settle()          {}
func (h *gateHead) snapshot() error  { return nil }
func (h *gateHead) position() string { return "" }

// splitName implements head: all that comes through a gate is one split.
func (h *gateHead) splitName(int32) string { return "of all inputs" }
func (h *gateHead) close() error           { return nil }

func (h *gateHead) step() (bool, time.Duration, error) {
	t := h.t
	if h.item.Batch == nil {
		it, ok := t.gate.Poll()
		if !ok {
			return false, 0, nil
		}
		if it.Err != nil {
			return false, 0, &restoreError{it.Err}
		}
		if it.Batch == nil {
			return true, 0, t.event(it.Channel, it.Event)
		}
		h.item, h.at = it, 0
	}
	t.rt.Operator = 0
	c := t.consumers[h.item.Input]
	next := c.Run(h.item.Batch, h.at)
	t.meter.in += uint64(next - h.at)
	h.at = next
	if next == c.Len(h.item.Batch) {
		t.gate.Release(h.item)
		h.item = exchange.Item{}
	}
	return true, 0, nil
}
