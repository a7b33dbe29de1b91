package exchange

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
	"github.com/weirstream/weir/taskmanager/intake"
)

// Edge is the typed half of one input of a program: what the records of this edge
// are and how they are placed. The program makes one for each input of each
// operator; the two ends of an edge hold different values of it (the program is
// built anew for each subtask), which agree because they come from one binary.
type Edge[T any] struct {
	// Codec turns records into bytes, for consumers in another worker.
	Codec codec.Codec[T]
	// Hash is the xxh3-64 of the encoded key of v. Hash edges only, else nil.
	Hash func(v T) uint64
	// Target is the consumer's subtask index. Direct edges only, else nil.
	Target func(v T) int
	// HasTimes says that the records carry event times.
	HasTimes bool

	pointers atomic.Int32 // whether a T holds pointers, once asked
}

// AnyEdge is an *Edge[T] of some T.
type AnyEdge interface {
	recordType() reflect.Type
	validate(d metapb.Distribution) error
	newOutput(c outputConfig) (Output, error)
	newConsumer(rt *operator.Runtime, receiver any) (intake.Consumer, error)
	// decode fills free (or a new batch, if nil) from the payload of a data frame.
	decode(f *frame, free any) (batch any, err error)
	// recycle empties a batch that was read to its end.
	recycle(batch any)
	// frames encodes the records of batch from index from on, and counts them.
	frames(batch any, from int, give func(*frame)) (records int)
	// decodePiece is decode for records that were in flight when a checkpoint was taken.
	decodePiece(f *frame, free any) (batch any, err error)
	pieceFlags() uint8
	// from returns how records of another schema become those of the edge: nil if they are
	// the same bytes.
	from(schema []byte) (codec.Mover, error)
	// sizeOf is about how many bytes the records of batch would be, encoded into scratch.
	sizeOf(batch any, scratch []byte) (bytes int, used []byte)
	// keepOnly drops all records of batch but those of the given key groups, and says how
	// many are left. On an edge without keys it keeps everything.
	keepOnly(batch any, groups stream.KeyGroupRange) (left int, err error)
	// clipped returns the pieces that hold what p has of the given key groups, or p itself
	// where that can't be told; from any goroutine.
	clipped(p inflight.Piece, groups stream.KeyGroupRange) ([]byte, error)
}

func (e *Edge[T]) recordType() reflect.Type { return reflect.TypeFor[T]() }

func (e *Edge[T]) validate(d metapb.Distribution) error {
	switch {
	case e == nil || e.Codec == nil:
		return errors.New("edge has no codec")
	case d == metapb.Distribution_DISTRIBUTION_HASH && e.Hash == nil:
		return errors.New("hash edge has no Hash")
	case d == metapb.Distribution_DISTRIBUTION_DIRECT && e.Target == nil:
		return errors.New("direct edge has no Target")
	}
	return nil
}

// keyed reports whether batches of the edge carry hashes.
func (e *Edge[T]) keyed() bool { return e.Hash != nil }

func (e *Edge[T]) newBatch(capacity int) *stream.Batch[T] {
	b := &stream.Batch[T]{Values: make([]T, 0, capacity)}
	if e.keyed() {
		b.Hashes = make([]uint64, 0, capacity)
	}
	if e.HasTimes {
		b.Times = make([]int64, 0, capacity)
	}
	return b
}

func (e *Edge[T]) newConsumer(rt *operator.Runtime, receiver any) (intake.Consumer, error) {
	return intake.New[T](rt, receiver, e.keyed())
}

// NewConsumer returns the consumer that runs batches of e into receiver, an
// operator.KeyedReceiver[T] (then e must be a hash edge) or an operator.Receiver[T].
func NewConsumer(e AnyEdge, rt *operator.Runtime, receiver any) (intake.Consumer, error) {
	c, err := e.newConsumer(rt, receiver)
	if err != nil {
		return nil, fmt.Errorf("connect edge of %v: %w", e.recordType(), err)
	}
	return c, nil
}
