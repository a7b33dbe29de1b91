package task

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/operator"
)

// listen takes assignments and events from the enumerator.
func (h *readerHead[T]) listen() (bool, error) {
	t := h.t
	if t.gate == nil {
		return false, nil
	}
	it, ok := t.gate.Poll()
	if !ok {
		return false, nil
	}
	if it.Batch == nil {
		h.settle() // what was polled lies before the barrier
		if err := t.failed(); err != nil {
			return true, err
		}
		return true, t.event(it.Channel, it.Event)
	}
	// Assignments are few: the batch is run to its end even when Attention is up.
	c := t.consumers[it.Input]
	for at := 0; at < c.Len(it.Batch) && t.failed() == nil; {
		at = c.Run(it.Batch, at)
	}
	t.gate.Release(it)
	return true, nil
}

// assignments receives what the enumerator assigns to a reader.
type assignments[T any] readerHead[T]

// Receive implements operator.Receiver.
func (h *assignments[T]) Receive(a operator.Assignment) {
	if h.state == readerAsking {
		h.state = readerPolling
	}
	h.t.rt.Operator = 0
	if len(a.Splits) > 0 {
		if err := h.r.AddSplits(a.Splits); err != nil {
			h.t.rt.Fail(fmt.Errorf("take %d splits: %w", len(a.Splits), unreadable(err)))
		}
	}
	if a.NoMore && !h.noMore {
		h.noMore = true
		if err := h.r.NoMoreSplits(); err != nil {
			h.t.rt.Fail(fmt.Errorf("take the end of the splits: %w", err))
		}
	}
}

// FromEnumerator makes the operator the enumerator e of a source: a subtask that
// emits assignments on request.
func FromEnumerator(l *Linker, e operator.Enumerator) error {
	t := l.t
	if len(t.vertex.Outputs) != 1 || t.vertex.Parallelism != 1 {
		return fmt.Errorf("enumerator %q has %d consumers and parallelism %d, want 1 and 1", l.UID(), len(t.vertex.Outputs), t.vertex.Parallelism)
	}
	readers := t.o.Graph.Vertices[t.o.Graph.Edges[t.vertex.Outputs[0]].To].Parallelism
	t.head = &enumeratorHead{
		t: t, e: e, out: Out[operator.Assignment](l), splits: l.Setup(operator.KeyInfo{}).Splits(),
		readers: readers, wants: map[int]int{},
	}
	return nil
}

// enumeratorHead assigns splits to the readers that ask for them.
type enumeratorHead struct {
	t       *Task
	e       operator.Enumerator
	out     *operator.Collector[operator.Assignment]
	splits  *operator.OperatorList[[]byte]
	readers int
	wants   map[int]int // by reader: asked for and not yet assigned

	news atomic.Bool // the enumerator has called notify
}

func (h *enumeratorHead) open() error {
	if err := h.e.Start(h.splits.Get(), h.notify); err != nil {
		return fmt.Errorf("start enumerator: %w", err)
	}
	return nil
}

// notify is called from any goroutine.
func (h *enumeratorHead) notify() {
	h.news.Store(true)
	h.t.wakeUp()
}

func (h *enumeratorHead) step() (bool, time.Duration, error) {
	t := h.t
	if t.phase != running || t.silent != 0 {
		return false, 0, nil
	}
	if t.drained {
		h.end()
		return true, 0, nil
	}
	news := h.news.Swap(false)
	for _, hint := range t.outputs[0].Hints() {
		h.wants[hint.Subtask] = hint.Want
		news = true
	}
	if !news || len(h.wants) == 0 {
		return false, 0, nil
	}
	t.rt.Operator = 0
	for _, reader := range slices.Sorted(maps.Keys(h.wants)) {
		splits, none, err := h.e.Next(reader, h.readers, h.wants[reader])
		if err != nil {
			return false, 0, fmt.Errorf("find splits for reader %d: %w", reader, err)
		}
		if len(splits) > 0 {
			t.meter.in += uint64(len(splits))
			delete(h.wants, reader)
			h.out.Emit(operator.Assignment{Reader: reader, Splits: splits})
		}
		if none {
			h.end()
			break
		}
	}
	return true, 0, nil
}

// end tells every reader that there will be no further split.
func (h *enumeratorHead) end() {
	for reader := range h.readers {
		h.out.Emit(operator.Assignment{Reader: reader, NoMore: true})
	}
	h.t.phase.to(ending)
}

func (h *enumeratorHead) listen() (bool, error) { return false, nil }

func (h *enumeratorHead) settle() {}

func (h *enumeratorHead) snapshot() error {
	s, err := h.e.Snapshot(nil)
	if err != nil {
		return fmt.Errorf("state of the enumerator: %w", err)
	}
	h.splits.Set(s)
	return nil
}

// activeSplits implements head: an enumerator makes no records.
func (h *enumeratorHead) activeSplits(dst []operator.ActiveSplit) []operator.ActiveSplit { return dst }

func (h *enumeratorHead) position() string { return "" }

func (h *enumeratorHead) splitName(int32) string { return "" }

func (h *enumeratorHead) close() error { return h.e.Close() }
