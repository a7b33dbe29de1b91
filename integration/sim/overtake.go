package sim

import (
	"fmt"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
)

// capture is what a subtask keeps of the rows in flight for one checkpoint.
type capture struct {
	id       stream.CheckpointID
	ack      *pendingAck
	open     []bool
	rows     [][]row // by channel
	restored []row
}

// pendingAck is an ack some parts of which are not there yet.
type pendingAck struct {
	ack      coordinator.Acked
	open     int
	declined bool
}

// part: one more part of p is there.
func (s *subtask) part(p *pendingAck) {
	if p.open--; p.open > 0 {
		return
	}
	s.report(p.ack)
	if s.w.chance(0.05) {
		s.report(p.ack) // twice
	}
}

// hear tells the aligner of barriers that have come behind records, and of the time.
func (s *subtask) hear() {
	for ch, in := range s.inputs {
		for i := 0; i < len(in.items); i++ {
			m := &in.items[i]
			b := m.event.Barrier
			if m.event.Kind != stream.BarrierEvent || m.seen || !b.Unaligned && b.AlignmentTimeout == 0 {
				continue
			}
			m.seen = true
			if s.capture != nil && s.capture.open[ch] && s.catch(ch) {
				s.align(align.Event{Kind: align.Captured, Channel: ch})
				break // the queue is another one now
			}
			b.Age += s.w.now - m.since
			s.align(align.Event{Kind: align.BarrierSeen, Channel: ch, Barrier: b})
			break
		}
	}
	if due, ok := s.aligner.Due(); ok && s.w.now >= due {
		s.align(align.Event{Kind: align.TimeUp})
	}
}

func (s *subtask) beginCapture(id stream.CheckpointID, p *pendingAck) {
	s.capture = &capture{
		id: id, ack: p, open: make([]bool, len(s.inputs)), rows: make([][]row, len(s.inputs)), restored: append([]row(nil), s.restored...),
	}
	for _, in := range s.inputs {
		for i := range in.items {
			in.items[i].kept = false // by an earlier one
		}
	}
}

// catch captures what channel ch holds before the barrier and reports whether that was
// there; then it is taken out.
func (s *subtask) catch(ch int) bool {
	k, in := s.capture, s.inputs[ch]
	k.open[ch] = true
	s.w.Captured++
	for i := range in.items {
		m := &in.items[i]
		if m.event.Kind == stream.BarrierEvent && m.event.Barrier.ID >= k.id {
			if m.event.Barrier.ID > k.id {
				return false
			}
			in.items = append(in.items[:i:i], in.items[i+1:]...)
			k.open[ch] = false
			return true
		}
		s.keep(ch, m)
	}
	return false
}

// keep captures a row, unless it has been.
func (s *subtask) keep(ch int, m *message) {
	if s.capture != nil && s.capture.open[ch] && m.event.Kind == 0 && !m.kept {
		m.kept = true
		s.capture.rows[ch] = append(s.capture.rows[ch], m.record)
	}
}

// caught: the barrier that a capture waits for was taken in its turn.
func (s *subtask) caught(ch int, m message) bool {
	if s.capture == nil || !s.capture.open[ch] || m.event.Barrier.ID != s.capture.id {
		return false
	}
	s.capture.open[ch] = false
	s.align(align.Event{Kind: align.Captured, Channel: ch})
	return true
}

// captured: all of it is. It is stored, and then part of the ack.
func (s *subtask) captured() {
	k := s.capture
	s.capture = nil
	if k.ack.declined {
		return
	}
	x := s.execution
	from := s.graph.VertexUID(x.Subtask.Vertex - 1)
	snapshot := k.ack.ack.Operators[0].Subtasks[0]
	add := func(rows []row) {
		if len(rows) == 0 || s.w.Mutant == NoCapture {
			return
		}
		c := &metapb.ChannelState{FromUid: from, Distribution: distribution(x.Subtask.Vertex), Records: uint64(len(rows))}
		if s.w.chance(0.5) {
			c.Pieces = s.w.store.blob(rows)
		} else {
			c.File, c.Attempt = fmt.Sprintf("%v/inflight-%v-%v-%d", k.id, x.Attempt, x.Subtask, len(snapshot.ChannelStates)), x.Attempt.String()
			s.w.store.objects[c.File] = rows
		}
		snapshot.ChannelStates = append(snapshot.ChannelStates, c)
	}
	add(k.restored)
	for _, rows := range k.rows {
		add(rows)
	}
	s.w.after(s.w.between(0, 6), fmt.Sprintf("%v stored what is in flight to %d", s, k.id), func() {
		if !s.gone {
			s.part(k.ack)
		}
	})
}

func distribution(v job.VertexID) metapb.Distribution {
	if v == countVertex {
		return metapb.Distribution_DISTRIBUTION_HASH
	}
	return metapb.Distribution_DISTRIBUTION_REBALANCE
}

// rowsOf is what was in flight on a channel.
func (st *store) rowsOf(c *metapb.ChannelState) []row {
	if c.File == "" {
		rows, _ := st.blobs[string(c.Pieces)].([]row)
		return rows
	}
	rows, there := st.objects[c.File].([]row)
	if !there {
		st.w.fail("I12", "records in flight are in %s, which is gone", c.File)
	}
	return rows
}

// restoreChannels takes what was in flight: of a keyed channel what is this subtask's.
func (s *subtask) restoreChannels(channels []restore.Channel) {
	v := s.execution.Subtask.Vertex
	mine := stream.RangeOf(s.execution.Subtask.Index, s.graph.Vertices[v].Parallelism)
	for _, c := range channels {
		for _, r := range s.w.store.rowsOf(c.State) {
			if v == sinkVertex || mine.Contains(groupOf(r.key)) {
				s.restored = append(s.restored, r)
				s.w.InFlight++
			}
		}
	}
}
