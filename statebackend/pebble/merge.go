package pebble

import (
	"bytes"
	"io"
	"slices"

	pdb "github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/run"
)

// merger joins the operands of a key as a merger of runs does.
var merger = &pdb.Merger{
	Name: run.MergerName,
	Merge: func(_, value []byte) (pdb.ValueMerger, error) {
		return &operands{values: [][]byte{bytes.Clone(value)}}, nil
	},
}

// operands are those of one key that Pebble has come to: it comes from one end.
type operands struct {
	values [][]byte
	older  bool // they come from the newest to the oldest
}

// MergeNewer implements pdb.ValueMerger, and so do those below.
func (o *operands) MergeNewer(value []byte) error {
	o.values = append(o.values, bytes.Clone(value))
	return nil
}

func (o *operands) MergeOlder(value []byte) error {
	o.older = true
	return o.MergeNewer(value)
}

func (o *operands) Finish(bool) ([]byte, io.Closer, error) {
	if o.older {
		slices.Reverse(o.values)
	}
	v, err := envelope.Join(nil, o.values...)
	return v, nil, err
}
