package pebble_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// listBackend is a backend with a list of strings.
func listBackend(b *testing.B, shared *pebble.Shared, budget int64) (*pebble.Backend, *table.List[string]) {
	b.Helper()
	store, err := objstore.OpenFS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	be, err := pebble.New(pebble.Options{
		Table:  table.Options{Range: stream.AllKeyGroups, KeyWidth: 8, Budget: budget, Fail: func(err error) { b.Fatal(err) }},
		Runs:   runlist.Options{Dir: filepath.Join(dir, "runs"), Store: store, Attempt: "e1.n1", Operator: "op"},
		Shared: shared,
		Dir:    filepath.Join(dir, "cold"),
	})
	if err != nil {
		b.Fatal(err)
	}
	c, err := codec.For[string]()
	if err != nil {
		b.Fatal(err)
	}
	l, err := table.NewList(be.Store(), statebackend.Descriptor{ID: 1, Name: "list", Kind: metapb.StateKind_STATE_KIND_LIST, ValueSchema: c.Schema()}, c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := be.Close(); err != nil {
			b.Error(err)
		}
		store.Close()
	})
	return be, l
}

func setKey(be *pebble.Backend, k uint64) { be.Store().SetWord(codec.HashWord(k, 8), k) }

// cutNow takes a snapshot and returns the bytes written for it.
func cutNow(b *testing.B, be *pebble.Backend, id stream.CheckpointID) int64 {
	b.Helper()
	s, err := be.Freeze(id)
	if err != nil {
		b.Fatal(err)
	}
	for be.Store().Copying() {
		be.Advance(4096)
	}
	res, err := s.Finish(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	be.Advance(0)
	return res.NewBytes
}

// BenchmarkAppendCold appends an element of 20 bytes to one of many lists of 400 bytes of
// which an eighth fits in memory. An op is an append, evictions included.
func BenchmarkAppendCold(b *testing.B) {
	const keys, budget = 1 << 17, 8 << 20
	shared := pebble.NewShared(8 << 20)
	defer shared.Close()
	be, l := listBackend(b, shared, budget)
	for k := range uint64(keys) {
		setKey(be, k)
		for i := range 20 {
			l.Append(fmt.Sprintf("%020d", i))
		}
		if k%32 == 0 {
			for be.Advance(0) {
			}
		}
	}
	cutNow(b, be, 1)
	r := rand.New(rand.NewPCG(1, 1))
	b.ResetTimer()
	for i := range b.N {
		setKey(be, r.Uint64N(keys))
		l.Append("yyyyyyyyyyyyyyyyyyyy")
		if i%32 == 0 {
			for be.Advance(0) {
			}
		}
	}
}

// BenchmarkGrowingLists is a checkpoint of 1,000 lists in memory of 10 KB, to each of
// which 200 bytes were added since the last one. bytes/cut is what a checkpoint writes,
// rebases included.
func BenchmarkGrowingLists(b *testing.B) {
	shared := pebble.NewShared(8 << 20)
	defer shared.Close()
	be, l := listBackend(b, shared, 0)
	r := rand.New(rand.NewPCG(1, 1))
	add := func(n int) {
		for k := range uint64(1000) {
			setKey(be, k)
			for range n {
				l.Append(fmt.Sprintf("%016x%016x%016x%016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()))
			}
		}
	}
	add(100)
	cutNow(b, be, 1)
	bytes, id := int64(0), stream.CheckpointID(1)
	for b.Loop() {
		add(2)
		id++
		bytes += cutNow(b, be, id)
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/cut")
}
