package heap_test

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

func newBackend(t testing.TB, store objstore.Store, attempt string) *heap.Backend {
	b, err := heap.New(heap.Options{
		Table: table.Options{Range: stream.AllKeyGroups, KeyWidth: 8, Fail: func(err error) { t.Error(err) }},
		Runs:  runlist.Options{Dir: filepath.Join(t.TempDir(), "runs"), Store: store, Attempt: attempt, Operator: "op"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func value[V any](t testing.TB, b *heap.Backend) *table.Value[V] {
	c, err := codec.For[V]()
	if err != nil {
		t.Fatal(err)
	}
	v, err := table.NewValue(b.Store(), statebackend.Descriptor{ID: 1, Name: "total", Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: c.Schema()}, c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func snapshot(t testing.TB, b *heap.Backend, id stream.CheckpointID) statebackend.Result {
	s, err := b.Freeze(id)
	if err != nil {
		t.Fatal(err)
	}
	for b.Advance(4096) {
	}
	res, err := s.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b.Advance(0)
	return res
}

// TestSchemaChangeIsRefused: a state whose type has changed is not read as
// something else.
func TestSchemaChangeIsRefused(t *testing.T) {
	store := objstore.NewMemory("test")
	old := newBackend(t, store, "e1.n1")
	v := value[int64](t, old)
	old.Store().SetWord(codec.HashWord(7, 8), 7)
	v.Set(1)
	res := snapshot(t, old, 1)

	b := newBackend(t, store, "e1.n2")
	value[string](t, b)
	err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}})
	if !errors.Is(err, statebackend.ErrSchema) || !strings.Contains(err.Error(), `"total"`) {
		t.Fatalf("restore into another type: %v", err)
	}
}

// TestListStaysShort: many checkpoints, each with a few changes, over a state that
// is much larger; and then the state is what it should be.
func TestListStaysShort(t *testing.T) {
	store := objstore.NewMemory("test")
	b := newBackend(t, store, "e1.n1")
	v := value[int64](t, b)
	const keys = 2000
	for k := range uint64(keys) {
		b.Store().SetWord(codec.HashWord(k, 8), k)
		v.Set(-1)
	}
	var res statebackend.Result
	for id := range stream.CheckpointID(100) {
		for k := range uint64(20) {
			k += 20 * uint64(id%50)
			b.Store().SetWord(codec.HashWord(k, 8), k)
			v.Set(int64(id))
		}
		// Rebases run beside the cuts, which wait for them at 16.
		if res = snapshot(t, b, id+1); len(res.Runs) > 17 {
			t.Fatalf("%d runs after %d checkpoints", len(res.Runs), id+1)
		}
	}
	b = newBackend(t, store, "e1.n2")
	v = value[int64](t, b)
	if err := b.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	for k := range uint64(keys) {
		want := int64(-1)
		if k < 1000 {
			want = 50 + int64(k/20)
		}
		b.Store().SetWord(codec.HashWord(k, 8), k)
		if x, _ := v.Get(); x != want {
			t.Fatalf("key %d is %d, want %d", k, x, want)
		}
	}
}

// BenchmarkCut is a cut of 1 M entries with everything: copy, sort, encode, write,
// sync, list.
func BenchmarkCut(b *testing.B) {
	store, err := objstore.OpenFS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	be := newBackend(b, store, "e1.n1")
	v := value[int64](b, be)
	const keys = 1 << 20
	id := stream.CheckpointID(0)
	for range b.N {
		b.StopTimer()
		for k := range uint64(keys) {
			be.Store().SetWord(codec.HashWord(k, 8), k)
			v.Set(int64(binary.BigEndian.Uint16([]byte{byte(k), byte(k >> 8)})))
		}
		id++
		b.StartTimer()
		snapshot(b, be, id)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/entry")
}

// BenchmarkRestore loads 1 M entries.
func BenchmarkRestore(b *testing.B) {
	store, err := objstore.OpenFS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	be := newBackend(b, store, "e1.n1")
	v := value[int64](b, be)
	const keys = 1 << 20
	for k := range uint64(keys) {
		be.Store().SetWord(codec.HashWord(k, 8), k)
		v.Set(int64(k))
	}
	res := snapshot(b, be, 1)
	b.ResetTimer()
	for range b.N {
		n := newBackend(b, store, "e1.n2")
		value[int64](b, n)
		if err := n.Restore(context.Background(), []statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/entry")
}
