package file

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

// FuzzSplit: no bytes make it panic, and what it takes for a split is one.
func FuzzSplit(f *testing.F) {
	b, err := hex.DecodeString(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(encodeSplit(goldenRanges[:1]))
	f.Add([]byte{splitFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeSplit(nil, b)
		if err != nil {
			if len(b) > 0 && b[0] == splitFormat && !errors.Is(err, errSplit) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again, err := decodeSplit(nil, encodeSplit(got)); err != nil || !slices.Equal(again, got) {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
	})
}
