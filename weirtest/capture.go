package weirtest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// captured is a sink whose records the test gets, exactly once: those that a
// completed checkpoint covers. The records stay in memory, so T needs no codec; what
// is in the sink's state, and hence in checkpoints, is which batches of them count.
type captured[T any] struct {
	id      uint64             // of this capture, in promises
	into    *[]T               // the test's
	earlier map[uint64]capture // by id: of the jobs whose savepoint this one was started from
	foreign bool               // the savepoint is not of this test

	mu        sync.Mutex
	batches   []batch[T] // by number; those of attempts that failed are never committed
	committed []T
}

// captures is how many there have been in the process.
var captures atomic.Uint64

func newCaptured[T any](into *[]T) *captured[T] {
	return &captured[T]{id: captures.Add(1), into: into, earlier: map[uint64]capture{}}
}

// follows makes other's promises, which a savepoint holds, known to c.
func (c *captured[T]) follows(other capture) {
	c.earlier[other.number()] = other
	for id, before := range other.before() {
		c.earlier[id] = before
	}
}

func (c *captured[T]) begins(foreign bool)        { c.foreign = foreign }
func (c *captured[T]) number() uint64             { return c.id }
func (c *captured[T]) before() map[uint64]capture { return c.earlier }

// deliver gives the test what has been committed.
func (c *captured[T]) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.into = slices.Clone(c.committed)
}

// batch is what one subtask wrote between two checkpoints.
type batch[T any] struct {
	records   []T
	committed bool
}

// promise is the element of the sink's state: batch Number of capture Of, which
// checkpoint Checkpoint is the first to cover.
type promise struct{ Of, Number, Checkpoint uint64 }

// NewWriter implements operator.Sink.
func (c *captured[T]) NewWriter(s *operator.Setup) (operator.Writer[T], error) {
	return &capturing[T]{to: c, promises: s.SplitList[promise]("pending")}, nil
}

// keep takes a batch in and returns its number.
func (c *captured[T]) keep(records []T) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches = append(c.batches, batch[T]{records: records})
	return uint64(len(c.batches) - 1)
}

// commit publishes a batch, if it has not been.
func (c *captured[T]) commit(number uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number >= uint64(len(c.batches)) {
		return fmt.Errorf("commit captured batch %d: there are %d", number, len(c.batches))
	}
	b := &c.batches[number]
	if !b.committed {
		b.committed = true
		c.committed = append(c.committed, b.records...)
		b.records = nil
	}
	return nil
}

// keepPromise publishes what was promised: to the test's slice of the job that wrote it.
func (c *captured[T]) keepPromise(p promise) error {
	if p.Of == c.id {
		return c.commit(p.Number)
	}
	other, ok := c.earlier[p.Of]
	if !ok && c.foreign {
		return nil
	}
	if !ok {
		return fmt.Errorf("commit captured batch %d of an unknown job: start from a weirtest.Savepoint", p.Number)
	}
	if err := other.commit(p.Number); err != nil {
		return err
	}
	other.deliver()
	return nil
}

// capturing is the writer of one subtask.
type capturing[T any] struct {
	to       *captured[T]
	promises *operator.OperatorList[promise]
	buffer   []T // since the last checkpoint
}

var (
	_ operator.Preparer  = (*capturing[int])(nil)
	_ operator.Committer = (*capturing[int])(nil)
)

// Write implements operator.Writer.
func (w *capturing[T]) Write(v T) error {
	w.buffer = append(w.buffer, v)
	return nil
}

// Prepare implements operator.Preparer.
func (w *capturing[T]) Prepare(id stream.CheckpointID) error {
	if len(w.buffer) > 0 {
		w.promises.Append(promise{w.to.id, w.to.keep(w.buffer), uint64(id)})
		w.buffer = nil
	}
	return nil
}

// Commit implements operator.Committer.
func (w *capturing[T]) Commit(id stream.CheckpointID) error {
	var later []promise
	for _, p := range w.promises.Get() {
		if p.Checkpoint > uint64(id) {
			later = append(later, p)
		} else if err := w.to.keepPromise(p); err != nil {
			return err
		}
	}
	w.promises.Set(later)
	return nil
}

// count is the number of records committed so far.
func (c *captured[T]) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.committed)
}
