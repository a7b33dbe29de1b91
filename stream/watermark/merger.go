package watermark

import "math"

// Times before and after all others, in ms.
const (
	// Min is the watermark of an input that has not said anything yet.
	Min int64 = math.MinInt64
	// Max is the watermark at the end of all input.
	Max int64 = math.MaxInt64
)

// phase of an input.
//
//	counts ⇄ idle → catchingUp → counts
//	any → ended
type phase uint8

const (
	counts phase = iota
	idle
	catchingUp // active again, behind the merged watermark
	ended
)

type input struct {
	at    int64
	phase phase
}

// Merger is the merged watermark of inputs that are numbered from 0.
type Merger struct {
	inputs  []input
	at      int64 // merged
	idle    bool
	dynamic bool
}

// Dynamic returns a merger without inputs, to which others are added: their end is not
// the end of time, and while there are none it stays where it is.
func Dynamic(floor int64) *Merger { return &Merger{at: floor, dynamic: true} }

// New returns a merger of n inputs whose merged watermark is at least floor: what it was
// when the snapshot was taken that a subtask starts from, else Min.
func New(n int, floor int64) *Merger {
	m := &Merger{inputs: make([]input, n), at: floor}
	for i := range m.inputs {
		m.inputs[i].at = Min
	}
	return m
}

// At is the merged watermark.
func (m *Merger) At() int64 { return m.at }

// Idle reports whether every input that has not ended is idle.
func (m *Merger) Idle() bool { return m.idle }

// Ended reports whether every input has.
func (m *Merger) Ended() bool {
	for _, in := range m.inputs {
		if in.phase != ended {
			return false
		}
	}
	return true
}

// InputAt is the watermark of input i, and whether it holds the merged one back.
func (m *Merger) InputAt(i int) (at int64, holds bool) {
	in := m.inputs[i]
	return in.at, in.phase == counts && !m.idle
}

// Holder is the input that the merged watermark waits for: the one that stands earliest of
// those that count. ok is false if there is none.
func (m *Merger) Holder() (i int, ok bool) {
	for n, in := range m.inputs {
		if in.phase == counts && (!ok || in.at < m.inputs[i].at) {
			i, ok = n, true
		}
	}
	return i, ok
}

// Add adds an input and returns its number: the first of one that ended, else a new one.
func (m *Merger) Add() int {
	for i := range m.inputs {
		if m.inputs[i].phase == ended {
			m.inputs[i] = input{at: Min}
			m.idle = false
			return i
		}
	}
	m.inputs = append(m.inputs, input{at: Min})
	m.idle = false
	return len(m.inputs) - 1
}

// Advance says that input i is active and stands at time at. A time before its last one
// changes nothing. It reports whether the merged watermark or its idleness changed.
func (m *Merger) Advance(i int, at int64) (changed bool) {
	in := &m.inputs[i]
	switch before := *in; {
	case in.phase == ended:
		return false
	case at <= in.at && in.phase == counts:
		return false
	default:
		in.at = max(in.at, at)
		in.phase = counts
		if before.phase != counts && in.at < m.at {
			in.phase = catchingUp
		}
		if before.phase == counts && before.at > m.at {
			return false // it did not hold anything back
		}
	}
	return m.merge()
}

// Pause says that nothing is to be expected of input i for a while.
func (m *Merger) Pause(i int) (changed bool) {
	in := &m.inputs[i]
	if in.phase == ended || in.phase == idle {
		return false
	}
	in.phase = idle
	return m.merge()
}

// End says that nothing will ever come from input i.
func (m *Merger) End(i int) (changed bool) {
	if m.inputs[i].phase == ended {
		return false
	}
	m.inputs[i].phase = ended
	return m.merge()
}

func (m *Merger) merge() (changed bool) {
	least, greatest := Max, Min
	counting, waiting, left := 0, 0, 0
	for _, in := range m.inputs {
		switch in.phase {
		case ended:
			continue
		case idle:
			waiting++
		case catchingUp:
		case counts:
			counting++
			least = min(least, in.at)
		}
		left++
		greatest = max(greatest, in.at)
	}
	before, wasIdle := m.at, m.idle
	m.idle = left > 0 && waiting == left
	switch {
	case left == 0:
		if !m.dynamic {
			m.at = Max
		}
	case counting > 0:
		m.at = max(m.at, least)
	case m.idle:
		m.at = max(m.at, greatest)
	}
	return m.at != before || m.idle != wasIdle
}
