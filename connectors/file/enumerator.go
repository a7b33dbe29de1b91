package file

import (
	"github.com/weirstream/weir/operator"
)

// enumerator lists the files at the first start and hands their ranges out.
type enumerator struct {
	c      *operator.SourceContext
	source *Source
	left   []fileRange // not handed out
}

// Start implements operator.Enumerator.
func (e *enumerator) Start(state [][]byte, _ func()) (err error) {
	if len(state) > 0 {
		for _, b := range state {
			if e.left, err = decodeSplit(e.left, b); err != nil {
				return err
			}
		}
		return nil
	}
	files, err := list(e.c.Context, e.source.patterns)
	if err != nil {
		return operator.Fatal(err)
	}
	var bytes int64
	for _, f := range files {
		bytes += f.size
		e.left = cut(e.left, f, e.source.splitSize)
	}
	e.c.Log.Info("files listed", "files", len(files), "bytes", bytes, "ranges", len(e.left))
	return nil
}

// pieces is into how many splits for each reader what is left is divided at the end,
// so that all readers come to their end at about the same time.
const pieces = 4

// leastGroup keeps the last splits from being tiny.
const leastGroup = 128 << 10 // bytes

// Next implements operator.Enumerator.
func (e *enumerator) Next(_, readers, want int) (splits [][]byte, none bool, err error) {
	for ; want > 0 && len(e.left) > 0; want-- {
		var bytes int64
		for i := 0; i < len(e.left) && bytes < groupBytes*pieces*int64(readers); i++ {
			bytes += e.left[i].end - e.left[i].next
		}
		n := group(e.left, min(groupBytes, max(leastGroup, bytes/int64(pieces*readers))))
		splits = append(splits, encodeSplit(e.left[:n]))
		e.left = e.left[n:]
	}
	return splits, len(e.left) == 0, nil
}

// Snapshot implements operator.Enumerator.
func (e *enumerator) Snapshot(dst [][]byte) ([][]byte, error) {
	dst = append(dst, encodeSplit(nil)) // "the files have been listed"
	return appendSplits(dst, e.left), nil
}

// Close implements operator.Enumerator.
func (e *enumerator) Close() error { return nil }
