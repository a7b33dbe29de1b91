package etcdha

import (
	"errors"
	"runtime"
	"syscall"
	"testing"

	"go.uber.org/zap"
)

// TestFatal: what etcd dies of is told in one line, and nothing else that it logs.
func TestFatal(t *testing.T) {
	full := &errWrite{syscall.ENOSPC}
	for _, die := range []func(*zap.Logger, string, ...zap.Field){(*zap.Logger).Fatal, (*zap.Logger).Panic} {
		var told error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l := fatalLogger(func(err error) { told = err; runtime.Goexit() })
			l.Error("slow disk")
			die(l, "failed to commit tx", zap.String("path", "db"), zap.Error(full))
			t.Error("goes on")
		}()
		<-ended
		if told == nil || told.Error() != "failed to commit tx: write db: no space left on device" || !errors.Is(told, syscall.ENOSPC) {
			t.Errorf("told %v", told)
		}
	}
}

type errWrite struct{ cause error }

func (e *errWrite) Error() string { return "write db: " + e.cause.Error() }
func (e *errWrite) Unwrap() error { return e.cause }
