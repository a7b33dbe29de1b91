package table

import (
	"testing"

	"github.com/weirstream/weir/stream"
)

// TestWarmChangesNothing warms keys that are there, keys that are not and keys of
// other subtasks, and looks up every key afterwards.
func TestWarmChangesNothing(t *testing.T) {
	s := New(Options{Range: stream.RangeOf(1, 3), KeyWidth: 8, Fail: func(err error) { t.Fatal(err) }})
	v, err := NewValue(s, desc(1, "num", 1), int64Codec{})
	if err != nil {
		t.Fatal(err)
	}
	const keys = 200_000 // a third of them ours: more than warmFrom
	var hashes []uint64
	for i := range uint64(keys) {
		h, w := wordKey(i)
		hashes = append(hashes, h)
		if s.Owns(h) && i%2 == 0 {
			s.SetWord(h, w)
			v.Set(int64(i))
		}
	}
	if s.Memory() < warmFrom {
		t.Fatalf("the table has %d bytes, too few to be warmed", s.Memory())
	}
	s.Freeze(false)
	for i := 0; i < len(hashes); i += 32 {
		s.Warm(hashes[i:min(i+32, len(hashes))])
	}
	was := s.Memory()
	for i, h := range hashes {
		if !s.Owns(h) {
			continue
		}
		s.SetWord(h, uint64(i))
		if x, ok := v.Get(); ok != (i%2 == 0) || ok && x != int64(i) {
			t.Fatalf("value of %d is %d, %v", i, x, ok)
		}
	}
	if s.Memory() != was {
		t.Errorf("memory went from %d to %d bytes", was, s.Memory())
	}
}
