package task

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
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
	all := t.gate.EndCapture()
	if len(all) == 0 {
		s.open--
		t.ackIfWhole(s)
		return
	}
	f := t.newChannelFile(s, all)
	t.async.Go(func() {
		f.build(all)
		var err error
		if f.object != "" {
			err = objstore.Put(t.rt.Context, t.o.Store, f.object, bytes.NewReader(f.pieces))
		}
		t.Post(Command{Kind: stored, snapshot: s, file: f, Err: err})
	})
}

// channelFile is what a subtask keeps of the records in flight of one checkpoint.
type channelFile struct {
	object string                 // "": they travel in the ack
	states []*metapb.ChannelState // one for each input that has any
	pieces []byte                 // of all of them, if there is an object
}

// newChannelFile says where what was captured goes, and what it is; build does the rest.
func (t *Task) newChannelFile(s *snapshot, all []exchange.Captured) *channelFile {
	f := &channelFile{}
	size := 0
	for _, c := range all {
		edge := t.o.Graph.Edges[t.vertex.Inputs[c.Input]]
		f.states = append(f.states, &metapb.ChannelState{
			FromUid: t.o.Graph.Plan.Operators[edge.FromOperator].Uid, Input: uint32(edge.Input), Distribution: edge.Distribution,
			RecordSchema: t.chain[0].plan.Inputs[edge.Input].RecordSchema, Records: c.Records, Size: uint64(c.Size),
		})
		size += c.Size
	}
	if size > t.o.InlineLimit && t.o.Store != nil {
		f.object = fmt.Sprintf("%v/inflight-%v-v%d-%d", s.id, t.o.Attempt, int(t.o.Subtask.Vertex), t.o.Subtask.Index)
		for _, state := range f.states {
			state.File, state.Attempt = f.object, t.o.Attempt.String()
		}
	}
	return f
}

// build puts the pieces together and computes digests: megabytes, so not in the loop.
func (f *channelFile) build(all []exchange.Captured) {
	for i, c := range all {
		begin := len(f.pieces)
		f.pieces = c.AppendPieces(f.pieces)
		c.Release()
		mine := f.pieces[begin:len(f.pieces):len(f.pieces)]
		sum := sha256.Sum256(mine)
		state := f.states[i]
		state.Digest = sum[:]
		if f.object == "" {
			state.Pieces = mine
		} else {
			state.Offset = uint64(begin)
		}
	}
}

// channelsStored: the records in flight of a snapshot are durable, or never will be.
func (t *Task) channelsStored(c Command) {
	s := c.snapshot
	s.open--
	if c.Err != nil {
		if !s.aborted {
			t.giveUp(s, fmt.Sprintf("store records in flight: %v", c.Err))
		}
	} else {
		s.ack.Operators[0].Subtasks[0].ChannelStates = c.file.states
		s.ack.ChannelBytes = uint64(len(c.file.pieces))
		s.ack.NewBytes += s.ack.ChannelBytes
	}
	t.ackIfWhole(s)
}

// restoreChannels gives the gate the records that were in flight.
func (t *Task) restoreChannels() error {
	in := t.chain[0]
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
		pieces, err := t.piecesOf(t.rt.Context, c.State, c.BasePath)
		if err == nil {
			groups := stream.RangeOf(t.o.Subtask.Index, t.vertex.Parallelism)
			err = t.gate.Restore(at, c.State.RecordSchema, pieces, groups)
		}
		if err != nil {
			return fmt.Errorf("restore records in flight from %q: %w", c.State.FromUid, err)
		}
	}
	return nil
}

// piecesOf reads what one channel held.
func (t *Task) piecesOf(ctx context.Context, s *metapb.ChannelState, folder string) ([]byte, error) {
	pieces := s.Pieces
	if s.File != "" {
		store := t.o.Store
		if store == nil || folder != "" {
			var err error
			if store, err = objstore.Parse(folder); err != nil {
				return nil, err
			}
		}
		r, err := store.Open(ctx, s.File)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if end := int64(s.Offset + s.Size); end < 0 || end > r.Size() || s.Size > uint64(r.Size()) {
			return nil, fmt.Errorf("%w: %s has %d bytes, bytes %d to %d are wanted", statebackend.ErrCorrupt, s.File, r.Size(), s.Offset, s.Offset+s.Size)
		}
		pieces = make([]byte, s.Size)
		if err := objstore.ReadFull(r, pieces, int64(s.Offset)); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.File, err)
		}
	}
	if sum := sha256.Sum256(pieces); !bytes.Equal(sum[:], s.Digest) {
		return nil, fmt.Errorf("%w: the digest of %s is not what the checkpoint says", statebackend.ErrCorrupt, s.File)
	}
	return pieces, nil
}
