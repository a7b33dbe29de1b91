package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirstream/weir/codec"
)

// A file of a batch:
//
//	byte       format, 1
//	uvarint    length of the schema of its records, then the schema (package codec)
//	…          the records, one behind the other, up to the end
//
// NB: persisted; a new layout takes a new format number.
const fileFormat = 1

// errFile: the bytes are not those of a batch's file.
var errFile = errors.New("damaged file of a batch")

// beginFile appends the head of a file.
func beginFile(dst []byte, schema codec.Schema) []byte {
	dst = append(dst, fileFormat)
	dst = binary.AppendUvarint(dst, uint64(len(schema)))
	return append(dst, schema...)
}

// eachRecord calls f for each record of a file, which an older program may have written,
// until f returns false.
func eachRecord[T any](file []byte, c codec.Codec[T], f func(v T) bool) (more bool, err error) {
	if len(file) == 0 || file[0] != fileFormat {
		return false, fmt.Errorf("%w: it has %d bytes of an unknown format, this program reads format %d", errFile, len(file), fileFormat)
	}
	n, w := binary.Uvarint(file[1:])
	if w <= 0 || n > uint64(len(file)-1-w) {
		return false, fmt.Errorf("%w: its schema is cut off", errFile)
	}
	rest := file[1+w:]
	move, err := c.From(codec.Schema(rest[:n]))
	if err != nil {
		return false, fmt.Errorf("the results of a batch can't be read by this program: %w", err)
	}
	var moved []byte
	for rest = rest[n:]; len(rest) > 0; {
		var v T
		var took int
		if move == nil {
			v, took, err = c.Decode(rest)
		} else if moved, took, err = move(moved[:0], rest); err == nil {
			v, _, err = c.Decode(moved)
		}
		if err == nil && took == 0 {
			err = errors.New("a record without bytes")
		}
		if err != nil {
			return false, fmt.Errorf("%w: %w", errFile, err)
		}
		if !f(v) {
			return false, nil
		}
		rest = rest[took:]
	}
	return true, nil
}
