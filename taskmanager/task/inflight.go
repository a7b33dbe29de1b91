package task

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/inflight"
)

// heldBarrier is a barrier that this subtask has sent and that waits for credit in an
// output.
type heldBarrier struct {
	id  stream.CheckpointID // 0: none
	due time.Duration       // on the clock, when it may overtake
}

// clock is the time of the aligner.
func (t *Task) clock() time.Duration { return t.o.Now().Sub(t.begun) }

// overtaking hears of barriers that have come behind records, and lets those overtake
// that have waited for long enough.
func (t *Task) overtaking() error {
	// While the end-of-input hooks run no barrier is handled; every input has ended, so
	// that nothing is in flight.
	if t.gate != nil && t.phase != ending {
		for _, n := range t.gate.News() {
			if t.orphans() {
				if err := t.orphan(n.Barrier.ID); err != nil {
					return err
				}
				continue
			}
			e := align.Event{Kind: align.BarrierSeen, Channel: n.Channel, Barrier: n.Barrier}
			if t.gate.Capturing(n.Channel) {
				if t.capture(n.Channel) {
					e = align.Event{Kind: align.Captured, Channel: n.Channel}
				}
			}
			if err := t.align(e); err != nil {
				return err
			}
		}
		if due, ok := t.aligner.Due(); ok && t.clock() >= due {
			if err := t.align(align.Event{Kind: align.TimeUp}); err != nil {
				return err
			}
		}
	}
	if t.held.id != 0 && t.clock() >= t.held.due {
		for _, o := range t.outputs {
			o.Expedite(t.held.id)
		}
		t.held = heldBarrier{}
	}
	t.setAlarm()
	if s := t.capturing; s != nil && t.gate.CaptureBytes() > t.gate.CaptureLimit() {
		reason := fmt.Sprintf("%d bytes are in flight and a barrier is still missing", t.gate.CaptureBytes())
		t.decline(s.id, reason)
		return t.align(align.Event{Kind: align.BarrierCancelled, Channel: align.Local, Barrier: stream.Barrier{ID: s.id}})
	}
	return nil
}

// setAlarm has the loop look up when the next barrier may overtake.
func (t *Task) setAlarm() {
	due, ok := t.aligner.Due()
	if t.held.id != 0 && (!ok || t.held.due < due) {
		due, ok = t.held.due, true
	}
	if ok && t.alarm != nil {
		t.alarm.Reset(max(due-t.clock(), 0))
	}
}

// hold notes that the barrier just sent waits in an output, if it does, and may
// overtake one day.
func (t *Task) hold(b stream.Barrier) {
	t.held = heldBarrier{} // an older one is over
	if b.Unaligned || b.AlignmentTimeout <= 0 {
		return
	}
	for _, o := range t.outputs {
		if o.Held() {
			t.held = heldBarrier{id: b.ID, due: t.clock() + b.AlignmentTimeout - b.Age}
			return
		}
	}
}

// beginCapture keeps what is left of the batch being read; channels follow by the
// aligner's Capture.
func (t *Task) beginCapture(id stream.CheckpointID) {
	var it exchange.Item
	at := 0
	if h, ok := t.head.(*gateHead); ok {
		it, at = h.item, h.at
	}
	t.gate.BeginCapture(id, it, at)
}

// capture keeps what channel ch holds, and reports whether its barrier was there. It
// stalls the loop for as long.
func (t *Task) capture(ch int) (ended bool) {
	begin := t.o.Now()
	ended = t.gate.Capture(ch)
	if s := t.capturing; s != nil {
		m := s.ack.Timings
		m.SyncNs += int64(t.o.Now().Sub(begin))
		m.LongestStallNs = max(m.LongestStallNs, m.SyncNs)
	}
	return ended
}

// captured: all records in flight to checkpoint id are. They are stored by a goroutine
// of their own.
func (t *Task) captured(id stream.CheckpointID) {
	s := t.capturing
	t.capturing = nil
	if s == nil || s.id != id || s.aborted { // declined when it was begun, or since
		t.gate.DropCapture()
		if s != nil {
			s.open--
			t.ackIfWhole(s)
		}
		return
	}
	s.ack.Timings.ProcessedBytes = t.processed()
	all := t.gate.EndCapture()
	if len(all) == 0 {
		s.open--
		t.ackIfWhole(s)
		return
	}
	f := t.newChannelFile(s, all)
	t.async.Go(func() {
		err := f.write(t.rt.Context)
		t.Post(Command{Kind: stored, snapshot: s, file: f, Err: err})
	})
}

// channelFile is what a subtask keeps of the records in flight of one checkpoint.
type channelFile struct {
	all    []exchange.Captured
	states []*metapb.ChannelState // of all
	store  objstore.Store         // nil: they travel in the ack
	object string
	bytes  uint64
}

// newChannelFile says where what was captured goes; write does the rest.
func (t *Task) newChannelFile(s *snapshot, all []exchange.Captured) *channelFile {
	f := &channelFile{all: all}
	size := 0
	for i, c := range all {
		edge := t.o.Graph.Edges[t.vertex.Inputs[c.Input]]
		f.states = append(f.states, &metapb.ChannelState{
			FromUid: t.o.Graph.Plan.Operators[edge.FromOperator].Uid, Input: uint32(edge.Input), Distribution: edge.Distribution,
			RecordSchema: c.Schema,
		})
		if len(c.Schema) == 0 {
			f.states[i].RecordSchema = t.chain[0].plan.Inputs[edge.Input].RecordSchema
		}
		size += c.Size
	}
	if size > t.o.InlineLimit && t.o.Store != nil {
		f.store = t.o.Store
		f.object = fmt.Sprintf("%v/inflight-%v-v%d-%d", s.id, t.o.Attempt, int(t.o.Subtask.Vertex), t.o.Subtask.Index)
		for _, state := range f.states {
			state.Attempt = t.o.Attempt.String()
		}
	}
	return f
}

// write stores what was captured: megabytes, so not in the loop.
func (f *channelFile) write(ctx context.Context) error {
	defer func() {
		for i := range f.all {
			f.all[i].Release()
		}
	}()
	w, err := inflight.Create(ctx, f.store, f.object)
	if err != nil {
		return err
	}
	defer w.Abort()
	var states []*metapb.ChannelState
	for i, c := range f.all {
		any, err := w.Part(f.states[i], func() error { return c.Write(ctx, w) })
		if err != nil {
			return err
		}
		if any {
			states = append(states, f.states[i])
		}
	}
	f.states, f.bytes = states, w.Bytes()
	return w.Commit(ctx)
}

// channelsStored: the records in flight of a snapshot are durable, or never will be.
func (t *Task) channelsStored(c Command) error {
	s := c.snapshot
	s.open--
	switch {
	case c.Err == nil:
		s.ack.Operators[0].Subtasks[0].ChannelStates = c.file.states
		s.ack.ChannelBytes = c.file.bytes
		s.ack.NewBytes += s.ack.ChannelBytes
	case s.aborted: // so what it reads may be gone by now
	case notAsWritten(c.Err): // of what was restored: nothing that follows from it may be kept
		return &restoreError{fmt.Errorf("restore records in flight: %w", c.Err)}
	default:
		t.giveUp(s, fmt.Sprintf("store records in flight: %v", c.Err))
	}
	t.ackIfWhole(s)
	return nil
}

// restoreChannels has the gate begin with the records that were in flight.
func (t *Task) restoreChannels() error {
	in := t.chain[0]
	var held []exchange.Held
	for _, c := range in.restored.Channels {
		at := -1
		for i, e := range t.vertex.Inputs {
			if t.o.Graph.Edges[e].Input == int(c.Input) {
				at = i
			}
		}
		if t.gate == nil || at < 0 {
			return operator.Fatal(fmt.Errorf("operator %q has no input %d for the records in flight from %q", in.plan.Uid, c.Input, c.State.FromUid))
		}
		own := stream.RangeOf(t.o.Subtask.Index, t.vertex.Parallelism)
		theirs := stream.KeyGroupRange{First: stream.KeyGroup(c.FirstGroup), Last: stream.KeyGroup(c.LastGroup)}
		groups, _ := own.Intersect(theirs)
		source, err := t.sourceOf(c)
		if err != nil {
			return fmt.Errorf("restore records in flight from %q: %w", c.State.FromUid, err)
		}
		held = append(held, exchange.Held{Input: at, Groups: groups, All: groups == theirs, Source: source})
	}
	if len(held) == 0 {
		return nil
	}
	return t.gate.Restore(t.rt.Context, held)
}

// sourceOf says where a channel's records lie, and what that is called.
func (t *Task) sourceOf(c *weirpb.RestoredChannel) (inflight.Source, error) {
	s := inflight.Source{State: c.State}
	if c.State.File == "" {
		return s, nil
	}
	s.Store, s.Name = t.o.Store, c.State.File
	if c.BasePath == "" && s.Store != nil {
		return s, nil
	}
	from, err := objstore.Parse(c.BasePath)
	if err != nil {
		return s, err
	}
	if s.Store == nil || from.URL() != s.Store.URL() { // somebody else's
		s.Store, s.Name = from, strings.TrimSuffix(c.BasePath, "/")+"/"+c.State.File
	}
	return s, nil
}

// restoreError is of what the attempt was to start from, found while it is running.
type restoreError struct{ err error }

func (e *restoreError) Error() string { return e.err.Error() }
func (e *restoreError) Unwrap() error { return e.err }

// notAsWritten reports whether err says that bytes of a snapshot are not what was written.
func notAsWritten(err error) bool {
	return errors.Is(err, statebackend.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound)
}
