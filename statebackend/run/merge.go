package run

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/weirstream/weir/statebackend/envelope"
)

// Merged is a Source that merges others: what a newer one says of a key, or clears,
// hides what older ones say, or comes behind it (KindMerge). It yields each key once.
type Merged struct {
	sources []Source // oldest first
	drop    bool

	begun   bool
	heads   []Entry
	heap    []int // sources that have a head; the smallest head first
	cleared [][]byte
	newest  int    // newest source that has cleared anything, -1 = none
	handed  bool   // the top of the heap has been handed out
	start   []byte // range clear being handed out
	to      []byte // end of the range clears handed out so far; nil = none
	want    []byte // to here they reach, when the next entry is at to; not below it
	err     error

	// Of a key with operands.
	key, value []byte
	operands   []byte   // one behind the other, newest first
	ends       []int    // of those
	order      [][]byte // scratch
}

// Merge merges sources, oldest first, and owns them from now on. With drop, which
// needs that nothing older exists, tombstones and range clears are not yielded, and what
// is left of operands is a KindSet.
func Merge(sources []Source, drop bool) *Merged {
	return &Merged{
		sources: sources, drop: drop, newest: -1,
		heads: make([]Entry, len(sources)), cleared: make([][]byte, len(sources)),
	}
}

// before reports whether source a's head comes before source b's: by key, range
// clears before points, newer before older.
func (m *Merged) before(a, b int) bool {
	x, y := &m.heads[a], &m.heads[b]
	if c := bytes.Compare(x.Key, y.Key); c != 0 {
		return c < 0
	}
	if (x.Kind == KindClear) != (y.Kind == KindClear) {
		return x.Kind == KindClear
	}
	return a > b
}

// sift restores the heap below place i.
func (m *Merged) sift(i int) {
	for {
		child := 2*i + 1
		if child >= len(m.heap) {
			return
		}
		if child+1 < len(m.heap) && m.before(m.heap[child+1], m.heap[child]) {
			child++
		}
		if !m.before(m.heap[child], m.heap[i]) {
			return
		}
		m.heap[i], m.heap[child] = m.heap[child], m.heap[i]
		i = child
	}
}

// advance reads the next head of the source at place i of the heap.
func (m *Merged) advance(i int) {
	s := m.heap[i]
	e, ok := m.sources[s].Next()
	if !ok {
		if err := m.sources[s].Err(); err != nil && m.err == nil {
			m.err = err
		}
		last := len(m.heap) - 1
		m.heap[i] = m.heap[last]
		m.heap = m.heap[:last]
		if i < last {
			// The last one comes from below place i or from a sibling's subtree; in a
			// sibling's case it may belong above i, but i is 0 or a child of 0 whose key
			// equals 0's, and nothing is smaller than 0's.
			m.sift(i)
		}
		return
	}
	m.heads[s] = e
	m.sift(i)
}

// begin reads the first head of every source.
func (m *Merged) begin() {
	m.begun = true
	for s := range m.sources {
		e, ok := m.sources[s].Next()
		if !ok {
			if m.err = m.sources[s].Err(); m.err != nil {
				return
			}
			continue
		}
		m.heads[s] = e
		m.heap = append(m.heap, s)
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
}

// Next implements Source.
func (m *Merged) Next() (e Entry, ok bool) {
	if !m.begun {
		m.begin()
	}
	if m.handed {
		m.handed = false
		m.advance(0)
	}
	for m.err == nil {
		if e, ok := m.rest(); ok {
			return e, true
		}
		if len(m.heap) == 0 {
			break
		}
		top := m.heap[0]
		e := m.heads[top]
		if e.Kind == KindClear {
			if m.clear(top, e) {
				return Entry{Key: m.start, Value: m.to, Kind: KindClear}, true
			}
			continue
		}
		if e.Kind == KindMerge && !m.hidden(top, e.Key) {
			if e, ok := m.join(); ok {
				return e, true
			}
			break
		}
		m.skipOlder(e.Key)
		if m.err != nil {
			break
		}
		if m.hidden(top, e.Key) || m.drop && e.Kind == KindDelete {
			m.advance(0)
			continue
		}
		m.handed = true
		return e, true
	}
	return Entry{}, false
}

// clear takes a range clear from the top of the heap. It is yielded (true) unless it
// begins within one that was: then its rest is, by rest, when its turn comes.
func (m *Merged) clear(top int, e Entry) bool {
	m.cleared[top] = append(m.cleared[top][:0], e.Value...)
	m.newest = max(m.newest, top)
	m.start = append(m.start[:0], e.Key...)
	m.advance(0)
	end := m.cleared[top]
	switch {
	case m.drop:
		return false
	case m.to != nil && bytes.Compare(m.start, m.to) < 0:
		m.want = append(m.want[:0], maxKey(m.want, end)...)
		return false
	}
	m.to, m.want = append(m.to[:0], end...), append(m.want[:0], end...)
	return true
}

// rest yields the range clear that goes on where the last one ended, if that is
// where the merge has come to.
func (m *Merged) rest() (Entry, bool) {
	if bytes.Compare(m.want, m.to) <= 0 || len(m.heap) > 0 && bytes.Compare(m.heads[m.heap[0]].Key, m.to) < 0 {
		return Entry{}, false
	}
	m.start = append(m.start[:0], m.to...)
	m.to = append(m.to[:0], m.want...)
	return Entry{Key: m.start, Value: m.to, Kind: KindClear}, true
}

// join takes the operand at the top and all that older sources say of its key.
func (m *Merged) join() (Entry, bool) {
	m.key = append(m.key[:0], m.heads[m.heap[0]].Key...)
	m.operands, m.ends = m.operands[:0], m.ends[:0]
	kind := KindMerge
	for kind == KindMerge && m.at(m.key) {
		top := m.heap[0]
		switch e := m.heads[top]; {
		case e.Kind == KindDelete || m.hidden(top, m.key):
			kind = KindSet
		default:
			m.operands = append(m.operands, e.Value...)
			m.ends = append(m.ends, len(m.operands))
			kind = e.Kind
			m.advance(0)
		}
	}
	for m.at(m.key) {
		m.advance(0)
	}
	m.order = m.order[:0]
	for i := len(m.ends) - 1; i >= 0; i-- {
		from := 0
		if i > 0 {
			from = m.ends[i-1]
		}
		m.order = append(m.order, m.operands[from:m.ends[i]])
	}
	if m.err == nil {
		if m.value, m.err = envelope.Join(m.value[:0], m.order...); m.err != nil {
			m.err = fmt.Errorf("key %x: %w", m.key, m.err)
		}
	}
	if m.drop {
		kind = KindSet
	}
	return Entry{Key: m.key, Value: m.value, Kind: kind}, m.err == nil
}

// at reports whether the top of the heap is of key.
func (m *Merged) at(key []byte) bool {
	return m.err == nil && len(m.heap) > 0 && bytes.Equal(m.heads[m.heap[0]].Key, key)
}

// skipOlder passes over what older sources say of the key at the top.
func (m *Merged) skipOlder(key []byte) {
	for m.err == nil {
		switch {
		case len(m.heap) > 1 && bytes.Equal(m.heads[m.heap[1]].Key, key):
			m.advance(1)
		case len(m.heap) > 2 && bytes.Equal(m.heads[m.heap[2]].Key, key):
			m.advance(2)
		default:
			return
		}
	}
}

// hidden reports whether a source newer than s has cleared key.
func (m *Merged) hidden(s int, key []byte) bool {
	for n := m.newest; n > s; n-- {
		if m.cleared[n] != nil && bytes.Compare(key, m.cleared[n]) < 0 {
			return true
		}
	}
	return false
}

// Err implements Source.
func (m *Merged) Err() error { return m.err }

// Close implements Source: it closes the merged sources.
func (m *Merged) Close() error {
	m.heap = nil
	m.begun = true
	var errs []error
	for _, s := range m.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
