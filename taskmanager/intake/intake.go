package intake

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// Consumer runs batches of one input into the head of a chain.
type Consumer interface {
	// Run hands the records of batch (a *stream.Batch of the consumer's records) from index
	// from on to the receiver, and stops after the record during which
	// Runtime.Attention was raised. next is the index of the first record not taken;
	// the batch is used up when it equals Len(batch).
	Run(batch any, from int) (next int)
	// Len is the number of records of batch.
	Len(batch any) int
}

// New returns the consumer that runs batches of T into receiver: an
// operator.KeyedReceiver[T] (then the batches must have hashes) or an operator.Receiver[T].
func New[T any](rt *operator.Runtime, receiver any, keyed bool) (Consumer, error) {
	switch r := receiver.(type) {
	case operator.KeyedReceiver[T]:
		if !keyed {
			return nil, errors.New("the receiver is keyed, the edge is not")
		}
		w, _ := receiver.(operator.Warmer[T])
		return &keyedConsumer[T]{rt: rt, receiver: r, warmer: w}, nil
	case operator.Receiver[T]:
		return &plainConsumer[T]{rt: rt, receiver: r}, nil
	}
	return nil, fmt.Errorf("%T receives no %v", receiver, reflect.TypeFor[T]())
}

type plainConsumer[T any] struct {
	rt       *operator.Runtime
	receiver operator.Receiver[T]
}

func (c *plainConsumer[T]) Len(batch any) int { return batch.(*stream.Batch[T]).Len() }

func (c *plainConsumer[T]) Run(batch any, from int) int {
	b := batch.(*stream.Batch[T])
	rt := c.rt
	if b.Times != nil {
		return c.runTimed(b, from)
	}
	rt.Time = operator.NoTime
	for i, v := range b.Values[from:] {
		c.receiver.Receive(v)
		if rt.Attention.Load() {
			return from + i + 1
		}
	}
	return len(b.Values)
}

func (c *plainConsumer[T]) runTimed(b *stream.Batch[T], from int) int {
	for i := from; i < len(b.Values); i++ {
		c.rt.Time = b.Times[i]
		c.receiver.Receive(b.Values[i])
		if c.rt.Attention.Load() {
			return i + 1
		}
	}
	return len(b.Values)
}

type keyedConsumer[T any] struct {
	rt       *operator.Runtime
	receiver operator.KeyedReceiver[T]
	warmer   operator.Warmer[T] // the receiver too, or nil
}

// warmAhead is how many records are warmed at once: 32 slots stay in the first-level
// cache until their records come; 128 are no faster.
const warmAhead = 32

func (c *keyedConsumer[T]) Len(batch any) int { return batch.(*stream.Batch[T]).Len() }

func (c *keyedConsumer[T]) Run(batch any, from int) int {
	b := batch.(*stream.Batch[T])
	rt := c.rt
	if b.Times != nil {
		return c.runTimed(b, from)
	}
	rt.Time = operator.NoTime
	values := b.Values[from:]
	hashes := b.Hashes[from:][:len(values)]
	for i, v := range values {
		if c.warmer != nil && i%warmAhead == 0 {
			to := min(i+warmAhead, len(hashes))
			c.warmer.Warm(hashes[i:to], values[i:to])
		}
		c.receiver.ReceiveKeyed(hashes[i], v)
		if rt.Attention.Load() {
			return from + i + 1
		}
	}
	return len(b.Values)
}

func (c *keyedConsumer[T]) runTimed(b *stream.Batch[T], from int) int {
	for i := from; i < len(b.Values); i++ {
		if c.warmer != nil && (i-from)%warmAhead == 0 {
			to := min(i+warmAhead, len(b.Hashes))
			c.warmer.Warm(b.Hashes[i:to], b.Values[i:to])
		}
		c.rt.Time = b.Times[i]
		c.receiver.ReceiveKeyed(b.Hashes[i], b.Values[i])
		if c.rt.Attention.Load() {
			return i + 1
		}
	}
	return len(b.Values)
}
