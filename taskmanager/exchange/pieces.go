package exchange

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
)

// pieceFlags are those of pieces as this edge writes them.
func (e *Edge[T]) pieceFlags() (flags uint8) {
	if e.keyed() {
		flags |= flagHashes
	}
	if e.HasTimes {
		flags |= flagTimes
	}
	return flags
}

// frames implements AnyEdge.
func (e *Edge[T]) frames(batch any, from int, give func(*frame)) (records int) {
	b := batch.(*stream.Batch[T])
	records = len(b.Values) - from
	for n := records; from < len(b.Values); n = len(b.Values) - from {
		f := newFrame()
		for {
			e.encode(f, b, from, n)
			if len(f.payload()) <= frameBytes || n == 1 {
				break
			}
			n = min(n-1, max(1, n*frameBytes/(len(f.payload())+1)))
		}
		give(f)
		from += n
	}
	return records
}

// sampled is how many records of a batch are encoded to tell how large all are.
const sampled = 4

// sizeOf implements AnyEdge.
func (e *Edge[T]) sizeOf(batch any, scratch []byte) (bytes int, used []byte) {
	b := batch.(*stream.Batch[T])
	n := len(b.Values)
	k := min(n, sampled)
	used = scratch[:0]
	for i := range k {
		at := i * n / k
		used = e.Codec.AppendBatch(used, b.Values[at:at+1])
	}
	return 8*len(b.Hashes) + 8*len(b.Times) + len(used)*n/max(1, k), used
}

// appendPieces appends the records of batch.
func appendPieces(dst []byte, e AnyEdge, batch any) []byte {
	e.frames(batch, 0, func(f *frame) {
		dst = f.appendPiece(dst)
		f.release()
	})
	return dst
}

// appendPiece appends the records of a data frame.
func (f *frame) appendPiece(dst []byte) []byte {
	h := f.header()
	return inflight.Append(dst, h.flags, int(h.count), f.payload())
}

// decodePiece implements AnyEdge: decode for records that another version of the
// program may have put on the edge.
func (e *Edge[T]) decodePiece(f *frame, free any) (any, error) {
	h := f.header()
	if h.flags == e.pieceFlags() {
		return e.decode(f, free)
	}
	if e.HasTimes && h.flags&flagTimes == 0 {
		return nil, fmt.Errorf("%w: the records in flight have no event times, the edge of %v has", statebackend.ErrSchema, e.recordType())
	}
	b, _ := free.(*stream.Batch[T])
	if b == nil {
		b = e.newBatch(int(h.count))
	}
	in, n := f.payload(), int(h.count)
	for _, part := range []struct {
		flag uint8
		to   func(v uint64)
	}{
		{flagHashes, func(uint64) {}}, // the edge has no keys now, or computes them below
		{flagTimes, func(v uint64) {
			if e.HasTimes {
				b.Times = append(b.Times, int64(v))
			}
		}},
	} {
		if h.flags&part.flag == 0 {
			continue
		}
		if len(in) < 8*n {
			return nil, fmt.Errorf("%w: %d bytes for %d hashes or times", errFrame, len(in), n)
		}
		for i := range n {
			part.to(binary.LittleEndian.Uint64(in[8*i:]))
		}
		in = in[8*n:]
	}
	values, used, err := e.Codec.DecodeBatch(b.Values, in, n)
	if err != nil {
		return nil, fmt.Errorf("decode %d records of %v: %w", n, e.recordType(), err)
	}
	if used != len(in) || len(values) != n {
		return nil, fmt.Errorf("%w: %d records take %d of %d bytes", errFrame, len(values), used, len(in))
	}
	b.Values = values
	if e.keyed() {
		for _, v := range values {
			b.Hashes = append(b.Hashes, e.Hash(v))
		}
	}
	return b, nil
}

// keepOnly implements AnyEdge.
func (e *Edge[T]) keepOnly(batch any, groups stream.KeyGroupRange) (left int, err error) {
	b := batch.(*stream.Batch[T])
	if !e.keyed() {
		return len(b.Values), nil
	}
	at := 0
	for i, hash := range b.Hashes {
		if !groups.Contains(stream.GroupOf(hash)) {
			continue
		}
		if e.Hash(b.Values[i]) != hash {
			// The state lies where the hashes say. Others would look for it elsewhere.
			return 0, operator.Fatal(fmt.Errorf("a record in flight when the checkpoint was taken has another key now (%v): "+
				"start from a savepoint, which has no records in flight, to change the key", e.recordType()))
		}
		e.move(b, at, i)
		at++
	}
	e.truncate(b, at)
	return at, nil
}

// move copies record from of b to place to.
func (e *Edge[T]) move(b *stream.Batch[T], to, from int) {
	b.Values[to], b.Hashes[to] = b.Values[from], b.Hashes[from]
	if e.HasTimes {
		b.Times[to] = b.Times[from]
	}
}

// truncate drops the records of b from index n on.
func (e *Edge[T]) truncate(b *stream.Batch[T], n int) {
	clear(b.Values[n:])
	b.Values, b.Hashes = b.Values[:n], b.Hashes[:n]
	if e.HasTimes {
		b.Times = b.Times[:n]
	}
}

// clipped implements AnyEdge. It calls no user code but the codec, which any goroutine
// may: hashes stand in the piece, or nothing is sorted out.
func (e *Edge[T]) clipped(p inflight.Piece, groups stream.KeyGroupRange) ([]byte, error) {
	if !e.keyed() || p.Flags() != e.pieceFlags() {
		return p, nil
	}
	f := frameOfPiece(p)
	defer f.release()
	batch, err := e.decode(f, nil)
	if err != nil {
		return nil, err
	}
	b, at := batch.(*stream.Batch[T]), 0
	for i, hash := range b.Hashes {
		if groups.Contains(stream.GroupOf(hash)) {
			e.move(b, at, i)
			at++
		}
	}
	if at == len(b.Values) {
		return p, nil
	}
	e.truncate(b, at)
	return appendPieces(nil, e, b), nil
}

// frameOfPiece makes a data frame of a piece.
func frameOfPiece(p inflight.Piece) *frame {
	f := newFrame()
	header{kind: dataFrame, flags: p.Flags(), count: uint16(p.Records())}.put(f.buf)
	f.buf = append(f.buf, p.Payload()...)
	return f
}

// from implements AnyEdge. No schema stands for the edge's own.
func (e *Edge[T]) from(schema []byte) (codec.Mover, error) {
	if len(schema) == 0 {
		return nil, nil
	}
	return e.Codec.From(schema)
}
