package envelope

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
)

// Nobody who joins operands has codecs. So elements stay as they were encoded, and each stretch
// of them keeps the ordinal of its schema: a list in pieces. Whoever decodes the list
// brings the pieces up to date one by one, and writes it, if it does, in one. A joined value
// has the time of its newest operand.

// Piece is a stretch of a list whose elements have one schema.
type Piece struct {
	Schema   uint64 // ordinal, as in a Head
	Count    uint64 // elements
	Elements []byte
}

const kindList = uint8(metapb.StateKind_STATE_KIND_LIST)

// Split appends the pieces of a list to dst: one, unless its elements have several schemas.
// payload is what followed the envelope e; the pieces alias it.
func Split(dst []Piece, e Head, payload []byte) ([]Piece, error) {
	if e.Kind != kindList || e.Compressed {
		return dst, fmt.Errorf("value of kind %d (compressed: %v) is no list: %w", e.Kind, e.Compressed, statebackend.ErrCorrupt)
	}
	d := Decoder{Rest: payload}
	if !e.Pieces {
		n := d.Uvarint()
		if d.Failed || n == 0 && len(d.Rest) > 0 {
			return dst, fmt.Errorf("list of %d bytes has a count that is none: %w", len(payload), statebackend.ErrCorrupt)
		}
		return append(dst, Piece{e.Schema, n, d.Rest}), nil
	}
	first, n := len(dst), d.Uvarint()
	for len(d.Rest) > 0 {
		p := Piece{Schema: d.Uvarint(), Count: d.Uvarint()}
		p.Elements = d.Bytes(d.Uvarint())
		if d.Failed || p.Count == 0 || len(dst) > first && dst[len(dst)-1].Schema == p.Schema {
			return dst, fmt.Errorf("piece %d of a list of %d bytes is broken: %w", len(dst)-first+1, len(payload), statebackend.ErrCorrupt)
		}
		dst = append(dst, p)
	}
	if d.Failed || n < 2 || n != uint64(len(dst)-first) {
		return dst, fmt.Errorf("list has %d of %d pieces: %w", len(dst)-first, n, statebackend.ErrCorrupt)
	}
	return dst, nil
}

// AppendList appends the value that pieces make to dst. e gives kind and time. Neighbours
// of one schema become one piece.
func AppendList(dst []byte, e Head, pieces []Piece) []byte {
	stretches, last := 0, -1
	for i, p := range pieces {
		if p.Count == 0 {
			continue
		}
		if last < 0 || pieces[last].Schema != p.Schema {
			stretches++
		}
		last = i
	}
	e.Pieces, e.Schema = stretches > 1, 0
	if stretches == 1 {
		e.Schema = pieces[last].Schema
	}
	dst = Append(dst, e)
	switch {
	case last < 0:
		return append(dst, 0)
	case e.Pieces:
		dst = binary.AppendUvarint(dst, uint64(stretches))
	}
	for from := 0; from <= last; {
		if pieces[from].Count == 0 {
			from++
			continue
		}
		schema, to, count, size := pieces[from].Schema, from, uint64(0), 0
		for ; to <= last && (pieces[to].Count == 0 || pieces[to].Schema == schema); to++ {
			count += pieces[to].Count
			size += len(pieces[to].Elements)
		}
		if e.Pieces {
			dst = binary.AppendUvarint(dst, schema)
		}
		dst = binary.AppendUvarint(dst, count)
		if e.Pieces {
			dst = binary.AppendUvarint(dst, uint64(size))
		}
		for ; from < to; from++ {
			dst = append(dst, pieces[from].Elements...)
		}
	}
	return dst
}

// Join appends the value that lists make, older first, to dst.
func Join(dst []byte, values ...[]byte) ([]byte, error) {
	if len(values) == 1 {
		return append(dst, values[0]...), nil
	}
	var few [8]Piece
	pieces := few[:0]
	var newest Head
	for i, v := range values {
		e, payload, err := Decode(v)
		if err == nil {
			pieces, err = Split(pieces, e, payload)
		}
		if err != nil {
			return dst, fmt.Errorf("join operand %d of %d: %w", i+1, len(values), err)
		}
		newest = e
	}
	count := uint64(0)
	for _, p := range pieces {
		// Each is at most 2⁶³, or it is refused now.
		if count += p.Count; p.Count > math.MaxInt64 || count > math.MaxInt64 {
			return dst, fmt.Errorf("join %d operands: too many elements: %w", len(values), statebackend.ErrCorrupt)
		}
	}
	return AppendList(dst, newest, pieces), nil
}

// Decoder reads primitive fields from the head of Rest; after a failure it reads zeroes.
type Decoder struct {
	Rest   []byte
	Failed bool
}

// Bytes reads n bytes; nil if there are fewer.
func (d *Decoder) Bytes(n uint64) []byte {
	if n > uint64(len(d.Rest)) {
		d.Failed, d.Rest = true, nil
		return nil
	}
	b := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return b
}

// Uvarint reads a number in its shortest form.
func (d *Decoder) Uvarint() uint64 {
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 || n > 1 && d.Rest[n-1] == 0 { // also: not the shortest form
		d.Failed, d.Rest = true, nil
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}
