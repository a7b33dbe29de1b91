package taskmanager

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweep: what is old and of nobody goes; what is young, or a running worker's,
// stays.
func TestSweep(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for _, f := range []struct {
		path string
		age  time.Duration
	}{
		{"logs/old/worker-1.log", 8 * 24 * time.Hour}, {"logs/young/worker-1.log", time.Hour}, {"logs/kept/worker-1.log", 30 * 24 * time.Hour},
		{"logs/younger/worker-1.log", time.Minute}, {"logs/third/worker-1.log", 2 * time.Hour},
	} {
		path := filepath.Join(dir, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, filepath.Dir(path)} {
			if err := os.Chtimes(p, now.Add(-f.age), now.Add(-f.age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := removeOld(filepath.Join(dir, "logs"), now.Add(-keepFor), 2, map[string]bool{"kept": true}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old": false, "young": true, "kept": true, "younger": true, "third": false} {
		if _, err := os.Stat(filepath.Join(dir, "logs", name)); (err == nil) != want {
			t.Errorf("%s: is there %v, want %v", name, err == nil, want)
		}
	}
}
