package weirtest

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/weirstream/weir"
)

// testLog is the runtime's log as the test's output, shown when it fails. What is
// written after the test's end goes nowhere: a worker that a kill left behind may
// still have something to say.
type testLog struct {
	mu sync.Mutex
	to io.Writer // nil after the end
}

func newTestLog(t testing.TB) *testLog { return &testLog{to: t.Output()} }

// logger logs warnings and errors, or as weir.EnvLog says.
func (l *testLog) logger() *slog.Logger {
	level := slog.LevelWarn
	if level.UnmarshalText([]byte(os.Getenv(weir.EnvLog))) != nil {
		level = slog.LevelWarn
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
