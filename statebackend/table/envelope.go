package table

import (
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
)

// The envelope of a value in a run, format 2 (persisted: for ever; statebackend/run has the
// whole of it):
//
//	byte 0     kind of the state (bits 0-3, metapb.StateKind), has-time (bit 4),
//	           compressed (bit 5), in pieces (bit 6); bit 7 is 0
//	uvarint    ordinal of the value's schema: the place in the run's table, from 1, which
//	           is the ordinal that the subtask's snapshot lists it with; 0: the first schema of
//	           the state (evolve.go)
//	…          payload: the codec's bytes of a value or map entry; of a list
//	           uvarint count, then its elements one behind the other; of a timer
//	           nothing. In pieces: the elements of a list have several schemas, because
//	           operands were joined by somebody without codecs; see openPieces
const (
	envelopeKind   = 0x0f
	envelopeTime   = 0x10 // no writer yet
	envelopeZip    = 0x20 // no writer yet
	envelopePieces = 0x40 // never written here
)

func appendEnvelope(dst []byte, kind metapb.StateKind, ordinal uint64) []byte {
	return binary.AppendUvarint(append(dst, byte(kind)&envelopeKind), ordinal)
}

// openEnvelope returns the payload of a value of the given kind, and its schema's
// ordinal, or that it is a list in pieces.
func openEnvelope(b []byte, kind metapb.StateKind) (payload []byte, ordinal uint64, pieces bool, err error) {
	if len(b) < 2 {
		return nil, 0, false, fmt.Errorf("value of %d bytes has no envelope: %w", len(b), statebackend.ErrCorrupt)
	}
	ordinal, n := binary.Uvarint(b[1:])
	head := b[0]
	if kind == metapb.StateKind_STATE_KIND_LIST && ordinal == 0 {
		pieces, head = head&envelopePieces != 0, head&^envelopePieces
	}
	if head != byte(kind)&envelopeKind || n <= 0 || n > 1 && b[n] == 0 {
		return nil, 0, false, fmt.Errorf("value begins with %#02x %#02x, want a %v: %w", b[0], b[1], kind, statebackend.ErrCorrupt)
	}
	return b[1+n:], ordinal, pieces, nil
}
