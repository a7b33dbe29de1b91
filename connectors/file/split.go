package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A split in a snapshot or an assignment: a format byte, then ranges of bytes up to
// its end, each
//
//	uvarint   bytes of the path that are those of the range before (0 for the first)
//	uvarint   length of the rest of the path, then the rest
//	uvarint   next: where to go on
//	uvarint   end; next < end
//	uvarint   size of the file when it was listed; end ≤ size
//	varint    its modification time, ns since 1970
//	1 byte    1 if a line begins at next, 0 if the first one has yet to be found
//
// The first element of an enumerator's state is a split without ranges: it says that
// the files have been listed.
//
// NB: persisted; a new layout takes a new format number.
const splitFormat = 1

// fileRange is what is left to read of a part of a file: the lines whose first byte
// is in [next, end).
type fileRange struct {
	path    string
	next    int64
	end     int64
	size    int64 // of the whole file when it was listed; nothing behind it is read
	mtime   int64 // ns since 1970
	aligned bool  // a line begins at next
}

func encodeSplit(ranges []fileRange) []byte {
	b := []byte{splitFormat}
	before := ""
	for _, r := range ranges {
		shared := commonPrefix(before, r.path)
		before = r.path
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(r.path)-shared))
		b = append(b, r.path[shared:]...)
		b = binary.AppendUvarint(b, uint64(r.next))
		b = binary.AppendUvarint(b, uint64(r.end))
		b = binary.AppendUvarint(b, uint64(r.size))
		b = binary.AppendVarint(b, r.mtime)
		if r.aligned {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// maxPath bounds the paths of a split, in bytes: more than any file system allows
// (4096 on Linux), and little enough that a damaged split can't exhaust the memory.
const maxPath = 1 << 16

// errSplit: the bytes of a split are not what encodeSplit writes.
var errSplit = errors.New("damaged split of files")

// decodeSplit appends the ranges of a split to dst.
func decodeSplit(dst []fileRange, b []byte) ([]fileRange, error) {
	if len(b) == 0 || b[0] != splitFormat {
		return dst, fmt.Errorf("decode split of files of %d bytes: unknown format, this program reads format %d", len(b), splitFormat)
	}
	d := decoder{b: b[1:]}
	before := ""
	for len(d.b) > 0 && !d.bad {
		shared, rest := d.uvarint(), d.uvarint()
		if shared > int64(len(before)) || rest > int64(len(d.b)) || shared+rest > maxPath || shared+rest == 0 {
			return dst, fmt.Errorf("%w: a path of %d + %d bytes, %d are left", errSplit, shared, rest, len(d.b))
		}
		r := fileRange{path: before[:shared] + string(d.b[:rest])}
		d.b = d.b[rest:]
		before = r.path
		r.next, r.end, r.size, r.mtime = d.uvarint(), d.uvarint(), d.uvarint(), d.varint()
		flag := d.byte()
		r.aligned = flag == 1
		if d.bad || flag > 1 || r.next >= r.end || r.end > r.size || r.next == 0 && !r.aligned {
			return dst, fmt.Errorf("%w: range [%d,%d) of %q with %d bytes", errSplit, r.next, r.end, r.path, r.size)
		}
		dst = append(dst, r)
	}
	if d.bad {
		return dst, errSplit
	}
	return dst, nil
}

// decoder takes numbers from the head of b; bad once one was missing or too big.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > math.MaxInt64 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// cut divides a file of size bytes into ranges of about splitSize.
func cut(dst []fileRange, f foundFile, splitSize int64) []fileRange {
	parts := max(1, (f.size+splitSize/2)/splitSize) // no last range of a few bytes
	for i := range parts {
		first, end := i*splitSize, (i+1)*splitSize
		if i == parts-1 {
			end = f.size
		}
		if first < end {
			dst = append(dst, fileRange{path: f.path, next: first, end: end, size: f.size, mtime: f.mtime, aligned: first == 0})
		}
	}
	return dst
}

const (
	// groupBytes is up to how much of small files is put into one split: it is read in
	// some 10 ms, against which a request for the next split (~0.1 ms) is little.
	groupBytes = 4 << 20
	// groupRanges bounds a split of tiny files: opening one costs ~20 µs.
	groupRanges = 128
)

// group is how many of ranges make up the next split of about target bytes; at least 1.
func group(ranges []fileRange, target int64) int {
	n, bytes := 0, int64(0)
	for n < len(ranges) && n < groupRanges {
		bytes += ranges[n].end - ranges[n].next
		if n > 0 && bytes > target {
			break
		}
		n++
	}
	return n
}

// appendSplits encodes ranges as splits.
func appendSplits(dst [][]byte, ranges []fileRange) [][]byte {
	for len(ranges) > 0 {
		n := group(ranges, groupBytes)
		dst = append(dst, encodeSplit(ranges[:n]))
		ranges = ranges[n:]
	}
	return dst
}
