package savepoint

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/run"
)

// TestListInPieces: a list whose elements have two schemas is read, shown, and rewritten
// under other ordinals.
func TestListInPieces(t *testing.T) {
	narrow, wide := ok(codec.For[int8]()), ok(codec.For[int64]())
	pieces := []envelope.Piece{{Schema: 0, Count: 2, Elements: narrow.Append(narrow.Append(nil, 1), -2)}, {Schema: 3, Count: 1, Elements: wide.Append(nil, 300)}}
	value := envelope.AppendList(nil, envelope.Head{Kind: uint8(metapb.StateKind_STATE_KIND_LIST)}, pieces)

	o := &decoder[string, int64]{keys: keys, values: wide, movers: map[uint64]codec.Mover{0: ok(wide.From(narrow.Schema())), 3: nil}}
	if list, err := o.list(raw{value: value}); err != nil || !slices.Equal(list, []int64{1, -2, 300}) {
		t.Errorf("read %v, %v", list, err)
	}
	delete(o.movers, 3)
	if _, err := o.list(raw{value: value}); err == nil {
		t.Error("a piece of a schema that is not listed was read")
	}

	enc, _ := keys.AppendHash(nil, "k")
	full := append(binary.BigEndian.AppendUint32([]byte{0, 0}, 9), enc...)
	schemas := map[version]*metapb.Schema{{9, 0}: {Schema: narrow.Schema()}, {9, 3}: {Schema: wide.Schema()}}
	var s Shown
	if err := s.decode(keys.Schema(), schemas, run.Entry{Key: full, Value: value}); err != nil || fmt.Sprint(s.Value) != "[1 -2 300]" {
		t.Errorf("shown %v, %v", s.Value, err)
	}

	r := &rewritten{rw: &rewrite{}, ordinals: map[version]uint64{{9, 0}: 0, {9, 3}: 1}}
	v, keep, err := r.value(run.Entry{Key: full, Value: value})
	if err != nil || !keep {
		t.Fatal(keep, err)
	}
	head, payload, err := envelope.Decode(v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := envelope.Split(nil, head, payload); err != nil || len(got) != 2 || got[0].Schema != 0 || got[1].Schema != 1 || got[1].Count != 1 {
		t.Errorf("rewritten as %+v, %v", got, err)
	}
	// Of what nobody lists, nothing is taken along.
	delete(r.ordinals, version{9, 3})
	if _, keep, err := r.value(run.Entry{Key: full, Value: value}); keep || err != nil {
		t.Error(keep, err)
	}
}
