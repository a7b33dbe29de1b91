package runlist

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
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

func (j *job) set(keys uint64, v int64) {
	for k := range keys {
		j.s.SetWord(codec.HashWord(k, 8), k)
		j.v.Set(v)
	}
}

// cut changes keys and finishes a snapshot of that.
func (j *job) cut(ctx context.Context, keys uint64) (statebackend.Result, error) {
	j.t.Helper()
	s := j.begin(keys)
	res, err := s.Finish(ctx)
	if err := j.cuts.Resolve(func([]string) error { return nil }); err != nil {
		j.t.Fatal(err)
	}
	return res, err
}

// begin changes keys and begins a snapshot of that.
func (j *job) begin(keys uint64) *Snapshot {
	j.t.Helper()
	j.set(keys, int64(j.id))
	j.id++
	s, err := j.cuts.Freeze(j.id)
	if err != nil {
		j.t.Fatal(err)
	}
	for !j.s.CopyFrozen(1 << 20) {
	}
	return s
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

// overlap is how many of an ack's runs overlap at a key.
func overlap(t *testing.T, res statebackend.Result) int {
	t.Helper()
	list, err := run.FromProto(res.Runs)
	if err != nil {
		t.Fatal(err)
	}
	return list.Overlap()
}

// dropped checks that a run which has left an ack's list is in none later.
type dropped struct {
	listed, gone map[string]bool
}

func (d *dropped) note(t *testing.T, res statebackend.Result) {
	t.Helper()
	now := map[string]bool{}
	for _, r := range res.Runs {
		if now[r.Id] = true; d.gone[r.Id] {
			t.Fatalf("run %s is listed again", r.Id)
		}
	}
	for id := range d.listed {
		if !now[id] {
			if d.gone == nil {
				d.gone = map[string]bool{}
			}
			d.gone[id] = true
		}
	}
	d.listed = now
}

// hold lets no rebase begin until it is released.
func hold(t *testing.T) (release func()) {
	turn <- struct{}{}
	release = sync.OnceFunc(func() { <-turn })
	t.Cleanup(release)
	return release
}

// TestRebaseDelaysNoAck: while no rebase gets on, cuts merge the newest runs themselves, so
// that an ack lists maxOverlap at most, and nobody waits.
func TestRebaseDelaysNoAck(t *testing.T) {
	j := newJob(t, objstore.NewMemory("test"), "e1.n1")
	release := hold(t) // another list's rebase runs
	var d dropped
	var res statebackend.Result
	small := int64(0)
	for n := range 60 {
		var err error
		if res, err = j.cut(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if got := overlap(t, res); got != min(n+1, got) || got > maxOverlap || n < maxOverlap && got != n+1 {
			t.Fatalf("cut %d: %d runs overlap", n+1, got)
		}
		d.note(t, res)
		small += res.NewBytes
	}
	release()
	j.settle()
	for range 40 {
		var err error
		if res, err = j.cut(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if got := overlap(t, res); got > maxOverlap {
			t.Fatalf("%d runs overlap", got)
		}
		d.note(t, res)
		j.settle()
	}
	if got := overlap(t, res); got > easyOverlap+2 {
		t.Fatalf("%d runs overlap with the rebase's help", got)
	}
	j.check(res, 50)
}

// TestSqueezeBesideMerging: while a rebase merges for long, cuts merge what is newer than its
// runs, and leave those to it.
func TestSqueezeBesideMerging(t *testing.T) {
	store := objstore.NewMemory("test")
	j := newJob(t, store, "e1.n1")
	reached, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release) // before Close, which waits for the rebase
	var once sync.Once
	j.list.o.Store = failing{store, func() bool {
		if m := j.list.mergingNow(); m != nil && !j.list.isListing() {
			once.Do(func() { close(reached) })
			<-goOn
		}
		return false
	}}
	var d dropped
	for range easyOverlap + 2 {
		res, err := j.cut(t.Context(), 50)
		if err != nil {
			t.Fatal(err)
		}
		d.note(t, res)
	}
	<-reached // it is about to store what it has merged
	m := j.list.mergingNow()
	var res statebackend.Result
	for range 30 {
		var err error
		if res, err = j.cut(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		d.note(t, res)
		if got := overlap(t, res); got > maxOverlap || !j.list.holds(m.old) {
			t.Fatalf("%d runs overlap; a cut merged those of the rebase: %v", got, !j.list.holds(m.old))
		}
	}
	release()
	j.settle()
	if j.list.holds(m.old) {
		t.Fatal("what the rebase has merged was for nothing")
	}
	if res, err := j.cut(t.Context(), 50); err != nil {
		t.Fatal(err)
	} else {
		d.note(t, res)
		j.check(res, 50)
	}
}

func (l *List) mergingNow() *merging {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.merging
}

func (l *List) isListing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.listing
}

// TestSqueezeWaits: only a cut that finds nothing to merge but runs of the rebase waits for
// it, and for no longer than its context.
func TestSqueezeWaits(t *testing.T) {
	j := newJob(t, objstore.NewMemory("test"), "e1.n1")
	release := hold(t)
	for range maxOverlap {
		if _, err := j.cut(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
	}
	m := &merging{j.list.copyEntries(), make(chan struct{})} // all of them, as if begun now
	j.list.mu.Lock()
	j.list.mu.merging = m
	j.list.mu.Unlock()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.cut(gone, 50); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cut over %d runs that are being merged was to wait: %v", maxOverlap, err)
	}
	if j.s.Busy() {
		t.Fatal("the store waits, too: the cut was durable")
	}
	if err := j.list.exchange(m, nil, false); err != nil {
		t.Fatal(err)
	}
	res, err := j.cut(t.Context(), 50)
	if err != nil || overlap(t, res) > maxOverlap {
		t.Fatalf("%d runs overlap, %v", overlap(t, res), err)
	}
	release()
	j.settle()
	j.check(res, 50)
}

// TestSqueezeAboveRestored: restored runs that a cold tier reads where they lie stay in the
// list; beside them cuts add no more than two, or what makes eight.
func TestSqueezeAboveRestored(t *testing.T) {
	for _, restored := range []int{1, 3, 6, 7, 8} {
		store := objstore.NewMemory("test")
		old := newJob(t, store, "e1.n1")
		release := hold(t)
		var res statebackend.Result
		var err error
		for range restored {
			if res, err = old.cut(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
		}
		j := newJob(t, store, "e2.n1")
		j.id = old.id
		if err := j.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
			t.Fatal(err)
		}
		behind := func(yes bool) {
			for _, e := range j.list.copyEntries()[:restored] {
				e.behind = yes
			}
		}
		behind(true)
		for range 30 {
			if res, err = j.cut(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
			if got, most := overlap(t, res), max(maxOverlap, restored+leastYoung); got > most {
				t.Fatalf("%d runs overlap above %d restored ones, want at most %d", got, restored, most)
			}
			for i, e := range j.list.copyEntries()[:restored] {
				if !e.behind {
					t.Fatalf("run %d, which the tier reads, has left the list", i)
				}
			}
		}
		behind(false)
		if res, err = j.cut(t.Context(), 50); err != nil || overlap(t, res) > maxOverlap {
			t.Fatalf("%d runs overlap, %v", overlap(t, res), err)
		}
		j.check(res, 50)
		release()
		j.settle()
		old.settle()
	}
}

// TestSqueezeLeavesRestored: the first cut after a restore does not merge gigabytes, which no
// rebase has come to yet, only as many runs as it must.
func TestSqueezeLeavesRestored(t *testing.T) {
	store := objstore.NewMemory("test")
	old := newJob(t, store, "e1.n1")
	release := hold(t)
	var res statebackend.Result
	var err error
	for range maxOverlap {
		if res, err = old.cut(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
	}
	j := newJob(t, store, "e2.n1")
	j.id = old.id
	j.list.squeezeMost = 2 * int64(res.Runs[0].Bytes) // as if they were large
	if err := j.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
		t.Fatal(err)
	}
	restored := j.list.copyEntries()
	for n := range 5 {
		if res, err = j.cut(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if left := j.list.copyEntries(); overlap(t, res) > maxOverlap || len(left) < maxOverlap || !slices.Equal(left[:maxOverlap-1], restored[:maxOverlap-1]) {
			t.Fatalf("cut %d: %d runs, with others than the restored ones among the first %d", n+1, len(left), maxOverlap-1)
		}
	}
	release()
	j.settle()
	old.settle()
	j.check(res, 50)
}

// TestEvictedBehindTheCut: what the mailbox goroutine evicts while the ack of a cut is being
// made is newer than the cut and is not in that ack, nor in what is merged for it.
func TestEvictedBehindTheCut(t *testing.T) {
	for _, full := range []bool{false, true} {
		j := newJob(t, objstore.NewMemory("test"), "e1.n1")
		release := hold(t)
		for range maxOverlap {
			if _, err := j.cut(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
		}
		s := j.begin(50)
		s.full = full
		res := j.finishWith(s, func() {
			j.set(50, 999)
			c, _ := j.s.CutBundles(0, 1000)
			if _, err := j.list.Add(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			j.s.Durable(c)
		})
		if n := overlap(t, res); n > maxOverlap || full && n != 1 {
			t.Fatalf("full %v: %d runs overlap", full, n)
		}
		j.check(res, 50)
		release()
		j.settle()
		// The next ack has it.
		res, err := j.cut(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		j.checkAll(res, 50, 999)
	}
}

// finishWith is Finish of s, with what the mailbox goroutine does between the listing of the
// cut and its upload. It lets go of the list's lock whatever happens: Close, at the end of a
// test that has failed, waits for a rebase that waits for it.
func (j *job) finishWith(s *Snapshot, meanwhile func()) statebackend.Result {
	j.t.Helper()
	l := j.list
	l.change.Lock()
	defer l.change.Unlock()
	defer l.unlist()
	if _, err := l.addCut(j.t.Context(), s); err != nil {
		j.t.Fatal(err)
	}
	if err := j.cuts.Resolve(func([]string) error { return nil }); err != nil {
		j.t.Fatal(err)
	}
	meanwhile()
	merge := l.squeeze
	if s.full {
		merge = l.mergeAll
	}
	if _, err := merge(j.t.Context()); err != nil {
		j.t.Fatal(err)
	}
	runs, err := l.upload(j.t.Context(), s.ID, nil)
	if err != nil {
		j.t.Fatal(err)
	}
	return statebackend.Result{Runs: runs, Schemas: s.schemas}
}

// TestLinkedRunIsNotTakenTwice: a cold tier that is opened between the listing of a cut's run
// and the news of it has the run by Link, and must not take it again: it may hold operands.
func TestLinkedRunIsNotTakenTwice(t *testing.T) {
	for _, late := range []bool{false, true} {
		j := newJob(t, objstore.NewMemory("test"), "e1.n1")
		j.list.o.Cold = true
		s := j.begin(50)
		dir, linked := t.TempDir(), []Linked(nil)
		link := func() {
			var err error
			if linked, err = j.list.Link(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
		}
		if !late {
			link()
		}
		if _, err := s.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if late {
			link()
		}
		var taken []string
		if err := j.cuts.Resolve(func(files []string) error { taken = files; return nil }); err != nil {
			t.Fatal(err)
		}
		if len(linked)+len(taken) != 1 || late != (len(taken) == 0) {
			t.Fatalf("late %v: Link found %d runs, and then %d files were to be taken", late, len(linked), len(taken))
		}
	}
}

// TestEvictionsAloneAreMerged: without checkpoints the list does not grow for ever.
func TestEvictionsAloneAreMerged(t *testing.T) {
	j := newJob(t, objstore.NewMemory("test"), "e1.n1")
	for n := range 20 * lookEvery {
		j.set(10, int64(n))
		c, _ := j.s.CutBundles(0, 1000)
		if _, err := j.list.Add(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		j.s.Durable(c)
		j.settle()
		if n := len(j.list.copyEntries()); n > 2*lookEvery {
			t.Fatalf("%d runs", n)
		}
	}
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
	if n := len(res.Runs); n > easyOverlap+2 {
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
	j.checkAll(res, keys, int64(j.id)-1)
}

func (j *job) checkAll(res statebackend.Result, keys uint64, want int64) {
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
		if x, _ := n.v.Get(); x != want {
			j.t.Fatalf("key %d is %d, want %d", k, x, want)
		}
	}
}
