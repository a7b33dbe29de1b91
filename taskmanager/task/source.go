package task

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// FromReader makes the operator the source s. If the plan gives it an enumerator, its
// splits come from there.
func FromReader[T any](l *Linker, s operator.Source[T]) error {
	t := l.t
	if l.in.number != 0 {
		return fmt.Errorf("source %q is not the head of its chain", l.UID())
	}
	r, err := s.NewReader(&operator.SourceContext{Runtime: t.rt, UID: l.UID(), Restored: l.Restored()})
	if err != nil {
		return fmt.Errorf("make reader: %w", err)
	}
	h := &readerHead[T]{
		t: t, r: r, out: Out[T](l), splits: l.Setup(operator.KeyInfo{}).Splits(),
		b: stream.Batch[T]{Values: make([]T, 0, stream.MaxBatch)}, assigned: len(t.vertex.Inputs) > 0,
	}
	t.head = h
	if h.assigned {
		In[operator.Assignment](l, (*assignments[T])(h))
	}
	return nil
}

// readerState is the phase of a source reader.
//
//	polling ⇄ waiting (until notified, or until a time)
//	polling → asking (for a split) → polling
//	polling → atEnd
type readerState uint8

const (
	readerPolling readerState = iota
	readerWaiting
	readerAsking
	readerAtEnd
)

// readerHead takes records from a source reader: a batch is polled, then pushed
// record by record; barriers fall between batches.
type readerHead[T any] struct {
	t      *Task
	r      operator.Reader[T]
	out    *operator.Collector[T]
	splits *operator.OperatorList[[]byte]

	b     stream.Batch[T]
	at    int // next record of b
	state readerState
	until time.Time // of waiting; zero: until notified

	assigned bool // splits come from an enumerator
	noMore   bool // it has said that there are none left
	opened   bool

	notified atomic.Bool // set by the reader's own goroutines
}

func (h *readerHead[T]) open() error {
	h.opened = true
	if err := h.r.Start(h.splits.Get(), h.notify); err != nil {
		return fmt.Errorf("start reader: %w", unreadable(err))
	}
	return nil
}

// notify is called from any goroutine.
func (h *readerHead[T]) notify() {
	h.notified.Store(true)
	h.t.wakeUp()
}

func (h *readerHead[T]) step() (bool, time.Duration, error) {
	t := h.t
	if h.at < len(h.b.Values) {
		h.push(false)
		return true, 0, nil
	}
	if heard, err := h.listen(); heard || err != nil {
		return heard, 0, err
	}
	if t.phase != running || t.silent != 0 {
		return false, 0, nil
	}
	if h.state == readerAtEnd || t.drained {
		t.phase.to(ending)
		return true, 0, nil
	}
	if h.notified.Load() {
		h.notified.Store(false)
		h.state = readerPolling
	}
	switch h.state {
	case readerAsking:
		return false, 0, nil
	case readerWaiting:
		if h.until.IsZero() {
			return false, 0, nil
		}
		if left := h.until.Sub(t.rt.Turn); left > 0 {
			return false, left, nil
		}
		h.state = readerPolling
	}
	return h.poll()
}

func (h *readerHead[T]) poll() (bool, time.Duration, error) {
	t := h.t
	t.rt.Operator = 0
	h.b.Reset()
	h.at = 0
	p, err := h.r.Poll(&h.b)
	if err != nil {
		return false, 0, fmt.Errorf("read: %w", unreadable(err))
	}
	n := len(h.b.Values)
	t.meter.in += uint64(n)
	t.rt.Split = p.Split
	switch p.Status {
	case operator.PollMore:
	case operator.PollWait:
		h.state, h.until = readerWaiting, time.Time{}
		if p.Wake > 0 {
			h.until = t.rt.Turn.Add(p.Wake)
		}
	case operator.PollIdle:
		switch {
		case h.assigned && h.noMore:
			h.state = readerAtEnd
		case h.assigned:
			h.state = readerAsking
			t.gate.Hint(1)
		default:
			h.state, h.until = readerWaiting, time.Time{}
		}
	case operator.PollEnd:
		h.state = readerAtEnd
	default:
		return false, 0, fmt.Errorf("read: the reader answered with status %d", p.Status)
	}
	h.push(false)
	// After a wait the next turn says how long it is; after an end it begins it.
	return n > 0 || h.state == readerPolling || h.state == readerAtEnd || h.state == readerWaiting, 0, nil
}

// unreadable marks the error of a source whose input is not there (any more), or may
// not be read, as one that a restart does not mend.
func unreadable(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return operator.Fatal(err)
	}
	return err
}

// push hands the batch on, until Attention is raised or, if all, to its end.
func (h *readerHead[T]) push(all bool) {
	rt := h.t.rt
	timed := len(h.b.Times) == len(h.b.Values) && len(h.b.Times) > 0
	rt.Operator, rt.Time = 0, operator.NoTime
	for h.at < len(h.b.Values) {
		if timed {
			rt.Time = h.b.Times[h.at]
		}
		v := h.b.Values[h.at]
		h.at++ // first: a panic must not repeat the record
		h.out.Emit(v)
		if rt.Attention.Load() && !all {
			return
		}
	}
}

func (h *readerHead[T]) settle() { h.push(true) }

// activeSplits implements head. A reader that does not tell its splits apart has one, which
// waits when the reader can't say when it will have more, or has no split.
func (h *readerHead[T]) activeSplits(dst []operator.ActiveSplit) []operator.ActiveSplit {
	if h.state == readerAtEnd {
		return dst
	}
	if s, ok := h.r.(operator.SplitReader); ok {
		return s.ActiveSplits(dst)
	}
	return append(dst, operator.ActiveSplit{Waiting: h.state == readerAsking || h.state == readerWaiting && h.until.IsZero()})
}

// splitName implements head.
func (h *readerHead[T]) splitName(id int32) string {
	switch n, ok := h.r.(operator.SplitNamer); {
	case ok:
		return n.SplitName(id)
	case id == 0:
		return h.position()
	}
	return strconv.Itoa(int(id))
}

func (h *readerHead[T]) snapshot() error {
	s, err := h.r.Snapshot(nil)
	if err != nil {
		return fmt.Errorf("position of the reader: %w", err)
	}
	h.splits.Set(s)
	return nil
}

func (h *readerHead[T]) position() string { return h.r.Position() }

func (h *readerHead[T]) close() error { return h.r.Close() }
