package weir

import (
	"strings"
	"testing"
)

// A level of the log that is none is refused before anything runs.
func TestUnknownLogLevel(t *testing.T) {
	for level, want := range map[string]string{
		"inof":    "error: WEIR_LOG=inof is no level of a log; did you mean WEIR_LOG=info?\n",
		"verbose": "error: WEIR_LOG=verbose is no level of a log; one of debug, info, warn, error is possible\n",
	} {
		_, err := localLog(level, nil)
		if err == nil {
			t.Fatalf("%s was accepted", level)
		}
		var out, errs strings.Builder
		if code := exitCode(err, &out, &errs); code != exitUsage || errs.String() != want {
			t.Errorf("WEIR_LOG=%s: exit %d, %q, want %q", level, code, errs.String(), want)
		}
	}
	for _, level := range []string{"", "debug", "INFO", "warn", "error"} {
		if log, err := localLog(level, nil); err != nil || (log == nil) != (level == "") {
			t.Errorf("WEIR_LOG=%s: %v, %v", level, log, err)
		}
	}
}
