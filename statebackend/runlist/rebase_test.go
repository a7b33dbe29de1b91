package runlist

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// job is a store with one state and its list; a cut never holds everything.
type job struct {
	t    *testing.T
	s    *table.Store
	v    *table.Value[int64]
	list *List
	cuts *Cuts
	id   stream.CheckpointID
}

func newJob(t *testing.T, store objstore.Store, attempt string) *job {
	list, err := New(Options{Dir: filepath.Join(t.TempDir(), "runs"), Store: store, Attempt: attempt, Operator: "op", Range: stream.AllKeyGroups})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := list.Close(); err != nil {
			t.Error(err)
		}
	})
	s := table.New(table.Options{Range: stream.AllKeyGroups, KeyWidth: 8, Fail: func(err error) { t.Error(err) }})
	s.MarkSpilled()
	c, err := codec.For[int64]()
	if err != nil {
		t.Fatal(err)
	}
	v, err := table.NewValue(s, statebackend.Descriptor{ID: 1, Name: "n", Kind: metapb.StateKind_STATE_KIND_VALUE, ValueSchema: c.Schema()}, c)
	if err != nil {
		t.Fatal(err)
	}
	return &job{t: t, s: s, v: v, list: list, cuts: NewCuts(s, list)}
}

// cut changes keys and finishes a snapshot of that.
func (j *job) cut(ctx context.Context, keys uint64) (statebackend.Result, error) {
	j.t.Helper()
	for k := range keys {
		j.s.SetWord(codec.HashWord(k, 8), k)
		j.v.Set(int64(j.id))
	}
	j.id++
	s, err := j.cuts.Freeze(j.id)
	if err != nil {
		j.t.Fatal(err)
	}
	for !j.s.CopyFrozen(1 << 20) {
	}
	res, err := s.Finish(ctx)
	if err := j.cuts.Resolve(func([]string) error { return nil }); err != nil {
		j.t.Fatal(err)
	}
	return res, err
}

// settle waits for the rebase that runs.
func (j *job) settle() {
	j.list.mu.Lock()
	r := j.list.mu.rebase
	j.list.mu.Unlock()
	if r != nil {
		<-r.done
	}
}

// TestRebaseDelaysNoAck: while no rebase gets on, cuts are acked with the list as it
// is, until hardOverlap runs overlap; what has been merged is never listed again.
func TestRebaseDelaysNoAck(t *testing.T) {
	j := newJob(t, objstore.NewMemory("test"), "e1.n1")
	turn <- struct{}{} // another list's rebase runs
	var last statebackend.Result
	for n := range hardOverlap {
		var err error
		if last, err = j.cut(context.Background(), 50); err != nil || len(last.Runs) != n+1 {
			t.Fatalf("cut %d: %d runs, %v", n+1, len(last.Runs), err)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.cut(gone, 50); !errors.Is(err, context.Canceled) {
		t.Fatalf("the cut after %d overlapping runs was to wait: %v", hardOverlap, err)
	}
	<-turn
	j.settle()
	dropped := map[string]bool{}
	for _, r := range last.Runs {
		dropped[r.Id] = true
	}
	res, err := j.cut(context.Background(), 50)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(res.Runs); n > maxOverlap+1 {
		t.Fatalf("%d runs after the rebase", n)
	}
	for _, r := range res.Runs {
		delete(dropped, r.Id)
	}
	for range 40 {
		if res, err = j.cut(context.Background(), 50); err != nil {
			t.Fatal(err)
		}
		if len(res.Runs) > hardOverlap+1 {
			t.Fatalf("%d runs", len(res.Runs))
		}
		for _, r := range res.Runs {
			if dropped[r.Id] {
				t.Fatalf("run %s is listed again", r.Id)
			}
		}
	}
	j.check(res, 50)
}

// TestRebaseIsTriedAgain: one that fails delays nothing, and the next cut tries again.
func TestRebaseIsTriedAgain(t *testing.T) {
	j := newJob(t, objstore.NewMemory("test"), "e1.n1")
	var res statebackend.Result
	var err error
	broken := true
	j.list.o.Store = failing{j.list.o.Store, func() bool { return broken && j.list.rebasing() }}
	for n := range 30 {
		broken = n < 12
		if res, err = j.cut(context.Background(), 50); err != nil {
			t.Fatalf("cut %d: %v", n+1, err)
		}
		j.settle()
	}
	if n := len(res.Runs); n > maxOverlap+1 {
		t.Fatalf("%d runs", n)
	}
	j.check(res, 50)
}

// failing is a store that takes nothing while broken.
type failing struct {
	objstore.Store
	broken func() bool
}

var errBroken = errors.New("broken")

func (f failing) Create(ctx context.Context, name string) (objstore.Writer, error) {
	if f.broken() {
		return nil, errBroken
	}
	return f.Store.Create(ctx, name)
}

// check restores res and compares.
func (j *job) check(res statebackend.Result, keys uint64) {
	j.t.Helper()
	n := newJob(j.t, j.list.o.Store, "e2.n1")
	if err := n.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		j.t.Fatal(err)
	}
	if err := n.list.Read(context.Background(), n.s.Load); err != nil {
		j.t.Fatal(err)
	}
	if n.s.Entries() != int(keys) {
		j.t.Fatalf("%d entries, want %d", n.s.Entries(), keys)
	}
	for k := range keys {
		n.s.SetWord(codec.HashWord(k, 8), k)
		if x, _ := n.v.Get(); x != int64(j.id)-1 {
			j.t.Fatalf("key %d is %d, want %d", k, x, j.id-1)
		}
	}
}
