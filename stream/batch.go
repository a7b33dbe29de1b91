package stream

// MaxBatch is the largest number of records of a Batch. 512 records make the
// cost of a hand-over (~100 ns) vanish; more would only lengthen the time to the
// next barrier.
const MaxBatch = 512

// Batch is a piece of a stream on its way from one subtask to another. The
// slices run parallel; Hashes is nil unless the edge is keyed, Times nil unless
// the stream has event time.
//
// A batch has one owner at a time. It is frozen once it is handed over: the
// consumer may read it and must give it back to where it came from; fan-out
// copies the slices. Records are immutable after emit.
type Batch[T any] struct {
	Values []T
	Hashes []uint64 // xxh3-64 of the encoded key of each value
	Times  []int64  // ms of event time since 1970
}

// Len is the number of records.
func (b *Batch[T]) Len() int { return len(b.Values) }

// Reset empties b for its next use; what the records pointed to is let go.
func (b *Batch[T]) Reset() {
	clear(b.Values)
	b.Values, b.Hashes, b.Times = b.Values[:0], b.Hashes[:0], b.Times[:0]
}
