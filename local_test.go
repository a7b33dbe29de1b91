package weir

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/connectors/generator"
)

// A level of the log that is none is refused before anything runs.
func TestUnknownLogLevel(t *testing.T) {
	build := func(env *Env) error {
		env.From("numbers", generator.Range(1, func(i uint64) uint64 { return i })).Print()
		return nil
	}
	runAt := func(level string) (code int, stdout, stderr string) {
		var out, errs strings.Builder
		code = run(t.Context(), build, nil, nil, func(name string) string {
			if name == EnvLog {
				return level
			}
			return ""
		}, &out, &errs)
		return code, out.String(), errs.String()
	}
	for level, want := range map[string]string{
		"inof":    "error: WEIR_LOG=inof is no level of a log; did you mean WEIR_LOG=info?\n",
		"verbose": "error: WEIR_LOG=verbose is no level of a log; one of debug, info, warn, error is possible\n",
	} {
		if code, out, errs := runAt(level); code != exitUsage || errs != want || out != "" {
			t.Errorf("WEIR_LOG=%s: exit %d, %q, want %q; stdout %q", level, code, errs, want, out)
		}
	}
	for _, level := range []string{"", "debug", "INFO", "warn", "error"} {
		if code, _, errs := runAt(level); code != exitOK {
			t.Errorf("WEIR_LOG=%s: exit %d, %s", level, code, errs)
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
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], `restart: operator "touchy", subtask 0`) || !strings.Contains(lines[0], "panic: hot") {
		t.Errorf("stderr is %q", stderr.String())
	}
}
