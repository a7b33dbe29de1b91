package weirtest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// Feed is a source of the records that the test sends, in that order, all read by one
// subtask; it ends when the test says so. It remembers what was sent, so a restored
// job reads on where its checkpoint stood. Give it to a job with ReplaceSource.
type Feed[T any] struct {
	t       testing.TB
	mu      sync.Mutex
	records []T
	ended   bool
	wake    map[*feedReader[T]]func() // readers that run, and their notify
}

var _ operator.Source[int] = (*Feed[int])(nil)

// NewFeed returns a feed that holds records already.
func NewFeed[T any](t testing.TB, records ...T) *Feed[T] {
	return &Feed[T]{t: t, records: slices.Clone(records), wake: map[*feedReader[T]]func(){}}
}

// Send adds records. It does not wait until they are read. A feed that was ended
// takes no more: the test fails.
func (f *Feed[T]) Send(records ...T) {
	f.t.Helper()
	ended := false
	f.change(func() {
		if ended = f.ended; !ended {
			f.records = append(f.records, records...)
		}
	})
	if ended {
		f.t.Fatal("Send on a feed that was ended")
	}
}

// End ends the input: no record will follow.
func (f *Feed[T]) End() { f.change(func() { f.ended = true }) }

func (f *Feed[T]) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	for _, notify := range f.wake {
		notify()
	}
}

// NewReader implements operator.Source.
func (f *Feed[T]) NewReader(c *operator.SourceContext) (operator.Reader[T], error) {
	return &feedReader[T]{feed: f, reads: c.Subtask == 0 && !c.Restored}, nil
}

// NewEnumerator implements operator.Source: the only split is found by subtask 0.
func (f *Feed[T]) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) {
	return nil, nil
}

// feedReader reads the whole feed, or nothing. Its split is the number of records
// read, 8 bytes in big endian; it lives no longer than the test.
type feedReader[T any] struct {
	feed  *Feed[T]
	reads bool // it has the split
	next  int
}

// Start implements operator.Reader.
func (r *feedReader[T]) Start(splits [][]byte, notify func()) error {
	if err := r.AddSplits(splits); err != nil {
		return err
	}
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	r.feed.wake[r] = notify
	return nil
}

// AddSplits implements operator.Reader.
func (r *feedReader[T]) AddSplits(splits [][]byte) error {
	for _, s := range splits {
		if len(s) != 8 || r.reads {
			return fmt.Errorf("split %x of a feed: it is not one, or there are two", s)
		}
		r.reads, r.next = true, int(binary.BigEndian.Uint64(s))
	}
	return nil
}

// NoMoreSplits implements operator.Reader.
func (r *feedReader[T]) NoMoreSplits() error { return nil }

// Poll implements operator.Reader.
func (r *feedReader[T]) Poll(b *stream.Batch[T]) (operator.Polled, error) {
	if !r.reads {
		return operator.Polled{Status: operator.PollEnd}, nil
	}
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	n := min(cap(b.Values)-len(b.Values), len(r.feed.records)-r.next)
	b.Values = append(b.Values, r.feed.records[r.next:r.next+n]...)
	r.next += n
	switch {
	case r.next < len(r.feed.records):
		return operator.Polled{Status: operator.PollMore}, nil
	case r.feed.ended:
		r.reads = false
		if n > 0 {
			return operator.Polled{Status: operator.PollMore}, nil
		}
		return operator.Polled{Status: operator.PollEnd}, nil
	}
	return operator.Polled{Status: operator.PollWait}, nil
}

// Snapshot implements operator.Reader.
func (r *feedReader[T]) Snapshot(dst [][]byte) ([][]byte, error) {
	if !r.reads {
		return dst, nil
	}
	return append(dst, binary.BigEndian.AppendUint64(nil, uint64(r.next))), nil
}

// Position implements operator.Reader.
func (r *feedReader[T]) Position() string { return fmt.Sprintf("before record %d", r.next) }

// Close implements operator.Reader.
func (r *feedReader[T]) Close() error {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	delete(r.feed.wake, r)
	return nil
}
