package weir

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/connectors/generator"
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
		if log, err := localLog(level, nil); err != nil || log == nil {
			t.Errorf("WEIR_LOG=%s: %v, %v", level, log, err)
		}
	}
}

// TestLocalModeTellsOfFailures: a job that fails and is restarted says so on stderr,
// without any setting: it could go on so for ever.
func TestLocalModeTellsOfFailures(t *testing.T) {
	var failed atomic.Bool
	build := func(env *Env) error {
		env.Set("restart-strategy.type", "fixed-delay")
		env.From("numbers", generator.Range(10, func(i uint64) uint64 { return i })).
			Map("touchy", func(i uint64) uint64 {
				if !failed.Swap(true) {
					panic("hot")
				}
				return i
			}).Print()
		return nil
	}
	var stdout, stderr strings.Builder
	if code := run(t.Context(), build, nil, nil, func(string) string { return "" }, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if !strings.Contains(stderr.String(), "region failed") || !strings.Contains(stderr.String(), "hot") {
		t.Errorf("stderr is %q", stderr.String())
	}
}
