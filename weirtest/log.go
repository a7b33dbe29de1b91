package weirtest

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/config"
)

// testLog is the runtime's log as the test's output, shown when it fails. What is
// written after the test's end goes nowhere: a worker that a kill left behind may
// still have something to say.
type testLog struct {
	mu sync.Mutex
	to io.Writer // nil after the end
}

func newTestLog(t testing.TB) *testLog { return &testLog{to: t.Output()} }

// logger logs warnings and errors, or as weir.EnvLog says; one that it can't say fails the
// test.
func (l *testLog) logger(t testing.TB) *slog.Logger {
	t.Helper()
	level := slog.LevelWarn
	if v := os.Getenv(weir.EnvLog); v != "" {
		var err error
		if level, err = config.ParseLogLevel(weir.EnvLog, v); err != nil {
			t.Fatal(err)
		}
	}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}

// Write implements io.Writer.
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		return len(p), nil
	}
	return l.to.Write(p)
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = nil
}
