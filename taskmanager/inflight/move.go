package inflight

import (
	"fmt"
	"slices"

	"github.com/weirstream/weir/codec"
)

// Move makes a piece of the records that move brings up to date.
func Move(p Piece, move codec.Mover) (Piece, error) {
	in, head := p.Payload(), 0
	for _, flag := range []uint8{FlagHashes, FlagTimes} {
		if p.Flags()&flag != 0 {
			head += 8 * p.Records()
		}
	}
	if len(in) < head {
		return nil, fmt.Errorf("%w: %d bytes for the hashes and times of %d records", ErrPiece, len(in), p.Records())
	}
	out := slices.Clone(in[:head])
	in = in[head:]
	for i := range p.Records() {
		var n int
		var err error
		if out, n, err = move(out, in); err != nil {
			return nil, fmt.Errorf("bring record %d of %d up to date: %w", i, p.Records(), err)
		}
		in = in[n:]
	}
	if len(in) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last of %d records", ErrPiece, len(in), p.Records())
	}
	return Append(nil, p.Flags(), p.Records(), out), nil
}
