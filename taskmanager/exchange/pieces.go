package exchange

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
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
	return appendPiece(dst, h.flags, int(h.count), f.payload())
}

// decodePiece implements AnyEdge: decode for records that another version of the
// program may have put on the edge.
func (e *Edge[T]) decodePiece(f *frame, free any) (any, error) {
	h := f.header()
	if h.flags == e.pieceFlags() {
		return e.decode(f, free)
	}
	if e.HasTimes && h.flags&flagTimes == 0 {
		return nil, fmt.Errorf("%w: the records in flight have no event times, the edge of %v has", errPiece, e.recordType())
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
			return nil, fmt.Errorf("%w: %d bytes for %d hashes or times", errPiece, len(in), n)
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
		return nil, fmt.Errorf("%w: %d records take %d of %d bytes", errPiece, len(values), used, len(in))
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
func (e *Edge[T]) keepOnly(batch any, groups stream.KeyGroupRange) (dropped int, err error) {
	if !e.keyed() {
		return 0, nil
	}
	b := batch.(*stream.Batch[T])
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
		b.Values[at], b.Hashes[at] = b.Values[i], hash
		if e.HasTimes {
			b.Times[at] = b.Times[i]
		}
		at++
	}
	dropped = len(b.Values) - at
	clear(b.Values[at:])
	b.Values, b.Hashes = b.Values[:at], b.Hashes[:at]
	if e.HasTimes {
		b.Times = b.Times[:at]
	}
	return dropped, nil
}

// appendPiece appends a piece with payload.
func appendPiece(dst []byte, flags uint8, records int, payload []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, pieceVersion, flags)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(records))
	sum := crc32.Update(crc32.Checksum(dst[at:], castagnoli), castagnoli, payload)
	return append(binary.LittleEndian.AppendUint32(dst, sum), payload...)
}

// from implements AnyEdge. No schema stands for the edge's own.
func (e *Edge[T]) from(schema []byte) (codec.Mover, error) {
	if len(schema) == 0 {
		return nil, nil
	}
	return e.Codec.From(schema)
}

// movePiece makes a piece of the records that move brings up to date.
func movePiece(p piece, move codec.Mover) (piece, error) {
	in, head := p.payload(), 0
	for _, flag := range []uint8{flagHashes, flagTimes} {
		if p.flags()&flag != 0 {
			head += 8 * p.records()
		}
	}
	if len(in) < head {
		return nil, fmt.Errorf("%w: %d bytes for the hashes and times of %d records", errPiece, len(in), p.records())
	}
	out := slices.Clone(in[:head])
	in = in[head:]
	for i := range p.records() {
		var n int
		var err error
		if out, n, err = move(out, in); err != nil {
			return nil, fmt.Errorf("%w: bring record %d of %d up to date: %w", errPiece, i, p.records(), err)
		}
		in = in[n:]
	}
	if len(in) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last of %d records", errPiece, len(in), p.records())
	}
	return appendPiece(nil, p.flags(), p.records(), out), nil
}

// errPiece marks bytes that are not the pieces of a channel.
var errPiece = fmt.Errorf("%w of records in flight", errFrame)

// piece is one of the pieces of a channel: header and payload.
type piece []byte

func (p piece) flags() uint8    { return p[5] }
func (p piece) records() int    { return int(binary.LittleEndian.Uint16(p[6:])) }
func (p piece) payload() []byte { return p[pieceBytes:] }

// cutPiece returns the first of pieces and those behind it.
func cutPiece(pieces []byte) (p piece, rest []byte, err error) {
	if len(pieces) < pieceBytes {
		return nil, nil, fmt.Errorf("%w: it ends inside a header", errPiece)
	}
	size := int64(binary.LittleEndian.Uint32(pieces))
	count := piece(pieces).records()
	switch {
	case pieces[4] != pieceVersion:
		return nil, nil, fmt.Errorf("%w: version %d, want %d", errPiece, pieces[4], pieceVersion)
	case pieces[5]&^(flagHashes|flagTimes) != 0 || count == 0 || count > stream.MaxBatch || size > maxRecordBytes:
		return nil, nil, fmt.Errorf("%w: flags %#x, %d records of %d bytes", errPiece, pieces[5], count, size)
	case int64(len(pieces)) < pieceBytes+size:
		return nil, nil, fmt.Errorf("%w: it ends inside a payload of %d bytes", errPiece, size)
	}
	p, rest = pieces[:pieceBytes+size], pieces[pieceBytes+size:]
	want := binary.LittleEndian.Uint32(p[8:])
	if got := crc32.Update(crc32.Checksum(p[:8], castagnoli), castagnoli, p.payload()); got != want {
		return nil, nil, fmt.Errorf("%w: checksum %08x, want %08x", errPiece, got, want)
	}
	return p, rest, nil
}
