package table

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table/timerheap"
)

// Timers are times at which a key wants to be called. A key has at most one timer
// for a time. Timers stay in memory; after a restore that only attached the cold tier
// they are loaded behind, and those of a bundle wait until all of it are (Store.LoadTimers):
// a key's timers fire in order.
type Timers struct {
	name   string
	t      *tbl[struct{}]
	queues []timerheap.Heap // by bundle; they may hold deleted ones: the table decides
	first  int              // the queue that has the earliest that may fire; -1: none does
	next   int64            // its time
	full   []byte
	fired  []byte
}

// Timer is one that is due.
type Timer struct {
	Hash uint64
	Word uint64 // the key, if keys are words
	Enc  []byte // the key, if they are bytes; valid until the next Due
	At   int64
}

var errTimer = errors.New("timer with a value")

// NewTimers declares timers in s.
func NewTimers(s *Store, d statebackend.Descriptor) (*Timers, error) {
	m := &Timers{name: d.Name, queues: make([]timerheap.Heap, s.bundles), first: -1}
	m.t = newTbl(s, d, false, hooks[struct{}]{
		encode: func(dst, _ []byte, _ *struct{}) []byte { return dst },
		decode: func(b []byte) (v struct{}, _ []byte, err error) {
			if len(b) > 0 {
				err = errTimer
			}
			return v, nil, err
		},
		// In the table a timer is found by key, then time; in a run it sorts by time.
		place: func(dst, key []byte) []byte {
			n := len(key) - 8
			return append(append(dst, key[n:]...), key[:n]...)
		},
		compare: func(a, b []byte) int {
			n, k := len(a)-8, len(b)-8
			if c := bytes.Compare(a[n:], b[k:]); c != 0 {
				return c
			}
			return bytes.Compare(a[:n], b[:k])
		},
		split: func(scratch, rest []byte) (user, key []byte, mix uint64, err error) {
			if len(rest) < 8 {
				return nil, nil, 0, statebackend.ErrCorrupt
			}
			key = append(append(scratch, rest[8:]...), rest[:8]...)
			return rest[8:], key, mixTime(binary.BigEndian.Uint64(rest)), nil
		},
		loaded: func(g *segment[struct{}], at int, user []byte, hash uint64) {
			key := g.keyOf(&g.slots[at])
			word := uint64(0)
			if s.opt.KeyWidth > 0 {
				word = wordOf(user)
			}
			m.push(timeOf(key[len(user):]), hash, word, user)
		},
		pinned: true,
		apart:  true,
		opened: func(int) { m.findNext() },
	})
	return m, s.add(m.t)
}

// UnboundTimers returns a handle for plan time: it has a name, and using it panics.
func UnboundTimers(d statebackend.Descriptor) *Timers { return &Timers{name: d.Name} }

// appendTime appends at so that bytes sort as times do: the sign bit is flipped.
func appendTime(dst []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(at)^1<<63)
}

func timeOf(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ 1<<63) }

func mixTime(t uint64) uint64 { return t * 0x9E3779B97F4A7C15 >> 32 }

// find makes full the slot key of the current key's timer at, and returns its
// place.
func (m *Timers) find(at int64) (g *segment[struct{}], i int, hash uint64, ok bool) {
	t := m.t
	if t == nil {
		unbound(m.name)
	}
	m.full = appendTime(t.s.appendKey(m.full[:0]), at)
	hash = mixHash(t.s.hash, mixTime(uint64(at)^1<<63))
	g = t.segmentFor(hash)
	i, ok = g.findBytes(hash, m.full, 0)
	return g, i, hash, ok
}

// Register has the current key called at time at, once; a time already registered
// stays so.
func (m *Timers) Register(at int64) {
	g, i, hash, ok := m.find(at)
	t := m.t
	if ok && g.slots[i].meta&flagGone == 0 {
		return
	}
	if !ok {
		g, i = m.insert(hash)
	}
	t.mark(g, i)
	if ok {
		t.revive(&g.slots[i])
	}
	m.push(at, t.s.hash, t.s.word, t.s.enc)
}

// Delete takes back the current key's timer at time at.
func (m *Timers) Delete(at int64) {
	g, i, hash, ok := m.find(at)
	t := m.t
	switch {
	case ok && g.slots[i].meta&flagGone == 0:
	case !ok && t.s.timers.in(g.bundle): // it may be below
		g, i = m.insert(hash)
	default:
		return
	}
	t.mark(g, i)
	t.bury(&g.slots[i])
}

// insert makes the slot for full, which is not in the table.
func (m *Timers) insert(hash uint64) (g *segment[struct{}], i int) {
	t := m.t
	g = t.reserve(hash, 1, len(m.full))
	i = t.put(g, hash, 0, m.full, 0)
	if t.s.timers.in(g.bundle) {
		g.slots[i].meta |= flagStored
	}
	return g, i
}

// Next is the earliest time at which a timer may be due; ok is false if there is
// none. It may be that of a timer deleted since.
func (m *Timers) Next() (at int64, ok bool) { return m.next, m.first >= 0 }

// Due takes out a timer whose time is now or earlier, the earliest first; ok is
// false when there is none (left). It makes the timer's key the current one.
func (m *Timers) Due(now int64) (d Timer, ok bool) {
	if m.t == nil {
		unbound(m.name)
	}
	s := m.t.s
	for m.first >= 0 && m.next <= now {
		it := m.pop(&m.queues[m.first])
		if s.opt.KeyWidth > 0 {
			s.SetWord(it.Hash, it.Word)
		} else {
			s.SetKey(it.Hash, m.fired)
		}
		g, i, _, ok := m.find(it.At)
		if !ok || g.slots[i].meta&flagGone != 0 {
			continue // deleted, or a second item of one that has fired
		}
		m.t.mark(g, i)
		m.t.bury(&g.slots[i])
		return Timer{Hash: s.hash, Word: s.word, Enc: s.enc, At: it.At}, true
	}
	return Timer{}, false
}

// Len is the number of items in the queues, deleted ones included.
func (m *Timers) Len() (n int) {
	for i := range m.queues {
		n += m.queues[i].Len()
	}
	return n
}

func (m *Timers) push(at int64, hash, word uint64, enc []byte) {
	b := m.t.s.bundleOf(hash)
	q := &m.queues[b]
	was := q.Bytes()
	if m.t.s.opt.KeyWidth == 0 {
		q.PushBytes(at, hash, enc)
	} else {
		q.Push(at, hash, word)
	}
	if !m.t.s.timers.in(b) {
		m.earlier(b, at)
	}
	if now := q.Bytes(); now != was {
		m.t.grew(now - was)
	}
}

// pop takes the earliest item out of q; its key is copied to fired.
func (m *Timers) pop(q *timerheap.Heap) (it timerheap.Item) {
	if m.t.s.opt.KeyWidth == 0 {
		it, m.fired = q.PopBytes(m.fired[:0])
	} else {
		it = q.Pop()
	}
	m.findNext()
	return it
}

func (m *Timers) findNext() {
	m.first = -1
	for i := range m.queues {
		if at, ok := m.queues[i].First(); ok && !m.t.s.timers.in(i) {
			m.earlier(i, at)
		}
	}
}

// earlier notes that queue i, which may fire, has a timer at a time.
func (m *Timers) earlier(i int, at int64) {
	if m.first < 0 || at < m.next || at == m.next && i < m.first {
		m.first, m.next = i, at
	}
}
