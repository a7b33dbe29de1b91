package taskmanager

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A worker may flood its output; only so much of it is kept.
const (
	logFileSize = 10 << 20 // bytes of one file
	logFiles    = 4        // the present one and those before it
	logWorkers  = 8        // workers of a job whose logs are kept, the newest: a job may restart for ever
)

// rotatedLog is a file that is set aside when it has grown, with a bound on how
// many are kept: name, name.1, name.2, …
type rotatedLog struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
}

func openRotatedLog(path string) (*rotatedLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	pruneLogs(filepath.Dir(path))
	l := &rotatedLog{path: path}
	return l, l.open()
}

// pruneLogs makes room for one more log in dir. What can't be removed stays: it is no
// reason to run no worker.
func pruneLogs(dir string) {
	type log struct {
		path string
		at   time.Time
	}
	var logs []log
	names, _ := filepath.Glob(filepath.Join(dir, "worker-*.log"))
	for _, path := range names {
		if info, err := os.Stat(path); err == nil {
			logs = append(logs, log{path, info.ModTime()})
		}
	}
	slices.SortFunc(logs, func(a, b log) int { return b.at.Compare(a.at) })
	for _, l := range logs[min(len(logs), logWorkers-1):] {
		_ = os.Remove(l.path)
		for i := 1; i < logFiles; i++ {
			_ = os.Remove(fmt.Sprintf("%s.%d", l.path, i))
		}
	}
}

func (l *rotatedLog) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	l.file, l.size = f, 0
	return nil
}

// Write implements io.Writer. A full disk must not end the worker whose output it
// is: what can't be written is dropped.
func (l *rotatedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > logFileSize {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

func (l *rotatedLog) rotate() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
	for i := logFiles - 1; i > 0; i-- {
		from := l.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.path, i-1)
		}
		_ = os.Rename(from, fmt.Sprintf("%s.%d", l.path, i))
	}
	_ = l.open() // without a file the output is dropped, and the next write tries again
}

// Close implements io.Closer.
func (l *rotatedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
