package main

import (
	"github.com/weirstream/weir"
)

// sums is the sink of count and words: how many results there were, and the
// wrapping sum of a word of each. Both are results of the job, and so state: they
// are right after failures too.
type sums[T any] struct{ word func(T) uint64 }

// NewWriter implements weir.Sink.
func (s sums[T]) NewWriter(setup *weir.Setup) (weir.Writer[T], error) {
	return &sumWriter[T]{word: s.word, results: setup.Sum("results"), checksum: setup.Sum("checksum"), setup: setup}, nil
}

type sumWriter[T any] struct {
	word              func(T) uint64
	results, checksum *weir.Sum
	setup             *weir.Setup
	begun             bool // a result has been written by this attempt
}

// Write implements weir.Writer. The first result of an attempt is logged: by that
// line recovery.py knows when a job works again.
func (w *sumWriter[T]) Write(v T) error {
	if !w.begun {
		w.begun = true
		w.setup.Log().Info("first result")
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
