//go:build linux

package savepoint

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/weirstream/weir/proto/metapb"
)

func nice(t *testing.T) int {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGentle: copying gives way to others, and no other goroutine ever does.
func TestGentle(t *testing.T) {
	_, from := small(t, filepath.Join(t.TempDir(), "j"))
	before, lowered := nice(t), 0
	if err := parallel(context.Background(), 1, gentle(func(int) error {
		lowered = nice(t)
		return nil
	})); err != nil || before == lowered {
		t.Fatalf("priority %d, while copying %d; %v", before, lowered, err)
	}
	ok(Copy(context.Background(), from, filepath.Join(t.TempDir(), "sp"), native))
	var wg sync.WaitGroup
	for range 50 { // more than there are idle threads
		wg.Go(func() {
			if n := nice(t); n != before {
				t.Errorf("priority %d after a copy, it was %d", n, before)
			}
		})
	}
	wg.Wait()
}

// BenchmarkCopy copies 1 Mi counts with 100 bytes each: ~80 MB.
func BenchmarkCopy(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	from := filepath.Join(dir, "from")
	w := ok(Create(ctx, from, "bench"))
	v := ok(w.Operator("count", 4).Values[int64, [100]byte]("total"))
	var x [100]byte
	for k := range int64(1 << 20) {
		for i := range x {
			x[i] = byte(k >> (i % 8))
		}
		if err := v.Put(k, x); err != nil {
			b.Fatal(err)
		}
	}
	d := ok(w.Finish())
	for name, kind := range map[string]metapb.SnapshotType{"canonical": canonical, "native": native} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(d.Bytes)
			for b.Loop() {
				ok(Copy(ctx, from, filepath.Join(b.TempDir(), "to"), kind))
			}
		})
	}
}
