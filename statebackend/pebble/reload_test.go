package pebble_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

func at(b *pebble.Backend, k uint64) { b.Store().SetWord(codec.HashWord(k, 8), k) }

// snapshot takes a cut while nothing is loaded beyond what Advance must do for it.
func snapshot(t *testing.T, b *pebble.Backend, id stream.CheckpointID) statebackend.Result {
	t.Helper()
	s, err := b.Freeze(id)
	if err != nil {
		t.Fatal(err)
	}
	for !b.Store().CopyFrozen(4096) {
	}
	res, err := s.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b.Advance(0)
	return res
}

// attached is a backend that a restore has attached keys many entries to, each with
// its key as value.
func attached(t *testing.T, keys uint64, budget int64) (*pebble.Backend, *table.Value[int64]) {
	store := objstore.NewMemory("test")
	old, v := newBackend(t, store, "e1.n1", 0)
	for k := range keys {
		at(old, k)
		v.Set(int64(k))
	}
	res := snapshot(t, old, 1)
	b, w := newBackendWith(t, store, "e1.n2", table.Options{Range: stream.AllKeyGroups, Budget: budget}, 1)
	if err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	if !b.Spilled() || b.Store().Entries() > 0 {
		t.Fatalf("the restore was to load nothing: %d entries in memory, cold tier open: %v", b.Store().Entries(), b.Spilled())
	}
	return b, w
}

// TestLoadedBehind: what a restore attached is served at once, and in memory as a
// whole after some time.
func TestLoadedBehind(t *testing.T) {
	const keys = 20_000
	b, v := attached(t, keys, 0)
	at(b, keys-1)
	if x, ok := v.Get(); !ok || x != keys-1 {
		t.Fatalf("the last key is %d, %v", x, ok)
	}
	settle(b)
	if n := b.Store().Entries(); n != keys || b.Store().Spilled() {
		t.Fatalf("%d of %d entries in memory, some below: %v", n, keys, b.Store().Spilled())
	}
}

// TestDeletedWhileLoading: keys are deleted while entries are loaded, their tombstones
// reach the cold tier and leave the table; then the loading comes to them.
func TestDeletedWhileLoading(t *testing.T) {
	const keys = 20_000
	b, v := attached(t, keys, 0)
	b.Advance(0) // a walk has begun
	for k := range uint64(keys) {
		at(b, k)
		v.Clear()
	}
	snapshot(t, b, 1)
	for k := range uint64(4 * keys) { // segments grow, and leave tombstones behind
		at(b, keys+k)
		v.Set(1)
	}
	settle(b)
	for k := range uint64(keys) {
		at(b, k)
		if x, ok := v.Get(); ok {
			t.Fatalf("key %d was deleted and is %d again", k, x)
		}
	}
	if n := b.Store().Entries(); n != 4*keys {
		t.Fatalf("%d entries, want %d", n, 4*keys)
	}
}

// TestChangedWhileLoading: keys changed before the loading comes to them stay so.
func TestChangedWhileLoading(t *testing.T) {
	const keys = 20_000
	b, v := attached(t, keys, 0)
	b.Advance(0)
	for k := uint64(0); k < keys; k += 2 {
		at(b, k)
		v.Set(-1)
	}
	settle(b)
	for k := range uint64(keys) {
		want := int64(k)
		if k%2 == 0 {
			want = -1
		}
		at(b, k)
		if x, _ := v.Get(); x != want {
			t.Fatalf("key %d is %d, want %d", k, x, want)
		}
	}
}

// TestLoadingStopsAtFourFifths: with less memory than state the loading leaves room,
// and what eviction has freed is not loaded again.
func TestLoadingStopsAtFourFifths(t *testing.T) {
	const keys, budget = 100_000, 1 << 20
	b, v := attached(t, keys, budget)
	settle(b)
	if m := b.Store().Memory(); m < budget/2 || m > budget/10*9 {
		t.Fatalf("%d bytes loaded, the budget is %d", m, budget)
	}
	evictions := 0
	for k := range uint64(keys) {
		at(b, k)
		if x, _ := v.Get(); x != int64(k) {
			t.Fatalf("key %d is %d", k, x)
		}
		v.Set(-1)          // an eviction run holds many dirty entries
		if k%30_000 != 0 { // enough for an eviction to free much at once
			continue
		}
		evicted := false
		for turns := 0; turns < 20 || b.Store().Memory() > budget; turns++ {
			was := b.Store().Entries()
			b.Advance(4096)
			now := b.Store().Entries()
			if evicted && now > was {
				t.Fatalf("%d entries loaded where some had just been evicted", now-was)
			}
			if now < was {
				evicted = true
				evictions++
			}
		}
	}
	if evictions == 0 {
		t.Fatal("nothing was evicted")
	}
}

// TestDamageIsFoundBehind: a byte is wrong in a part of a restored run that no record
// asks for; the attempt fails nevertheless, with the name of the file.
func TestDamageIsFoundBehind(t *testing.T) {
	dir := t.TempDir()
	store, err := objstore.OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	old, v := newBackend(t, store, "e1.n1", 0)
	for k := range uint64(50_000) {
		at(old, k)
		v.Set(int64(k))
	}
	res := snapshot(t, old, 1)
	file := res.Runs[0].Files[0]
	f, err := os.OpenFile(filepath.Join(dir, file.Name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, int64(file.Size/2)); err == nil {
		b[0] ^= 1
		_, err = f.WriteAt(b, int64(file.Size/2))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	shared := pebble.NewShared(8 << 20)
	defer shared.Close()
	failed := make(chan error, 1)
	n, err := pebble.New(pebble.Options{
		Table: table.Options{Range: stream.AllKeyGroups, KeyWidth: 8, Budget: 1, Fail: func(err error) { failed <- err }},
		Runs:  runlist.Options{Dir: filepath.Join(t.TempDir(), "runs"), Store: store, Attempt: "e1.n2", Operator: "op"},
		Dir:   filepath.Join(t.TempDir(), "cold"), Shared: shared, Eager: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	for {
		n.Advance(0)
		select {
		case err := <-failed:
			if !errors.Is(err, statebackend.ErrCorrupt) || !strings.Contains(err.Error(), file.Name) {
				t.Error(err)
			}
			return
		default:
			runtime.Gosched()
		}
	}
}
