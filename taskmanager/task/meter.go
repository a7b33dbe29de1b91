package task

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream/watermark"
)

// publishEvery is how old the published counters of a busy subtask may be: a small
// part of the second at which people look.
const publishEvery = 100 * time.Millisecond

// meter counts what a subtask does. The plain fields are the loop's, copied to the
// atomics now and then.
type meter struct {
	in                  uint64
	busy, idle, blocked time.Duration
	mark                time.Time // what was before is accounted for
	published           time.Time

	shared struct {
		in, out, busy, idle, blocked, state atomic.Uint64 // times in ms
	}
	mu   sync.Mutex
	user []*operator.Counter // guarded by mu
	time toldTime            // guarded by mu
}

// addCounter takes a new user counter.
func (m *meter) addCounter(c *operator.Counter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, known := range m.user {
		if known == c {
			return
		}
	}
	m.user = append(m.user, c)
}

// due publishes if that was long ago; at the beginning of a turn.
func (m *meter) due(t *Task) {
	if t.rt.Turn.Sub(m.published) >= publishEvery {
		m.busy += t.rt.Turn.Sub(m.mark)
		m.mark = t.rt.Turn
		m.publish(t)
	}
}

// rest is called before the loop sleeps, work after it.
func (m *meter) rest(t *Task) {
	now := t.o.Now()
	m.busy += now.Sub(m.mark)
	m.mark = now
	m.publish(t)
}

func (m *meter) work(t *Task, blocked bool) {
	now := t.o.Now()
	if blocked {
		m.blocked += now.Sub(m.mark)
	} else {
		m.idle += now.Sub(m.mark)
	}
	m.mark = now
}

func (m *meter) publish(t *Task) {
	m.published = m.mark
	s := &m.shared
	s.in.Store(m.in)
	s.busy.Store(uint64(m.busy.Milliseconds()))
	s.idle.Store(uint64(m.idle.Milliseconds()))
	s.blocked.Store(uint64(m.blocked.Milliseconds()))
	var out uint64
	for _, o := range t.outputs {
		out += o.Stats().Records
	}
	s.out.Store(out)
	if t.backend != nil {
		s.state.Store(uint64(t.backend.Store().Memory()))
	}
	told := t.toldTime()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.time = told
	for _, c := range m.user {
		c.Publish()
	}
}

// Counters is a reading of what the subtask has done, at most a moment old; from any
// goroutine. User counters with one name are added up.
func (t *Task) Counters() *weirpb.Counters {
	s := &t.meter.shared
	c := &weirpb.Counters{
		Subtask: t.subtask(), Attempt: t.attempt(),
		RecordsIn: s.in.Load(), RecordsOut: s.out.Load(),
		BusyMs: s.busy.Load(), IdleMs: s.idle.Load(), BackpressuredMs: s.blocked.Load(),
		StateBytes: s.state.Load(),
	}
	t.meter.mu.Lock()
	defer t.meter.mu.Unlock()
	if told := t.meter.time; told.at > watermark.Min {
		c.Watermark, c.HeldBy, c.TimeIdle, c.TimeGroup = proto.Int64(told.at), told.heldBy, told.idle, told.group
	}
	at := map[string]int{}
	for _, u := range t.meter.user {
		i, ok := at[u.Name()]
		if !ok {
			i = len(c.User)
			at[u.Name()] = i
			c.User = append(c.User, &weirpb.Counter{Name: u.Name()})
		}
		c.User[i].Value += u.Published()
	}
	return c
}
