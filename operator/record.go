package operator

// Receiver takes the records of one input, one call a record.
type Receiver[T any] interface {
	Receive(v T)
}

// KeyedReceiver takes the records of a keyed input. hash is the xxh3-64 of the
// encoded key, computed once by the producer.
type KeyedReceiver[T any] interface {
	ReceiveKeyed(hash uint64, v T)
}

// Warmer is implemented by keyed receivers that look the key up in a table. Warm is
// told the records that come next, with their hashes, at most a few dozen at a time, so
// that the cache misses of their slots overlap, and what lies on disk is read together. It
// must not change any state.
type Warmer[T any] interface {
	Warm(hashes []uint64, values []T)
}

// Collector is where an operator emits. Concrete, so that the call can be inlined
// and users can hold one.
type Collector[T any] struct {
	next Receiver[T]
	rt   *Runtime
	op   int32
}

// NewCollector returns a collector that hands records of the operator numbered op
// in its chain on to next.
func NewCollector[T any](rt *Runtime, op int32, next Receiver[T]) *Collector[T] {
	return &Collector[T]{next: next, rt: rt, op: op}
}

// Emit hands v on. v must not be changed afterwards.
func (c *Collector[T]) Emit(v T) {
	c.next.Receive(v)
	c.rt.Operator = c.op // whose code runs from here on, for the report of a panic
}

// FanOut hands each record to several receivers.
type FanOut[T any] []Receiver[T]

// Receive implements Receiver.
func (f FanOut[T]) Receive(v T) {
	for _, r := range f {
		r.Receive(v)
	}
}

// Whole is the receiver that hands on to all of f, without a detour where it is one.
func (f FanOut[T]) Whole() Receiver[T] {
	switch len(f) {
	case 0:
		return Discard[T]{}
	case 1:
		return f[0]
	}
	return f
}

// Discard is the receiver of an output that nobody reads.
type Discard[T any] struct{}

// Receive implements Receiver.
func (Discard[T]) Receive(T) {}
