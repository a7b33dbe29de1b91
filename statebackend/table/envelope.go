package table

import (
	"fmt"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
)

// The envelope of a value in a run, format 1 (persisted: for ever):
//
//	byte 0     kind of the state (bits 0-3, metapb.StateKind), has-time (bit 4),
//	           compressed (bit 5); bits 6 and 7 are 0
//	uvarint    ordinal of the state's schema in the run's table, from 1; 0: the schema that
//	           the subtask's snapshot lists for the state id
//	…          payload: the codec's bytes of a value or map entry; of a list
//	           uvarint count, then its elements one behind the other; of a timer
//	           nothing
const (
	envelopeKind = 0x0f
	envelopeTime = 0x10 // no writer yet
	envelopeZip  = 0x20 // no writer yet
)

func appendEnvelope(dst []byte, kind metapb.StateKind) []byte {
	return append(dst, byte(kind)&envelopeKind, 0)
}

// openEnvelope returns the payload of a value of the given kind.
func openEnvelope(b []byte, kind metapb.StateKind) ([]byte, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("value of %d bytes has no envelope: %w", len(b), statebackend.ErrCorrupt)
	}
	if b[0] != byte(kind)&envelopeKind || b[1] != 0 {
		return nil, fmt.Errorf("value begins with %#02x %#02x, want a %v: %w", b[0], b[1], kind, statebackend.ErrCorrupt)
	}
	return b[2:], nil
}
