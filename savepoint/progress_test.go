package savepoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weirstream/weir/proto/metapb"
)

// TestProgress: a copy tells how much of the runs it has read; in the end it is all.
func TestProgress(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j1"))
	for _, kind := range []metapb.SnapshotType{canonical, native} {
		var mu sync.Mutex
		var last, all uint64
		calls := 0
		_, err := Copy(ctx, from, filepath.Join(dir, kind.String()), kind, Progress(func(done, of uint64) {
			mu.Lock()
			defer mu.Unlock()
			calls++
			if all == 0 {
				all = of
			}
			if done > of || of != all {
				t.Errorf("%v: %d of %d, then of %d", kind, done, all, of)
			}
			last = done
		}))
		if err != nil || calls < 2 || all == 0 || last != all {
			t.Errorf("%v: %d calls, the last says %d of %d, %v", kind, calls, last, all, err)
		}
	}
}

// TestCopyAfterCrash: what an earlier try has left, files of tasks too, is no hindrance.
func TestCopyAfterCrash(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j1"))
	to := filepath.Join(dir, "sp")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x" + ownedSuffix, "x" + channelSuffix, "x.sst"} {
		if err := os.WriteFile(filepath.Join(to, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Copy(ctx, from, to, canonical); err != nil {
		t.Error(err)
	}
}

// TestDeleteRest takes what a cut off deletion has left, and nothing else.
func TestDeleteRest(t *testing.T) {
	ctx := context.Background()
	for name, deleted := range map[string]bool{"000001.sst": true, "a" + channelSuffix: true, "notes.txt": false, "_metadata": false} {
		dir := filepath.Join(t.TempDir(), "sp")
		file := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "000002.sst"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := DeleteRest(ctx, "file://"+dir); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) != deleted {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) != deleted {
			t.Errorf("folder with %s: %v", name, err)
		}
	}
}
