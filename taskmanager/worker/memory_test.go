package worker

import (
	"testing"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/task"
)

// TestResize: deployments share the memory that the worker has when they begin. A cache of
// another size is another cache, and the old one stays for as long as a deployment uses it.
func TestResize(t *testing.T) {
	b, err := newBackends(map[string]string{}, divideMemory(100<<20), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	one, two := b.newTables(), b.newTables()
	first := b.take(one, 1)
	b.resize(divideMemory(100 << 20)) // no news
	if b.shared != first || len(b.old) != 0 {
		t.Error("a worker whose memory is as before has another cache")
	}
	b.resize(divideMemory(200 << 20))
	second := b.take(two, 1)
	if second == first || second.cache != 2*first.cache && second.cache != 2*first.cache+1 || len(b.old) != 1 {
		t.Errorf("caches of %d and %d bytes, %d are old", first.cache, second.cache, len(b.old))
	}
	b.resize(divideMemory(50 << 20)) // used by nobody yet
	b.resize(divideMemory(100 << 20))
	if len(b.old) != 2 { // the one that nobody took is closed already
		t.Errorf("%d old caches, want those of the two deployments", len(b.old))
	}
	b.give(one, first)
	b.give(two, second)
	if len(b.old) != 0 {
		t.Errorf("%d old caches are kept for nobody", len(b.old))
	}
	heap, err := newBackends(map[string]string{"state.backend.type": "heap"}, divideMemory(100<<20), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer heap.close()
	small := heap.memory.tables
	heap.resize(divideMemory(300 << 20))
	if got := heap.memory.tables; got < 3*small-3 || got > 3*small+3 {
		t.Errorf("tables have %d bytes after they had %d with a third of the memory", got, small)
	}
	one = heap.newTables()
	heap.give(one, heap.take(one, 1)) // there is nothing to share
}

// TestKeyedSubtasksOfAllRegions: a region that starts again takes its part of the state
// memory, not that of the regions that live on beside it.
func TestKeyedSubtasksOfAllRegions(t *testing.T) {
	op := func(uid string, keyed bool, from ...uint32) *metapb.Operator {
		o := &metapb.Operator{Uid: uid, Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE}
		for _, f := range from {
			o.Kind = metapb.OperatorKind_OPERATOR_KIND_SINK
			o.Inputs = append(o.Inputs, &metapb.Input{From: f, Distribution: metapb.Distribution_DISTRIBUTION_HASH})
		}
		if keyed {
			o.KeySchema = []byte("k")
		}
		return o
	}
	g, err := job.NewGraph(&metapb.Plan{Operators: []*metapb.Operator{ // two regions
		op("a", false), op("count a", true, 0), op("b", false), op("count b", true, 2),
	}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	w := &Worker{o: Options{WorkerID: 7}}
	d := &weirpb.Deploy{}
	for _, s := range g.Subtasks() {
		ref := &weirpb.SubtaskRef{Vertex: uint32(s.Vertex), Subtask: uint32(s.Index)}
		on := uint64(7)
		if s.Index == 1 && s.Vertex == 3 {
			on = 8 // another worker's
		}
		d.Locations = append(d.Locations, &weirpb.SubtaskLocation{Subtask: ref, WorkerId: on})
		if s.Vertex < 2 { // the region of a
			d.Subtasks = append(d.Subtasks, &weirpb.SubtaskDeployment{Subtask: ref})
		}
	}
	if n := w.keyedSubtasks(g, d); n != 3 {
		t.Errorf("%d keyed subtasks share the memory, want 3", n)
	}
}

// TestBudgetsOfLiveTables: tables have equal parts of the memory that the worker has now, not
// of what it had when they were made: nobody keeps what others need, or does without what is
// left. On heap, which can't evict, none becomes smaller.
func TestBudgetsOfLiveTables(t *testing.T) {
	for kind, evicts := range map[string]bool{"heap": false, "pebble": true} {
		b, err := newBackends(map[string]string{"state.backend.type": kind}, divideMemory(100<<20), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.close)
		made := func(all *tables, n int) (stores []*table.Store) {
			newBackend := b.factory(objstore.NewMemory("test"), job.Attempt{Epoch: 1, N: 1}, 7, all, 0)
			for i := range n {
				k, err := newBackend(task.BackendConfig{UID: kind, Subtask: job.SubtaskID{Index: i}, Table: table.Options{Range: stream.AllKeyGroups, KeyWidth: 8}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { k.Close() })
				stores = append(stores, k.(interface{ Store() *table.Store }).Store())
			}
			return stores
		}
		is := func(when string, want int64, all ...*table.Store) {
			t.Helper()
			for i, s := range all {
				if s.Budget() != want || want == 0 {
					t.Errorf("%s, %s: table %d has %d bytes, want %d", kind, when, i, s.Budget(), want)
				}
			}
		}
		one, two := b.newTables(), b.newTables()
		b.take(one, 1)
		first := made(one, 1)
		alone := b.budget()
		is("alone", alone, first...)
		b.resize(divideMemory(200 << 20)) // a slot more, for three keyed subtasks
		is("with more memory", b.budget(), first...)
		most := b.budget()
		shared := b.take(two, 4)
		others := made(two, 3)
		is("with others", b.budget(), others...)
		if evicts {
			is("with others", b.budget(), first...)
		} else {
			is("with others", most, first...)
		}
		if all := b.budget() * 4; all > most || all < most-4 {
			t.Errorf("%s: all have %d bytes, there are %d", kind, all, most)
		}
		b.give(two, shared)
		b.resize(divideMemory(800 << 20))
		is("that is over", most/4, others...) // nobody's any more
		is("of those that live", b.budget(), first...)
	}
}

// TestSharesFollow: what a worker is told of its memory is what its tables get.
func TestSharesFollow(t *testing.T) {
	b, err := newBackends(map[string]string{"state.backend.type": "heap"}, divideMemory(100<<20), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var told []int64
	w := &Worker{o: Options{SetMemory: func(bytes int64) { told = append(told, bytes) }}, backends: b, memory: divideMemory(100 << 20)}
	(&memoryChanged{200 << 20}).handle(w)
	if len(told) != 1 || told[0] != 200<<20 || w.memory.exchange != divideMemory(200<<20).exchange || b.memory.tables != divideMemory(200<<20).tables+divideMemory(200<<20).cache {
		t.Errorf("told %v, the worker has %+v, its tables %+v", told, w.memory, b.memory)
	}
}
