package pebble_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// from is how the runs of a restored snapshot get into the cold tier.
type from struct {
	name  string
	store func(t *testing.T) objstore.Store
	files string // what the names of the files begin with, or else end with
	keys  uint64
}

var froms = []from{
	{"linked", folderStore, ".sst", 5000},
	{"behind", func(*testing.T) objstore.Store { return objstore.NewMemory("test") }, ".sst", 5000},
	{"packed", folderStore, ".pack", 5000},
	{"packed far away", func(*testing.T) objstore.Store { return objstore.NewMemory("test") }, ".pack", 5000},
	{"inline", folderStore, "", 100},
}

func folderStore(t *testing.T) objstore.Store {
	store, err := objstore.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// cutTogether takes a snapshot of all backends; with a packer their runs go into one object.
func cutTogether(t *testing.T, all []*pebble.Backend, id stream.CheckpointID) []statebackend.Result {
	t.Helper()
	results, errs := make([]statebackend.Result, len(all)), make([]error, len(all))
	var frozen []statebackend.Snapshot
	for _, b := range all {
		s, err := b.Freeze(id)
		if err != nil {
			t.Fatal(err)
		}
		for !b.Store().CopyFrozen(4096) {
		}
		frozen = append(frozen, s)
	}
	var wg sync.WaitGroup
	for i, s := range frozen {
		wg.Go(func() { results[i], errs[i] = s.Finish(context.Background()) })
	}
	wg.Wait()
	for i, b := range all {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		b.Advance(0)
	}
	return results
}

// check has the runs of a result be of the kind that the test is about.
func (f from) check(t *testing.T, res statebackend.Result) {
	t.Helper()
	for _, r := range res.Runs {
		if inline := len(r.InlineTable) > 0; inline != (f.files == "") {
			t.Fatalf("run %s is inline: %v", r.Id, inline)
		}
		for _, file := range r.Files {
			if !strings.HasSuffix(file.Name, f.files) {
				t.Fatalf("%s: the run lies in %s", f.name, file.Name)
			}
		}
	}
}

// TestAttach: one subtask writes a run, two take a half of it each and change their part,
// and one takes both: so the first run counts once below each half, and what a half has
// deleted does not come back from the other's files. For each way that runs get into the
// cold tier, read there, after Pebble has compacted it all, and loaded.
func TestAttach(t *testing.T) {
	for _, f := range froms {
		t.Run(f.name, func(t *testing.T) {
			store := f.store(t)
			backends := func(attempt string, budget int64, ranges ...stream.KeyGroupRange) (all []*pebble.Backend, values []*table.Value[int64]) {
				var p *runlist.Packer
				if f.files == ".pack" {
					p = runlist.NewPacker(store, attempt, 1)
					p.Linger = time.Hour // so that it is a pack on a slow machine too
				}
				for i, r := range ranges {
					b, v := newBackendOf(t, store, attempt, table.Options{Range: r, Budget: budget}, 1, i, p)
					all, values = append(all, b), append(values, v)
				}
				return all, values
			}
			restore := func(b *pebble.Backend, from ...statebackend.Restored) {
				t.Helper()
				if err := b.Restore(context.Background(), from); err != nil {
					t.Fatal(err)
				}
				if b.Store().Entries() > 0 || !b.Spilled() {
					t.Fatal("the restore was to load nothing")
				}
			}
			// Two subtasks, for the pack; the second has nothing to do with the rest.
			first, v := backends("e1.n1", 0, stream.AllKeyGroups, stream.AllKeyGroups)
			for k := range f.keys {
				for i, b := range first {
					at(b, k)
					v[i].Set(int64(k))
				}
			}
			res := cutTogether(t, first, 1)[0]
			f.check(t, res)
			ranges := []stream.KeyGroupRange{stream.RangeOf(0, 2), stream.RangeOf(1, 2)}
			halves, v := backends("e2.n1", 0, ranges...)
			for i, b := range halves {
				restore(b, statebackend.Restored{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas})
				for k := range f.keys {
					if at(b, k); !b.Store().Owns(codec.HashWord(k, 8)) {
						continue
					}
					if x, _ := v[i].Get(); x != int64(k) {
						t.Fatalf("key %d is %d in its half", k, x)
					}
					switch k % 3 {
					case 0:
						v[i].Clear()
					case 1:
						v[i].Set(-1)
					}
				}
			}
			var both []statebackend.Restored
			for i, res := range cutTogether(t, halves, 2) {
				if f.files != "" { // an inline run is merged with the next one
					f.check(t, res)
				}
				both = append(both, statebackend.Restored{Range: ranges[i], Runs: res.Runs, Schemas: res.Schemas})
			}
			for n, then := range []string{"read", "compacted", "loaded"} {
				all, v := backends(fmt.Sprintf("e3.n%d", n), 0, stream.AllKeyGroups)
				restore(all[0], both...)
				switch then {
				case "compacted":
					if err := pebble.Compact(all[0]); err != nil {
						t.Fatal(err)
					}
				case "loaded":
					settle(all[0])
				}
				for k := range f.keys {
					at(all[0], k)
					x, ok := v[0].Get()
					if want := []int64{0, -1, int64(k)}[k%3]; x != want || ok != (k%3 > 0) {
						t.Fatalf("%s: key %d is %d, %v; want %d", then, k, x, ok, want)
					}
				}
			}
		})
	}
}

// newBackendOf is newBackendWith for subtask number i of a worker.
func newBackendOf(t testing.TB, store objstore.Store, attempt string, o table.Options, eager int64, i int, p *runlist.Packer) (*pebble.Backend, *table.Value[int64]) {
	shared := pebble.NewShared(8 << 20)
	t.Cleanup(shared.Close)
	dir := t.TempDir()
	o.KeyWidth, o.Fail = 8, func(err error) { t.Error(err) }
	b, err := pebble.New(pebble.Options{
		Table: o,
		Runs: runlist.Options{
			Dir: dir + "/runs", Store: store, Attempt: attempt, Operator: "op", Subtask: i, InlineLimit: 4 << 10, Packer: p,
		},
		Shared: shared, Dir: dir + "/cold", Eager: eager,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := codec.For[int64]()
	if err != nil {
		t.Fatal(err)
	}
	v, err := table.NewValue(b.Store(), statebackend.Descriptor{ID: 1, Name: "total", Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: c.Schema()}, c)
	if err != nil {
		t.Fatal(err)
	}
	return b, v
}
