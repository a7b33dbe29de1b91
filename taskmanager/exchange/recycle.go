package exchange

import (
	"math"
	"reflect"
	"unsafe"

	"github.com/weirstream/weir/internal/footprint"
	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/stream"
)

// Answers to "does a T hold pointers", kept in Edge.pointers.
const (
	pointersUnknown int32 = iota
	pointersNone
	pointersSome
)

// reset empties b for its next records, and lets go what the last ones pointed to.
func (e *Edge[T]) reset(b *stream.Batch[T]) {
	if invariants.Enabled {
		mangle(b)
	}
	if e.hasPointers() {
		clear(b.Values)
	}
	b.Values, b.Hashes, b.Times = b.Values[:0], b.Hashes[:0], b.Times[:0]
}

func (e *Edge[T]) recycle(batch any) { e.reset(batch.(*stream.Batch[T])) }

func (e *Edge[T]) hasPointers() bool {
	known := e.pointers.Load()
	if known == pointersUnknown {
		known = pointersNone
		if footprint.HasPointers(reflect.TypeFor[T]()) {
			known = pointersSome
		}
		e.pointers.Store(known)
	}
	return known == pointersSome
}

// mangle overwrites a batch that was given back, so that whoever kept its slices
// sees nonsense: zero values where a T holds pointers.
func mangle[T any](b *stream.Batch[T]) {
	if footprint.HasPointers(reflect.TypeFor[T]()) {
		clear(b.Values)
	} else if len(b.Values) > 0 {
		size := uintptr(len(b.Values)) * unsafe.Sizeof(b.Values[0])
		invariants.Mangle(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b.Values))), size))
	}
	for i := range b.Hashes {
		b.Hashes[i] = 0xCCCCCCCCCCCCCCCC
	}
	for i := range b.Times {
		b.Times[i] = math.MinInt64
	}
}
