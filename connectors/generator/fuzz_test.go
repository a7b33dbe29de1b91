package generator

import (
	"bytes"
	"testing"
)

// FuzzSplit: no bytes make it panic, and what it takes for a split it would write.
func FuzzSplit(f *testing.F) {
	f.Add(split{next: 3, end: 300, share: 0.25}.encode())
	f.Add(split{next: 0, end: 1<<64 - 1, share: 1}.encode())
	f.Add([]byte{splitFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSplit(b)
		if err != nil {
			return
		}
		if again := s.encode(); !bytes.Equal(again, b) {
			t.Errorf("% x is taken for % x", b, again)
		}
		for _, p := range divide(nil, []split{s}, s.share) {
			if _, err := decodeSplit(p); err != nil {
				t.Errorf("a part of %+v: %v", s, err)
			}
		}
	})
}
