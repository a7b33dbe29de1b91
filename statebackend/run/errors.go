package run

import (
	"errors"
	"fmt"

	"github.com/weirstream/weir/statebackend"
)

// ErrCorrupt marks errors that say that bytes of a run are not what was written: the
// snapshot is damaged, recovery falls back to an older one.
var ErrCorrupt = statebackend.ErrCorrupt

// ErrFormat marks errors that say that a newer version wrote the run.
var ErrFormat = errors.New("run format is not supported")

// CorruptError says what is wrong with a file of a run.
type CorruptError struct {
	Run    string
	File   string // object name, or "inline"
	Offset int64  // of the damage or of the bytes that were compared; -1 = not known
	What   string // what was compared or read
	Want   string // what was expected; "" where Err says it
	Got    string
	Err    error // cause, or nil
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("run %s, file %s", e.Run, e.File)
	if e.Offset >= 0 {
		s += fmt.Sprintf(", offset %d", e.Offset)
	}
	s += ": " + e.What
	if e.Want != "" || e.Got != "" {
		s += fmt.Sprintf(": want %s, got %s", e.Want, e.Got)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrCorrupt}
	}
	return []error{ErrCorrupt, e.Err}
}
