package inflight

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// Records in flight are kept as pieces, one after the other in the order of their
// channel (metapb.ChannelState), version 1. All integers are little endian.
//
//	 0  u32  length of the payload
//	 4  u8   version: 1
//	 5  u8   flags: 1 hashes, 2 times
//	 6  u16  records, 1 to 512
//	 8  u32  crc32c of bytes 0–7 and the payload
//	12       payload: [hash u64 each] [time i64 each, ms] records (codec.Codec.AppendBatch);
//	         at most 64 MiB

const (
	// HeaderBytes is what a piece takes beside its payload.
	HeaderBytes = 12
	// MaxPayload is the largest payload, as that of a data frame: a single record.
	MaxPayload = 64 << 20

	pieceVersion = 1
)

// Flags of a piece, which are those of a data frame. NB: persisted; never renumber.
const (
	FlagHashes uint8 = 1
	FlagTimes  uint8 = 2
)

// ErrPiece marks bytes that are not pieces of records in flight.
var ErrPiece = fmt.Errorf("%w: not a piece of records in flight", statebackend.ErrCorrupt)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Piece is header and payload.
type Piece []byte

// Flags are the piece's flags.
func (p Piece) Flags() uint8 { return p[5] }

// Records is how many records the piece has.
func (p Piece) Records() int { return int(binary.LittleEndian.Uint16(p[6:])) }

// Payload is the piece without its header.
func (p Piece) Payload() []byte { return p[HeaderBytes:] }

// Append appends a piece with payload to dst.
func Append(dst []byte, flags uint8, records int, payload []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, pieceVersion, flags)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(records))
	sum := crc32.Update(crc32.Checksum(dst[at:], castagnoli), castagnoli, payload)
	return append(binary.LittleEndian.AppendUint32(dst, sum), payload...)
}

// Cut returns the first of pieces, its checksum compared, and those behind it.
func Cut(pieces []byte) (p Piece, rest []byte, err error) {
	size, err := sizeOf(pieces)
	switch {
	case err != nil:
		return nil, nil, err
	case size == 0:
		return nil, nil, fmt.Errorf("%w: it ends inside a header", ErrPiece)
	case len(pieces) < size:
		return nil, nil, fmt.Errorf("%w: it ends inside a payload of %d bytes", ErrPiece, size-HeaderBytes)
	}
	p, rest = pieces[:size:size], pieces[size:]
	want := binary.LittleEndian.Uint32(p[8:])
	if got := crc32.Update(crc32.Checksum(p[:8], castagnoli), castagnoli, p.Payload()); got != want {
		return nil, nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrPiece, got, want)
	}
	return p, rest, nil
}

// sizeOf is the size of the piece that b begins with, 0 if b ends inside its header.
func sizeOf(b []byte) (int, error) {
	if len(b) < HeaderBytes {
		return 0, nil
	}
	size, count := int64(binary.LittleEndian.Uint32(b)), Piece(b).Records()
	switch {
	case b[4] != pieceVersion:
		return 0, fmt.Errorf("%w: version %d, want %d", ErrPiece, b[4], pieceVersion)
	case b[5]&^(FlagHashes|FlagTimes) != 0 || count == 0 || count > stream.MaxBatch || size > MaxPayload:
		return 0, fmt.Errorf("%w: flags %#x, %d records of %d bytes", ErrPiece, b[5], count, size)
	}
	return HeaderBytes + int(size), nil
}

// whole is how many bytes of b are whole pieces, and the size of the piece that begins
// behind them, 0 if it is not known.
func whole(b []byte) (n, next int, err error) {
	for {
		size, err := sizeOf(b[n:])
		if err != nil || size == 0 || size > len(b)-n {
			return n, size, err
		}
		n += size
	}
}
