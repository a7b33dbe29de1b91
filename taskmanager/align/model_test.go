package align

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirstream/weir/stream"
)

// cell is one place in a model channel: a record, or a barrier.
type cell struct {
	barrier stream.Barrier // ID 0: a record
	kept    bool           // captured
}

// modelChannel is a channel and what the model knows of it.
type modelChannel struct {
	queue   []cell
	blocked bool
	sent    map[stream.CheckpointID]int // records before each barrier
	total   int                         // records sent
	taken   int                         // records taken
	next    stream.CheckpointID         // id of the last barrier sent
	catches stream.CheckpointID         // what it is being captured for, or 0
}

// cut is a started checkpoint.
type cut struct {
	taken, captured []int // by channel
}

// model is a subtask around an aligner.
type model struct {
	t        *rapid.T
	a        *Aligner
	now      time.Duration
	channels []*modelChannel
	cuts     map[stream.CheckpointID]*cut
	highest  stream.CheckpointID
	over     map[stream.CheckpointID]bool // complete or aborted
	whole    int                          // complete ones
	captures int
}

func (m *model) step(e Event) {
	for _, f := range m.a.Step(m.now, e, nil) {
		switch f.Kind {
		case Block:
			m.channels[f.Channel].blocked = true
		case UnblockAll:
			for _, c := range m.channels {
				c.blocked = false
			}
		case Start:
			m.rises(f)
			k := &cut{captured: make([]int, len(m.channels))}
			for _, c := range m.channels {
				k.taken = append(k.taken, c.taken)
				for i := range c.queue {
					c.queue[i].kept = false // by an earlier one
				}
			}
			m.cuts[f.Barrier.ID] = k
		case Capture:
			m.captures++
			m.channels[f.Channel].catches = f.Barrier.ID
		case CaptureComplete:
			m.complete(f.Barrier.ID)
		case Abort:
			m.rises(f)
			m.over[f.Barrier.ID] = true
		case AbortStarted:
			m.over[f.Barrier.ID] = true
			for _, c := range m.channels {
				c.catches = 0
			}
		}
	}
	if e.Kind == Captured {
		return
	}
	// What is there already is captured, as the gate does it.
	for ch := range m.channels {
		m.catch(ch)
	}
	if m.a.Capturing() == 0 && m.highest != 0 && m.cuts[m.highest] != nil && !m.over[m.highest] {
		m.complete(m.highest)
	}
	for ch, c := range m.channels {
		if c.blocked && m.a.Aligning() == 0 {
			m.t.Fatalf("channel %d is blocked and nothing is aligned", ch)
		}
	}
}

func (m *model) rises(f Effect) {
	if f.Barrier.ID <= m.highest {
		m.t.Fatalf("%v after %d", f, m.highest)
	}
	m.highest = f.Barrier.ID
}

// catch captures what is before the barrier on a channel.
func (m *model) catch(ch int) {
	c := m.channels[ch]
	if c.catches == 0 {
		return
	}
	for i := range c.queue {
		x := &c.queue[i]
		switch {
		case x.barrier.ID == c.catches:
			c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
			c.catches = 0
			m.step(Event{Kind: Captured, Channel: ch})
			return
		case x.barrier.ID == 0 && !x.kept:
			x.kept = true
			m.cuts[c.catches].captured[ch]++
		}
	}
}

// complete: every record before the barrier is in the snapshot, and none behind it.
func (m *model) complete(id stream.CheckpointID) {
	m.over[id] = true
	m.whole++
	k := m.cuts[id]
	for ch, c := range m.channels {
		before, sent := c.sent[id]
		if got := k.taken[ch] + k.captured[ch]; !sent || got != before {
			m.t.Fatalf("checkpoint %d has %d records of channel %d taken and %d captured, %d were before its barrier (sent: %v)",
				id, k.taken[ch], ch, k.captured[ch], before, sent)
		}
	}
}

func (m *model) send(ch int, b stream.Barrier, said bool) {
	c := m.channels[ch]
	if b.ID == 0 {
		c.total++
		c.queue = append(c.queue, cell{})
		m.catch(ch)
		return
	}
	c.next = b.ID
	c.sent[b.ID] = c.total
	c.queue = append(c.queue, cell{barrier: b})
	if c.catches != 0 && c.catches <= b.ID {
		m.catch(ch)
	}
	for _, x := range c.queue { // unless it has just been captured
		if said && x.barrier.ID == b.ID {
			m.step(Event{Kind: BarrierSeen, Channel: ch, Barrier: b})
		}
	}
}

func (m *model) take(ch int) {
	c := m.channels[ch]
	if c.blocked || len(c.queue) == 0 {
		return
	}
	x := c.queue[0]
	c.queue = c.queue[1:]
	if x.barrier.ID == 0 {
		c.taken++
		return
	}
	m.step(Event{Kind: BarrierArrived, Channel: ch, Barrier: x.barrier})
}

// TestCut (I9): in whatever order records and barriers come, are taken, overtake and
// are given up, a complete snapshot has the records before its barrier, each once.
func TestCut(t *testing.T) {
	whole, captures := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "channels")
		m := &model{t: t, cuts: map[stream.CheckpointID]*cut{}, over: map[stream.CheckpointID]bool{}}
		o := Options{Channels: n}
		for range n {
			o.Overtakes = append(o.Overtakes, rapid.Bool().Draw(t, "may be overtaken"))
			m.channels = append(m.channels, &modelChannel{sent: map[stream.CheckpointID]int{}})
		}
		m.a = New(o)
		id := stream.CheckpointID(1) // one at a time is under way; a next one only once it is over
		barrier := stream.Barrier{ID: id, AlignmentTimeout: time.Second}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			ch := rapid.IntRange(0, n-1).Draw(t, "channel")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2:
				m.send(ch, stream.Barrier{}, false)
			case 3, 4:
				if m.channels[ch].next < id {
					b := barrier
					b.Unaligned = rapid.IntRange(0, 3).Draw(t, "unaligned") == 0
					m.send(ch, b, o.Overtakes[ch])
				}
			case 5:
				m.now += 300 * time.Millisecond
				if due, ok := m.a.Due(); ok && m.now >= due {
					m.step(Event{Kind: TimeUp})
				}
			case 6:
				if rapid.IntRange(0, 5).Draw(t, "cancel") == 0 {
					m.step(Event{Kind: BarrierCancelled, Channel: Local, Barrier: stream.Barrier{ID: id}})
				}
			default:
				m.take(ch)
			}
			if m.over[id] {
				id++
				barrier = stream.Barrier{ID: id, AlignmentTimeout: time.Second}
			}
		}
		for ch, c := range m.channels { // the last one comes to its end
			if c.next < id {
				m.send(ch, barrier, o.Overtakes[ch])
			}
		}
		for progress := true; progress; {
			progress = false
			for ch, c := range m.channels {
				progress = progress || !c.blocked && len(c.queue) > 0
				m.take(ch)
			}
		}
		if !m.over[id] || m.a.Aligning() != 0 || m.a.Capturing() != 0 {
			t.Fatalf("checkpoint %d is not over: aligning %d, capturing %d", id, m.a.Aligning(), m.a.Capturing())
		}
		whole += m.whole
		captures += m.captures
	})
	if whole == 0 || captures == 0 {
		t.Errorf("%d checkpoints completed, %d channels were captured: the test takes no path", whole, captures)
	}
}
