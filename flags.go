package weir

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/weirstream/weir/internal/config"
)

// ErrUsage marks errors of who typed the command, not of the program: Main exits
// with code 2.
var ErrUsage = errors.New("usage")

// helpError is the answer to -h: the text of the flags.
type helpError struct{ text string }

// Error implements error.
func (h *helpError) Error() string { return h.text }

// Is makes it a flag.ErrHelp.
func (h *helpError) Is(err error) bool { return err == flag.ErrHelp }

// ParseFlags parses Args with fs, which must have been made with
// flag.ContinueOnError. It prints nothing: return its error from build, and Main
// says it. Use fs.Visit to find the flags that were typed, and Set settings only for
// those: so -D and -p of `weir run` keep their say.
func (e *Env) ParseFlags(fs *flag.FlagSet) error {
	fs.SetOutput(io.Discard)
	err := fs.Parse(e.args)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flag.ErrHelp):
		var text strings.Builder
		fs.SetOutput(&text)
		fmt.Fprintf(&text, "Flags of %s:\n", fs.Name())
		fs.PrintDefaults()
		return &helpError{text.String()}
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		if near := nearest(name, fs); near != "" {
			return fmt.Errorf("%w: unknown flag --%s; did you mean --%s?", ErrUsage, name, near)
		}
		return fmt.Errorf("%w: unknown flag --%s; -h lists those of %s", ErrUsage, name, fs.Name())
	}
	return fmt.Errorf("%w: %w", ErrUsage, err)
}

// nearest is the flag of fs whose name is most like name, "" if none is alike.
func nearest(name string, fs *flag.FlagSet) string {
	best, near := len(name)/2+1, ""
	fs.VisitAll(func(f *flag.Flag) {
		if d := config.Distance(name, f.Name); d < best {
			best, near = d, f.Name
		}
	})
	return near
}
