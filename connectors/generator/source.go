package generator

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// Option tunes a generator.
type Option interface{ apply(*config) }

type config struct {
	rate        float64 // records a second of the whole job; 0 = no limit
	interleaved bool
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// Rate bounds the records a second that all subtasks make together. 0 or less
// means no bound.
func Rate(perSecond float64) Option {
	return optionFunc(func(c *config) { c.rate = max(0, perSecond) })
}

// Range returns the source of the records f(0) … f(n−1). With n < 0 it never
// ends: the records are those of 0 … 2^63−1, so that subtask i of p starts at
// i·2^63/p.
//
// f is called by several goroutines, each with its own numbers in ascending order.
// It must be a pure function: after a failure it is asked for some of them again.
func Range[T any](n int64, f func(i uint64) T, opts ...Option) *Source[T] {
	s := &Source[T]{n: uint64(n), f: f}
	if n < 0 {
		s.n = math.MaxInt64
	}
	for _, o := range opts {
		o.apply(&s.config)
	}
	return s
}

// Source is what Range returns.
type Source[T any] struct {
	n      uint64
	f      func(uint64) T
	config config
}

var _ operator.Source[int] = (*Source[int])(nil)

// NewReader implements operator.Source.
func (s *Source[T]) NewReader(c *operator.SourceContext) (operator.Reader[T], error) {
	if s.config.interleaved {
		return &striped[T]{source: s, c: c, now: c.Now}, nil
	}
	return &reader[T]{source: s, c: c, now: c.Now}, nil
}

// NewEnumerator implements operator.Source: each reader finds its own split.
func (s *Source[T]) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) {
	if s.f == nil {
		return nil, errors.New("generate records: the function that makes them is nil")
	}
	return nil, nil
}

type reader[T any] struct {
	source *Source[T]
	c      *operator.SourceContext
	now    func() time.Time

	// disjoint, ascending; the first is being read: it stays, even read to its end, until the
	// next Poll, because its last records are still on their way
	splits []split
	share  float64 // of the job's rate: the sum of the splits' when reading began
	pace   pace
}

// Start implements operator.Reader.
func (r *reader[T]) Start(splits [][]byte, _ func()) error {
	if !r.c.Restored {
		first, next := part(r.source.n, r.c.Subtask, r.c.Parallelism)
		if first < next {
			share := float64(next-first) / float64(r.source.n)
			r.splits = []split{{next: first, end: next, share: share}}
		}
	}
	return r.AddSplits(splits)
}

// AddSplits implements operator.Reader.
func (r *reader[T]) AddSplits(splits [][]byte) error {
	for _, b := range splits {
		s, err := decodeSplit(b)
		if err != nil {
			return err
		}
		r.splits = append(r.splits, s)
	}
	joined, err := join(r.splits)
	if err != nil {
		return err
	}
	r.splits = joined
	r.share = 0
	for i, s := range r.splits {
		r.share += s.share
		r.splits[i].id = int32(i)
	}
	r.pace = pace{perSecond: r.source.config.rate * r.share}
	return nil
}

// NoMoreSplits implements operator.Reader.
func (r *reader[T]) NoMoreSplits() error { return nil }

// read appends the records from number next on to b: no more than left, than there is room
// for, and than the pace allows. due is false if it allows none yet, for a time of wait.
func (s *Source[T]) read(b *stream.Batch[T], p *pace, now func() time.Time, next, left uint64) (n uint64, wait time.Duration, due bool) {
	n = min(uint64(cap(b.Values)-len(b.Values)), left)
	if p.perSecond > 0 {
		if n, wait = p.due(now(), n); n == 0 {
			return 0, wait, false
		}
	}
	old := len(b.Values)
	b.Values = b.Values[:old+int(n)]
	f := s.f
	for i := range b.Values[old:] {
		b.Values[old+i] = f(next)
		next++
	}
	return n, 0, true
}

// Poll implements operator.Reader.
func (r *reader[T]) Poll(b *stream.Batch[T]) (operator.Polled, error) {
	if len(r.splits) > 0 && r.splits[0].next == r.splits[0].end {
		r.splits = slices.Delete(r.splits, 0, 1)
	}
	if len(r.splits) == 0 {
		return operator.Polled{Status: operator.PollEnd}, nil
	}
	s := &r.splits[0]
	n, wait, due := r.source.read(b, &r.pace, r.now, s.next, s.end-s.next)
	if !due {
		return operator.Polled{Status: operator.PollWait, Wake: wait}, nil
	}
	s.next += n
	return operator.Polled{Status: operator.PollMore, Split: s.id}, nil
}

// ActiveSplits implements operator.SplitReader: all that have not been read to their end,
// those not begun too. None ever waits: its next record is known.
func (r *reader[T]) ActiveSplits(dst []operator.ActiveSplit) []operator.ActiveSplit {
	for _, s := range r.splits {
		dst = append(dst, operator.ActiveSplit{ID: s.id})
	}
	return dst
}

// Snapshot implements operator.Reader.
func (r *reader[T]) Snapshot(dst [][]byte) ([][]byte, error) {
	return divide(dst, r.splits, r.share), nil
}

// Position implements operator.Reader.
func (r *reader[T]) Position() string {
	if len(r.splits) == 0 || len(r.splits) == 1 && r.splits[0].next == r.splits[0].end {
		return "after the last record"
	}
	return fmt.Sprintf("before record %d", r.splits[0].next)
}

// Close implements operator.Reader.
func (r *reader[T]) Close() error { return nil }
