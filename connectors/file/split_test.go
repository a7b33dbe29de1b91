package file

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

var goldenRanges = []fileRange{
	{path: "/logs/a-1", next: 0, end: 258, size: 1 << 33, mtime: 1_600_000_000_123_456_789, aligned: true},
	{path: "/logs/a-2", next: 258, end: 300, size: 300, mtime: -5},
	{path: "/logs/\xff\x00", next: 1, end: 2, size: 3, aligned: true},
}

const golden = "01" +
	"00092f6c6f67732f612d31" + "00" + "8202" + "8080808020" + "aab4deffbbe1abb42c" + "01" +
	"080132" + "8202" + "ac02" + "ac02" + "09" + "00" +
	"0602ff00" + "01" + "02" + "03" + "00" + "01"

// TestSplitGolden holds the persisted layout.
func TestSplitGolden(t *testing.T) {
	if got := hex.EncodeToString(encodeSplit(goldenRanges)); got != golden {
		t.Errorf("encoded\n%s, want\n%s", got, golden)
	}
	b, _ := hex.DecodeString(golden)
	got, err := decodeSplit(nil, b)
	if err != nil || !slices.Equal(got, goldenRanges) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestBadSplits(t *testing.T) {
	good := encodeSplit(goldenRanges)
	for n := range good {
		got, err := decodeSplit(nil, good[:n])
		if err == nil && !slices.Equal(got, goldenRanges[:len(got)]) {
			t.Errorf("%d of %d bytes: %+v", n, len(good), got)
		}
	}
	for name, r := range map[string]fileRange{
		"empty":       {path: "a", next: 2, end: 2, size: 3, aligned: true},
		"beyond":      {path: "a", next: 2, end: 4, size: 3, aligned: true},
		"no path":     {next: 2, end: 3, size: 3, aligned: true},
		"unalignable": {path: "a", next: 0, end: 3, size: 3},
	} {
		if got, err := decodeSplit(nil, encodeSplit([]fileRange{r})); !errors.Is(err, errSplit) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, b := range []string{"", "\x00", "\x02", "\x01\x01\x00", "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if got, err := decodeSplit(nil, []byte(b)); err == nil {
			t.Errorf("%q: %+v", b, got)
		}
	}
}

func FuzzDecodeSplit(f *testing.F) {
	f.Add(encodeSplit(nil))
	f.Add(encodeSplit(goldenRanges))
	f.Add([]byte("\x01\x00\x01a\x00\x01\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ranges, err := decodeSplit(nil, b)
		if err != nil {
			return
		}
		again, err := decodeSplit(nil, encodeSplit(ranges))
		if err != nil || !slices.Equal(again, ranges) {
			t.Errorf("%+v came back as %+v, %v", ranges, again, err)
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		size, split int64
		want        []int64 // ends
	}{
		{0, 10, nil}, {1, 10, []int64{1}}, {14, 10, []int64{14}}, {15, 10, []int64{10, 15}},
		{100, 40, []int64{40, 80, 100}}, {3, 1, []int64{1, 2, 3}},
	} {
		var ends []int64
		next := int64(0)
		for _, r := range cut(nil, foundFile{path: "a", size: c.size}, c.split) {
			if r.next != next || r.aligned != (next == 0) {
				t.Errorf("%d by %d: %+v", c.size, c.split, r)
			}
			next = r.end
			ends = append(ends, r.end)
		}
		if !slices.Equal(ends, c.want) {
			t.Errorf("%d by %d: ends %d, want %d", c.size, c.split, ends, c.want)
		}
	}
}
