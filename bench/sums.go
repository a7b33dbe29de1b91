package main

import (
	"time"

	"github.com/weirstream/weir"
)

// sums is the sink of count and words: how many results there were, and the
// wrapping sum of a word of each. Both are results of the job, and so state: they
// are right after failures too.
type sums[T any] struct {
	word func(T) uint64
	rate float64 // results a second that all subtasks take, 0: as they come
}

// NewWriter implements weir.Sink.
func (s sums[T]) NewWriter(setup *weir.Setup) (weir.Writer[T], error) {
	w := &sumWriter[T]{word: s.word, results: setup.Sum("results"), checksum: setup.Sum("checksum"), setup: setup}
	if s.rate > 0 {
		w.each = time.Duration(float64(time.Second) * float64(setup.Parallelism()) / s.rate)
	}
	return w, nil
}

type sumWriter[T any] struct {
	word              func(T) uint64
	results, checksum *weir.Sum
	setup             *weir.Setup
	begun             bool // a result has been written by this attempt

	each time.Duration // that a result takes, of a slow sink
	free time.Time     // when it can take the next
}

// slow has a result take its time. The loop waits with it, as it would for a system that
// the sink writes to.
func (w *sumWriter[T]) slow() {
	now := time.Now()
	if w.free.Before(now) {
		w.free = now
	}
	if w.free = w.free.Add(w.each); w.free.Sub(now) > time.Millisecond { // less is no sleep
		time.Sleep(w.free.Sub(now))
	}
}

// Write implements weir.Writer. The first result of an attempt is logged: by that
// line recovery.py knows when a job works again.
func (w *sumWriter[T]) Write(v T) error {
	if !w.begun {
		w.begun = true
		w.setup.Log().Info("first result")
	}
	if w.each > 0 {
		w.slow()
	}
	w.results.Add(1)
	w.checksum.Add(w.word(v))
	return nil
}

// Close implements weir.Closer. rescale.py measures from this line to the first results
// of the subtasks that follow.
func (w *sumWriter[T]) Close() error {
	if w.begun {
		w.setup.Log().Info("last result")
	}
	return nil
}
