package runlist

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// TestBehind: runs that can't be linked are read where they are while they are brought,
// and are in every list until that is done; then they may be merged, and a full
// checkpoint waits for that.
func TestBehind(t *testing.T) {
	ctx := context.Background()
	store := objstore.NewMemory("test")
	a := newJob(t, store, "e1.n1")
	var res statebackend.Result
	for range 3 {
		var err error
		if res, err = a.cut(ctx, 500); err != nil {
			t.Fatal(err)
		}
	}
	verifyTurn <- struct{}{} // another list's files are being brought
	n := newJob(t, store, "e2.n1")
	if err := n.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	linked, err := n.list.Link(ctx, dir)
	if err != nil || len(linked) != 3 || linked[0].Behind == nil {
		t.Fatalf("%+v, %v", linked, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Fatalf("%v were brought before it was their turn, %v", files, err)
	}
	lists := func(runs []*metapb.Run) (old int) {
		for _, r := range runs {
			if r.Attempt == "e1.n1" {
				old++
			}
		}
		return old
	}
	b := linked[0].Behind[0]
	reader, err := b.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	before := make([]byte, b.Size())
	if err := objstore.ReadFull(reader, before, 0); err != nil {
		t.Fatal(err)
	}
	var got statebackend.Result
	for range 40 {
		if got, err = n.cut(ctx, 50); err != nil {
			t.Fatal(err)
		}
		n.settle()
		if old := lists(got.Runs); old != 3 {
			t.Fatalf("%d of 3 runs that are being read are listed", old)
		}
	}
	if len(got.Runs) > 3+maxOverlap+1 {
		t.Errorf("%d runs: newer ones were to be merged", len(got.Runs))
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	n.list.change.Lock()
	_, err = n.list.mergeAll(gone)
	n.list.change.Unlock()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a full checkpoint was to wait: %v", err)
	}
	<-verifyTurn
	if err := n.list.waitBehind(ctx); err != nil {
		t.Fatal(err)
	}
	after := make([]byte, b.Size())
	if err := store.Delete(ctx, b.r.Files[b.n].Name); err != nil {
		t.Fatal(err)
	}
	if err := objstore.ReadFull(reader, after, 0); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file reads differently once it was brought: %v", err)
	}
	again, err := b.Open(ctx)
	if err != nil {
		t.Fatalf("the file was brought, and nobody needs the object: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestBringIsTriedAgain: a store that can't be read for a while, or a full disk, fails
// nothing.
func TestBringIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := objstore.NewMemory("test")
		res, err := newJob(t, store, "e1.n1").cut(context.Background(), 500)
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		n := newJob(t, unreadable{store, func() bool { tries++; return tries > 1 && tries < 5 }}, "e2.n1")
		if err := n.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
			t.Fatal(err)
		}
		linked, err := n.list.Link(context.Background(), t.TempDir()) // the first try
		if err != nil {
			t.Fatal(err)
		}
		if err := n.list.waitBehind(context.Background()); err != nil || tries != 5 {
			t.Fatalf("%d tries, %v", tries, err)
		}
		if st, err := os.Stat(linked[0].Files[0]); err != nil || st.Size() != linked[0].Behind[0].Size() {
			t.Error(err)
		}
	})
}

// unreadable is a store that opens nothing while broken.
type unreadable struct {
	objstore.Store
	broken func() bool
}

func (u unreadable) Open(ctx context.Context, name string) (objstore.Reader, error) {
	if u.broken() {
		return nil, errBroken
	}
	return u.Store.Open(ctx, name)
}
