package savepoint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// subtask is one keyed subtask of a job that never ran: its state is real.
type subtask struct {
	t      *testing.T
	b      *heap.Backend
	groups stream.KeyGroupRange
	total  *table.Value[int64]
	names  *table.Map[string, string]
	last   *table.List[uint32]
	timers *table.Timers
	id     stream.CheckpointID
	res    statebackend.Result
}

// ok is v of a call that must not fail.
func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// stateIDs are those of every job here.
var stateIDs = []*metapb.StateID{
	{Uid: "count", Name: "total", Id: 1}, {Uid: "count", Name: "names", Id: 2},
	{Uid: "count", Name: "last", Id: 3}, {Uid: "count", Name: "timers", Id: 4},
}

func descriptor(id statebackend.StateID, kind metapb.StateKind, value, namespace codec.Schema) statebackend.Descriptor {
	return statebackend.Descriptor{ID: id, Name: stateIDs[id-1].Name, Kind: kind, ValueSchema: value, NamespaceSchema: namespace}
}

func newSubtask(t *testing.T, job, attempt string, index, of int, from []statebackend.Restored, inline int64) *subtask {
	return newPacking(t, job, attempt, index, of, from, inline, nil)
}

func newPacking(t *testing.T, job, attempt string, index, of int, from []statebackend.Restored, inline int64, p *runlist.Packer) *subtask {
	store := ok(objstore.OpenFS(job))
	t.Cleanup(func() { store.Close() })
	k := ok(codec.ForKey[string]())
	groups := stream.RangeOf(index, of)
	b := ok(heap.New(heap.Options{
		Table: table.Options{Range: groups, KeyLen: table.KeyLenOf(k), Fail: func(err error) { t.Error(err) }},
		Runs: runlist.Options{
			Dir: filepath.Join(t.TempDir(), "runs"), Store: store, Attempt: attempt, Operator: "count", Subtask: index, InlineLimit: inline, Packer: p,
		},
	}))
	t.Cleanup(func() { b.Close() })
	s := &subtask{t: t, b: b, groups: groups}
	ic, sc, uc := ok(codec.For[int64]()), ok(codec.For[string]()), ok(codec.For[uint32]())
	s.total = ok(table.NewValue(b.Store(), descriptor(1, metapb.StateKind_STATE_KIND_VALUE, ic.Schema(), nil), ic))
	s.names = ok(table.NewMap(b.Store(), descriptor(2, metapb.StateKind_STATE_KIND_MAP, sc.Schema(), k.Schema()), k, sc))
	s.last = ok(table.NewList(b.Store(), descriptor(3, metapb.StateKind_STATE_KIND_LIST, uc.Schema(), nil), uc))
	s.timers = ok(table.NewTimers(b.Store(), descriptor(4, metapb.StateKind_STATE_KIND_TIMER, nil, nil)))
	if err := b.Restore(context.Background(), from); err != nil {
		t.Fatal(err)
	}
	return s
}

// at makes k the current key, if it is the subtask's.
func (s *subtask) at(k string) bool {
	enc, hash := keys.AppendHash(nil, k)
	if !s.b.Store().Owns(hash) {
		return false
	}
	s.b.Store().SetKey(hash, enc)
	return true
}

var keys = ok(codec.ForKey[string]())

// cut takes a snapshot.
func (s *subtask) cut() {
	s.t.Helper()
	s.id++
	snap := ok(s.b.Freeze(s.id))
	for s.b.Advance(1 << 20) {
	}
	s.res = ok(snap.Finish(context.Background()))
	s.b.Advance(0)
}

// change gives keys from to to−1 values that depend on round.
func (s *subtask) change(from, to, round int) {
	for i := from; i < to; i++ {
		if !s.at(key(i)) {
			continue
		}
		s.total.Set(int64(1000*round + i))
		s.last.Append(uint32(round), uint32(i))
		s.names.Set(fmt.Sprint("round", round), key(i))
		s.timers.Register(int64(i))
		if i%10 == round {
			s.total.Clear()
			s.names.Clear()
			s.last.Clear()
			s.timers.Delete(int64(i))
		}
	}
}

func key(i int) string { return fmt.Sprintf("key-%04d", i) }

// checkpoint writes the _metadata of subtasks that have been cut, as chk-{id}.
func checkpoint(t *testing.T, job string, id uint64, subtasks ...*subtask) string {
	m := &metapb.CheckpointMetadata{
		FormatVersion: 1, ClusterId: "c", JobId: filepath.Base(job), JobName: "job", CheckpointId: id, TriggeredAtMs: 1e12 + int64(id),
		HashName: stream.HashName, KeyGroups: stream.KeyGroups, StateIds: stateIDs, NextStateId: 5,
	}
	count := &metapb.OperatorSnapshot{Uid: "count", Parallelism: uint32(len(subtasks)), KeySchema: keys.Schema()}
	source := &metapb.OperatorSnapshot{Uid: "source", Parallelism: uint32(len(subtasks))}
	for i, s := range subtasks {
		first, last := uint32(s.groups.First), uint32(s.groups.Last)
		count.Subtasks = append(count.Subtasks, &metapb.SubtaskSnapshot{
			Index: uint32(i), FirstGroup: first, LastGroup: last, Runs: s.res.Runs, Schemas: s.res.Schemas, Watermark: 7,
			Results: []*metapb.Result{{Name: "records", Value: &metapb.Result_Sum{Sum: 5}}},
		})
		source.Subtasks = append(source.Subtasks, &metapb.SubtaskSnapshot{
			Index: uint32(i), FirstGroup: first, LastGroup: last,
			OperatorStates: []*metapb.OperatorState{{Name: "splits", Kind: metapb.StateKind_STATE_KIND_SPLIT_LIST, Entries: [][]byte{{byte(i)}, {9}}}},
		})
	}
	m.Operators = []*metapb.OperatorSnapshot{count, source}
	folder := filepath.Join(job, fmt.Sprintf("chk-%d", id))
	store := ok(objstore.OpenFS(folder))
	defer store.Close()
	if err := objstore.Put(context.Background(), store, metadata.FileName, bytes.NewReader(ok(metadata.Encode(m)))); err != nil {
		t.Fatal(err)
	}
	return folder
}

// small is a job of two subtasks with two checkpoints of some runs each, in folder job.
func small(t *testing.T, job string) (first, second string) {
	var all []*subtask
	for i := range 2 {
		s := newSubtask(t, job, "e1.n1", i, 2, nil, 0)
		s.change(0, 60, 0)
		s.cut()
		s.change(0, 40, 1)
		s.cut()
		all = append(all, s)
	}
	first = checkpoint(t, job, 2, all...)
	for _, s := range all {
		s.change(20, 50, 2)
		s.cut()
	}
	return first, checkpoint(t, job, 3, all...)
}

// read is what a restore of the snapshot at path finds, by subtask of parallelism.
func read(t *testing.T, path string, parallelism int) map[string]string {
	t.Helper()
	s := ok(Open(context.Background(), path))
	defer s.Close()
	base := s.Base()
	found := map[string]string{}
	for i := range parallelism {
		groups := stream.RangeOf(i, parallelism)
		var from []statebackend.Restored
		for _, sub := range s.Metadata().Operators[0].Subtasks {
			own := stream.KeyGroupRange{First: stream.KeyGroup(sub.FirstGroup), Last: stream.KeyGroup(sub.LastGroup)}
			if shared, any := own.Intersect(groups); any {
				runs := make([]*metapb.Run, len(sub.Runs))
				for n, r := range sub.Runs {
					runs[n] = proto.CloneOf(r)
					runs[n].BasePath = base
				}
				from = append(from, statebackend.Restored{Range: shared, Runs: runs, Schemas: sub.Schemas})
			}
		}
		r := newSubtask(t, filepath.Join(t.TempDir(), "other"), "e9.n1", i, parallelism, from, 0)
		for k := range 100 {
			if r.at(key(k)) {
				if text := r.text(); text != "" {
					found[key(k)] = text
				}
			}
		}
	}
	return found
}

// text is all state of the current key, "" if it has none.
func (s *subtask) text() (text string) {
	if x, ok := s.total.Get(); ok {
		text += fmt.Sprint("total ", x, "; ")
	}
	for k, v := range s.names.All() {
		text += fmt.Sprint(k, "=", v, "; ")
	}
	for e := range s.last.All() {
		text += fmt.Sprint(e, ", ")
	}
	return text
}

// files are the files below a folder with their contents.
func files(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[ok(filepath.Rel(folder, path))] = ok(os.ReadFile(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
