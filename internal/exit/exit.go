package exit

import (
	"errors"
	"io/fs"
	"strings"
)

// Exit codes, fixed for scripts.
const (
	CodeOK           = 0
	CodeFailed       = 1
	CodeUsage        = 2
	CodeNotFound     = 3
	CodeConflict     = 4
	CodeIncompatible = 5
	CodeUnavailable  = 6
	CodeJob          = 7 // the job ended FAILED or CANCELED while attached
	CodeTimeout      = 8 // --timeout passed; what was waited for goes on
	CodeDetached     = 130
)

// Error ends the command with its own exit code. Without lines nothing is said: it has
// been said already.
type Error struct {
	Exit  int
	Code  string   // stable: BAD_BINARY
	Lines []string // what and why
	Hints []string // what to type
}

// Error implements error.
func (e *Error) Error() string { return strings.Join(e.Lines, "\n") }

// New returns an error of one line.
func New(exit int, code, message string, hints ...string) error {
	return &Error{exit, code, []string{message}, hints}
}

// Usage is the error of who typed the command.
func Usage(message string, hints ...string) error {
	return New(CodeUsage, "USAGE", message, hints...)
}

// WithoutPath drops the path from an error of the file system: the message names it
// already.
func WithoutPath(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
