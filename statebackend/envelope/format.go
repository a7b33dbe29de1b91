package envelope

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/statebackend"
)

// The layout of a value, format 2 (that of the run it stands in). NB: persisted; nothing here
// may change, only be added under a new version. Version 1 has no lists in pieces.
//
// A value begins with an envelope:
//
//	byte 0     kind of the state (bits 0-3, metapb.StateKind), has-time (bit 4),
//	           compressed (bit 5), in pieces (bit 6); bit 7 is 0
//	uvarint    ordinal of the schema in the run's schema table, counted from 1; 0: the
//	           schema that the subtask's snapshot lists for the state id. 0 if in pieces
//	8 bytes    only if has-time: time of the last write or of expiry, ms, big endian,
//	           sign bit flipped
//	…          payload
//
// The payload of a list is the number of its elements (uvarint), then these, one behind
// the other. In pieces, which only lists can be, are elements of several schemas: the number
// of pieces (uvarint), two or more, of which no two neighbours have the same schema, each
//
//	uvarint    ordinal of the schema
//	uvarint    number of elements, not 0
//	uvarint    their length in bytes
//	…          the elements

// Head is the head of a value.
type Head struct {
	Kind       uint8  // metapb.StateKind
	Compressed bool   // the payload is compressed; no writer yet
	HasTime    bool   // Time counts
	Pieces     bool   // the payload is a list in pieces; see Split
	Schema     uint64 // ordinal in the run's schema table; 0 = as the snapshot says
	Time       int64  // ms
}

const (
	headKind       = 0x0f
	headTime       = 0x10
	headCompressed = 0x20
	headPieces     = 0x40
	headReserved   = 0x80
)

// Append appends the encoding of e to dst; the payload follows.
func Append(dst []byte, e Head) []byte {
	head := e.Kind & headKind
	if e.HasTime {
		head |= headTime
	}
	if e.Compressed {
		head |= headCompressed
	}
	if e.Pieces {
		head |= headPieces
	}
	dst = append(dst, head)
	dst = binary.AppendUvarint(dst, e.Schema)
	if e.HasTime {
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Time)^1<<63)
	}
	return dst
}

// Decode splits a value into its head and its payload.
func Decode(value []byte) (e Head, payload []byte, err error) {
	if len(value) == 0 || value[0]&headReserved != 0 {
		return e, nil, fmt.Errorf("value of %d bytes has no envelope that this version knows: %w", len(value), statebackend.ErrCorrupt)
	}
	e.Kind = value[0] & headKind
	e.HasTime = value[0]&headTime != 0
	e.Compressed = value[0]&headCompressed != 0
	e.Pieces = value[0]&headPieces != 0
	ordinal, n := binary.Uvarint(value[1:])
	rest := value[1+max(n, 0):]
	if n <= 0 || n > 1 && value[n] == 0 || e.HasTime && len(rest) < 8 || e.Pieces && ordinal != 0 {
		return Head{}, nil, fmt.Errorf("value of %d bytes has a broken envelope: %w", len(value), statebackend.ErrCorrupt)
	}
	e.Schema = ordinal
	if e.HasTime {
		e.Time = int64(binary.BigEndian.Uint64(rest) ^ 1<<63)
		rest = rest[8:]
	}
	return e, rest, nil
}
