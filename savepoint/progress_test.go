package savepoint

import (
	"context"
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
