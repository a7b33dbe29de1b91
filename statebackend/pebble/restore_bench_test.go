package pebble_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
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

// padded is a backend with values of bytes, as the count workload has them.
func padded(b *testing.B, store objstore.Store, shared *pebble.Shared, attempt string, load int64) (*pebble.Backend, *table.Value[string]) {
	dir := b.TempDir()
	be, err := pebble.New(pebble.Options{
		Table:  table.Options{Range: stream.AllKeyGroups, KeyWidth: 8, Fail: func(err error) { b.Error(err) }},
		Runs:   runlist.Options{Dir: filepath.Join(dir, "runs"), Store: store, Attempt: attempt, Operator: "op"},
		Shared: shared,
		Dir:    filepath.Join(dir, "cold"),
		Eager:  load,
	})
	if err != nil {
		b.Fatal(err)
	}
	c, err := codec.For[string]()
	if err != nil {
		b.Fatal(err)
	}
	v, err := table.NewValue(be.Store(), statebackend.Descriptor{ID: 1, Name: "total", Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: c.Schema()}, c)
	if err != nil {
		b.Fatal(err)
	}
	return be, v
}

// BenchmarkRestore is a restore of keys with 100 bytes each from a folder on the same
// file system, from the call to the first Get: loaded before it returns, or attached.
// loaded-ms is until all is in memory, slice-µs the longest that one Advance took.
func BenchmarkRestore(b *testing.B) {
	for _, keys := range []uint64{1 << 16, 1 << 20, 4 << 20} {
		var res statebackend.Result
		store, err := objstore.OpenFS(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		defer store.Close()
		shared := pebble.NewShared(64 << 20)
		defer shared.Close()
		for _, how := range []struct {
			name string
			load int64
		}{{"load", 1 << 40}, {"attach", 1}} {
			b.Run(fmt.Sprintf("%s/keys=%d", how.name, keys), func(b *testing.B) {
				if res.Runs == nil {
					res = fill(b, store, shared, keys)
				}
				b.ResetTimer()
				for i := range b.N {
					measureRestore(b, store, shared, how.load, keys, res, i)
				}
			})
		}
	}
}

// fill makes the list of a job that has changed every fourth key since, in 8 cuts.
func fill(b *testing.B, store objstore.Store, shared *pebble.Shared, keys uint64) (res statebackend.Result) {
	be, v := padded(b, store, shared, "e1.n1", 0)
	pad := strings.Repeat("x", 100)
	for cut := range uint64(7) {
		for k := range keys {
			if cut > 0 && k%28 != cut {
				continue
			}
			be.Store().SetWord(codec.HashWord(k, 8), k)
			v.Set(pad)
		}
		s, err := be.Freeze(stream.CheckpointID(cut + 1))
		if err != nil {
			b.Fatal(err)
		}
		settle(be)
		if res, err = s.Finish(context.Background()); err != nil {
			b.Fatal(err)
		}
		settle(be)
	}
	if err := be.Close(); err != nil {
		b.Fatal(err)
	}
	return res
}

func measureRestore(b *testing.B, store objstore.Store, shared *pebble.Shared, load int64, keys uint64, res statebackend.Result, n int) {
	be, v := padded(b, store, shared, fmt.Sprintf("e2.n%d", n), load)
	err := be.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}})
	if err != nil {
		b.Fatal(err)
	}
	get := func(k uint64) {
		be.Store().SetWord(codec.HashWord(k, 8), k)
		if x, ok := v.Get(); !ok || len(x) != 100 {
			b.Fatalf("key %d is %q", k, x)
		}
	}
	get(keys / 2)
	b.StopTimer()
	begin, longest := time.Now(), time.Duration(0)
	for busy := true; busy; {
		at := time.Now()
		busy = be.Advance(4096)
		longest = max(longest, time.Since(at))
	}
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "loaded-ms")
	b.ReportMetric(float64(longest.Microseconds()), "slice-µs")
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		get(r.Uint64N(keys))
	}
	if err := be.Close(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}
