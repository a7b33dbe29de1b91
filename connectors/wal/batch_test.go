package wal

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/codec"
)

type row struct {
	Text string
	N    int32
}

func fileOf[T any](t testing.TB, records ...T) (file []byte, c codec.Codec[T]) {
	t.Helper()
	c, err := codec.For[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c.AppendBatch(beginFile(nil, c.Schema()), records), c
}

// TestFileGolden holds format 1 for ever.
func TestFileGolden(t *testing.T) {
	file, c := fileOf(t, row{"a", 1}, row{"", -1})
	const want = "\x01\x23\x01\x01\x03row\x00\x1bstruct{Text string;N int32}" + "\x01a\x01\x00\x00\x00" + "\x00\xff\xff\xff\xff"
	if string(file) != want {
		t.Errorf("file %q, want %q", file, want)
	}
	if _, err := eachRecord([]byte(want), c, func(row) bool { return true }); err != nil {
		t.Error(err)
	}
}

func TestFileIsCutOff(t *testing.T) {
	file, c := fileOf(t, row{"a", 1}, row{"bc", -1})
	whole := map[int]bool{len(file): true, len(file) - 7: true, len(file) - 7 - 6: true} // after each record
	for n := range file {
		_, err := eachRecord(file[:n], c, func(row) bool { return true })
		if (err == nil) != whole[n] {
			t.Errorf("%d of %d bytes: %v", n, len(file), err)
		}
	}
	if more, err := eachRecord(file, c, func(row) bool { return false }); more || err != nil {
		t.Errorf("stopped: %t, %v", more, err)
	}
	if _, err := eachRecord([]byte{2, 0}, c, nil); !errors.Is(err, errFile) {
		t.Errorf("another format: %v", err)
	}
}

// FuzzFile: no bytes bring the reader down.
func FuzzFile(f *testing.F) {
	file, c := fileOf(f, row{"a", 1}, row{"bc", -1})
	f.Add(file)
	old, _ := fileOf(f, struct{ N int16 }{3})
	f.Add(old)
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, _ = eachRecord(b, c, func(row) bool { n++; return n < 1000 })
	})
}
