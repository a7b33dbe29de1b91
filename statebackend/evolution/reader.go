package evolution

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
)

// Reader takes the values of one state out of their envelopes and brings them up to date.
type Reader struct {
	// Ordinal is that of the program's schema: of the values that are written.
	Ordinal uint64

	kind   metapb.StateKind
	movers map[uint64]Mover // by ordinal; nil: the same bytes
	moved  []byte           // scratch, and so are pieces and piece
	pieces []envelope.Piece
	piece  []byte
}

// NewReader is that of a state of which all values have the program's schema.
func NewReader(kind metapb.StateKind) Reader { return Reader{kind: kind} }

// Open returns the payload of a value, in the program's schema. It is valid until the next
// call, as long as value is.
func (r *Reader) Open(value []byte) ([]byte, error) {
	head, payload, err := envelope.Decode(value)
	switch {
	case err != nil:
		return nil, err
	case head.Kind != uint8(r.kind) || head.HasTime || head.Compressed:
		return nil, fmt.Errorf("value of kind %d (has time: %v, compressed: %v), want a %v: %w", head.Kind, head.HasTime, head.Compressed, r.kind, statebackend.ErrCorrupt)
	case head.Pieces:
		r.moved, err = r.join(r.moved[:0], head, payload)
		return r.moved, err
	case head.Schema == r.Ordinal:
		return payload, nil
	}
	move, err := r.mover(head.Schema)
	if err != nil || move == nil {
		return payload, err
	}
	r.moved, err = move(r.moved[:0], payload)
	return r.moved, broken(head.Schema, err)
}

// mover says how payloads with that ordinal are brought up to date.
func (r *Reader) mover(ordinal uint64) (Mover, error) {
	move, ok := r.movers[ordinal]
	if !ok && ordinal != r.Ordinal {
		return nil, fmt.Errorf("value names schema %d, which the snapshot does not list for the state: %w", ordinal, statebackend.ErrCorrupt)
	}
	return move, nil
}

func broken(ordinal uint64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bring a value of schema %d up to date: %w: %w", ordinal, statebackend.ErrCorrupt, err)
}

// join appends the payload of a list that is in pieces to dst, as one.
func (r *Reader) join(dst []byte, head envelope.Head, payload []byte) ([]byte, error) {
	var err error
	if r.pieces, err = envelope.Split(r.pieces[:0], head, payload); err != nil {
		return dst, err
	}
	all := uint64(0)
	for _, p := range r.pieces {
		if all += p.Count; p.Count > math.MaxUint32 || all > math.MaxUint32 {
			return dst, fmt.Errorf("list in pieces has too many elements: %w", statebackend.ErrCorrupt)
		}
	}
	dst = binary.AppendUvarint(dst, all)
	for _, p := range r.pieces {
		move, err := r.mover(p.Schema)
		if err != nil {
			return dst, err
		}
		if move == nil {
			dst = append(dst, p.Elements...)
			continue
		}
		from := len(dst)
		r.piece = append(binary.AppendUvarint(r.piece[:0], p.Count), p.Elements...)
		if dst, err = move(dst, r.piece); err != nil {
			return dst, broken(p.Schema, err)
		}
		_, w := binary.Uvarint(dst[from:])
		dst = append(dst[:from], dst[from+w:]...)
	}
	return dst, nil
}
