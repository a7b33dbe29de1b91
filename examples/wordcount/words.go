package main

import (
	"github.com/weirstream/weir"
)

// isSpace marks the six white-space bytes of ASCII, those of isspace(3) in the C
// locale: a line's other bytes are words, whatever their encoding.
var isSpace = [256]bool{' ': true, '\t': true, '\n': true, '\v': true, '\f': true, '\r': true}

// split emits the words of a line. They share its memory.
func split(line string, out *weir.Collector[string]) error {
	start := -1
	for i := range len(line) {
		switch {
		case !isSpace[line[i]]:
			if start < 0 {
				start = i
			}
		case start >= 0:
			out.Emit(line[start:i])
			start = -1
		}
	}
	if start >= 0 {
		out.Emit(line[start:])
	}
	return nil
}
