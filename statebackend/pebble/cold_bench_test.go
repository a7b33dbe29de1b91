package pebble_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
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

// BenchmarkColdReads is what one of two subtasks of the workload count has to do with 4 M
// keys, pad 100, in a TaskManager of 256 MiB: 2 M keys in 8 runs, six times what the table
// may take and twelve times the block cache, a count that is read, and in mode change it
// and 100 bytes written, uniformly, 32 keys looked ahead; with a checkpoint each 256 Ki
// records. cpu-ns/op is of all goroutines.
func BenchmarkColdReads(b *testing.B) {
	const keys = 2 << 20
	store, err := objstore.OpenFS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	var res statebackend.Result
	for _, mode := range []string{"read", "change"} {
		b.Run(mode, func(b *testing.B) {
			if res.Runs == nil {
				res = fillCold(b, store, keys)
			}
			be, v, w := coldBackend(b, store, fmt.Sprintf("e2.n%d", time.Now().UnixNano()), 42<<20)
			if err := be.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
				b.Fatal(err)
			}
			for i := 0; i < 50_000 && be.Advance(4096); i++ {
			}
			r := rand.New(rand.NewPCG(1, 1))
			pad := make([]byte, 100)
			var next [32]uint64
			finished := make(chan error, 1)
			busy := false
			b.ResetTimer()
			cpu := cpuTime()
			for i := range b.N {
				if i%len(next) == 0 {
					for j := range next {
						next[j] = r.Uint64N(keys)
						be.Store().Ahead(codec.HashWord(next[j], 8), next[j], nil)
					}
					be.Store().FetchAhead()
				}
				at(be, next[i%len(next)])
				x, ok := v.Get()
				if !ok {
					b.Fatalf("key %d is not there", next[i%len(next)])
				}
				if mode == "change" {
					v.Set(x + 1)
					w.Set(fillPad(pad, uint64(i)))
				}
				if i%512 == 511 {
					for n := 0; n < 4 && be.Advance(4096); n++ {
					}
				}
				if mode == "change" && i%(256<<10) == 256<<10-1 {
					if busy {
						if err := <-finished; err != nil {
							b.Fatal(err)
						}
					}
					s, err := be.Freeze(stream.CheckpointID(i))
					if err != nil {
						b.Fatal(err)
					}
					for !be.Store().CopyFrozen(4096) {
					}
					busy = true
					go func() {
						_, err := s.Finish(context.Background())
						finished <- err
					}()
				}
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
			b.StopTimer()
			if busy {
				if err := <-finished; err != nil {
					b.Fatal(err)
				}
			}
			if b.N > 1 {
				b.Log(pebble.Metrics(be))
			}
			if err := be.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillPad fills pad with bytes that don't compress.
func fillPad(pad []byte, s uint64) string {
	for i := 0; i+8 <= len(pad); i += 8 {
		s = codec.HashWord(s, 8)
		binary.LittleEndian.PutUint64(pad[i:], s)
	}
	return string(pad)
}

func coldBackend(b *testing.B, store objstore.Store, attempt string, budget int64) (*pebble.Backend, *table.Value[int64], *table.Value[string]) {
	dir := b.TempDir()
	shared := pebble.NewShared(19 << 20)
	b.Cleanup(shared.Close)
	be, err := pebble.New(pebble.Options{
		Table:  table.Options{Range: stream.AllKeyGroups, KeyWidth: 8, Budget: budget, Fail: func(err error) { b.Error(err) }},
		Runs:   runlist.Options{Dir: filepath.Join(dir, "runs"), Store: store, Attempt: attempt, Operator: "op"},
		Shared: shared, Dir: filepath.Join(dir, "cold"),
	})
	if err != nil {
		b.Fatal(err)
	}
	c, err := codec.For[int64]()
	if err != nil {
		b.Fatal(err)
	}
	v, err := table.NewValue(be.Store(), statebackend.Descriptor{ID: 1, Name: "total", Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: c.Schema()}, c)
	if err != nil {
		b.Fatal(err)
	}
	d, err := codec.For[string]()
	if err != nil {
		b.Fatal(err)
	}
	w, err := table.NewValue(be.Store(), statebackend.Descriptor{ID: 2, Name: "pad", Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: d.Schema()}, d)
	if err != nil {
		b.Fatal(err)
	}
	return be, v, w
}

// fillCold makes 8 runs: all keys, and seven times an eighth of them.
func fillCold(b *testing.B, store objstore.Store, keys uint64) (res statebackend.Result) {
	be, v, w := coldBackend(b, store, "e1.n1", 42<<20)
	pad := make([]byte, 100)
	r := rand.New(rand.NewPCG(2, 2))
	for cut := range uint64(8) {
		n := keys
		if cut > 0 {
			n = keys / 8
		}
		for k := range n {
			if cut > 0 {
				k = r.Uint64N(keys)
			}
			at(be, k)
			v.Set(int64(k))
			w.Set(fillPad(pad, k))
			if k%512 == 0 {
				settle(be)
			}
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
