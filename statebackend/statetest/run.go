package statetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Config is one way to run the metamorphic test.
type Config struct {
	// Make makes an empty backend; dir is its own.
	Make func(o table.Options, r runlist.Options, dir string) (Backend, error)
	// Spilled reports whether b has used its cold tier; nil: it has none.
	Spilled func(b Backend) bool
	// Keys is how many different keys there are, Steps how many things happen.
	Keys, Steps int
	Budget      int64 // of each subtask, bytes; 0 = none
	InlineLimit int64
}

// Stats is what happened in a run: a scenario asserts that it took its path.
type Stats struct {
	Completed, Aborted, Failed, Crashes, Rescales, Spilled, DuringCut, Evolved int

	// Operands are entries of kind MERGE in runs that were listed, Pieces lists of several
	// schemas.
	Operands, Pieces int
	// Packed are files of listed runs that lie in packs.
	Packed int
}

// world is a job of one keyed operator with all its subtasks.
type world struct {
	t     *testing.T
	c     Config
	r     *rand.Rand
	dir   string
	store objstore.Store
	stats *Stats

	attempt int
	version int // of the program: its layouts
	subs    []*subtask
	dirs    []string // of the backends' local runs
	model   *Model
	now     int64
	id      stream.CheckpointID

	flying   []*checkpoint     // not finished, oldest first
	retained []*checkpoint     // completed, oldest first
	listed   []map[string]bool // by subtask: the run ids of its last result
	dropped  []map[string]bool // by subtask: those that have left its list
	restored []int             // by subtask: how many runs overlapped at a key
}

// checkpoint is one cut of all subtasks.
type checkpoint struct {
	id        stream.CheckpointID
	version   int // of the program that took it
	model     *Model
	now       int64
	snapshots []statebackend.Snapshot
	ranges    []stream.KeyGroupRange
	results   []statebackend.Result
}

// Run drives a backend with one seed and returns what it went through.
func Run(t *testing.T, c Config, seed uint64) (s Stats) {
	t.Helper()
	dir := t.TempDir()
	var store objstore.Store = objstore.NewMemory("statetest")
	if seed%10 == 0 { // the real thing syncs a lot
		fs, err := objstore.OpenFS(filepath.Join(dir, "store"))
		if err != nil {
			t.Fatal(err)
		}
		defer fs.Close()
		store = fs
	}
	w := &world{t: t, c: c, r: rand.New(rand.NewPCG(seed, 3)), dir: dir, store: store, stats: &s, model: NewModel()}
	w.start(nil, 1+w.r.IntN(3))
	for range c.Steps {
		w.step()
	}
	w.checkAll()
	w.stop()
	return s
}

func (w *world) key() string { return fmt.Sprintf("k%d", w.r.IntN(w.c.Keys)) }

func (w *world) sub(k string) *subtask {
	return w.subs[stream.SubtaskOf(stream.GroupOf(keyCodec.Hash(k)), len(w.subs))]
}

// start makes parallelism many subtasks from a checkpoint, or empty ones.
func (w *world) start(from *checkpoint, parallelism int) {
	w.attempt++
	if from == nil {
		w.version = w.r.IntN(len(versions))
	} else if w.version = next(w.r, from.version); w.version != from.version {
		w.stats.Evolved++
	}
	w.subs, w.dirs, w.flying = nil, nil, nil
	w.dropped, w.listed = make([]map[string]bool, parallelism), make([]map[string]bool, parallelism)
	w.restored = make([]int, parallelism)
	var packer *runlist.Packer
	if w.attempt%2 > 0 { // all subtasks are in one worker
		packer = runlist.NewPacker(w.store, fmt.Sprintf("e1.n%d", w.attempt), 1)
		packer.Linger = time.Millisecond
	}
	for i := range parallelism {
		rng := stream.RangeOf(i, parallelism)
		w.dropped[i] = map[string]bool{}
		dir := filepath.Join(w.dir, fmt.Sprintf("a%d-s%d", w.attempt, i))
		b, err := w.c.Make(
			table.Options{Range: rng, KeyLen: table.KeyLenOf(keyCodec), Budget: w.c.Budget, Fail: func(err error) { w.t.Fatalf("store failed: %v", err) }},
			runlist.Options{
				Dir: filepath.Join(dir, "runs"), Store: w.store, Attempt: fmt.Sprintf("e1.n%d", w.attempt),
				Operator: "op", Subtask: i, InlineLimit: w.c.InlineLimit, Packer: packer,
			}, dir)
		if err != nil {
			w.t.Fatal(err)
		}
		s := newSubtask(w.t, b, versions[w.version])
		w.subs, w.dirs = append(w.subs, s), append(w.dirs, filepath.Join(dir, "runs"))
		if from == nil {
			continue
		}
		var rs []statebackend.Restored
		for j, old := range from.ranges {
			if shared, ok := old.Intersect(rng); ok {
				rs = append(rs, statebackend.Restored{Range: shared, Runs: from.results[j].Runs, Schemas: from.results[j].Schemas})
			}
		}
		var all run.List
		for _, r := range rs {
			l, err := run.FromProto(r.Runs)
			if err != nil {
				w.t.Fatal(err)
			}
			all = append(all, l.Clip(r.Range)...)
		}
		w.restored[i] = all.Overlap()
		if err := b.Restore(context.Background(), rs); err != nil {
			w.t.Fatalf("restore subtask %d of %d from %v: %v", i, parallelism, from.id, err)
		}
	}
	w.model, w.now = NewModel(), 0
	if from != nil {
		w.model, w.now = from.model.Clone(), from.now
	}
}

func (w *world) stop() {
	for _, s := range w.subs {
		if w.c.Spilled != nil && w.c.Spilled(s.b) {
			w.stats.Spilled++
		}
		if err := s.b.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) step() {
	switch n := w.r.IntN(100); {
	case n < 50:
		keys := make([]string, w.r.IntN(w.c.Keys))
		for i := range keys {
			keys[i] = w.key()
		}
		for i, k := range keys {
			if i%20 == 0 {
				w.ahead(keys[i:min(i+20, len(keys))])
			}
			w.sub(k).op(w.r, k, w.model)
		}
	case n < 65:
		for _, s := range w.subs {
			s.b.Advance(w.r.IntN(200))
		}
		if len(w.flying) > 0 {
			w.stats.DuringCut++
		}
	case n < 75:
		if len(w.flying) < 2 {
			w.freeze()
		}
	case n < 87:
		if len(w.flying) > 0 {
			w.finish()
		}
	case n < 91:
		w.now += int64(w.r.IntN(20))
		loaded := true
		for _, s := range w.subs {
			// Those that a restore left below may fire late, but all do once they are loaded.
			for wait := w.r.IntN(3) > 0; wait && !s.b.Store().TimersLoaded(); {
				s.b.Advance(w.r.IntN(200))
			}
			loaded = loaded && s.b.Store().TimersLoaded()
			s.fire(w.now, w.model)
		}
		if loaded {
			w.checkFired()
		}
	case n < 96:
		for range 10 {
			k := w.key()
			w.sub(k).check(k, w.model)
		}
	case n < 97:
		w.checkAll()
	default:
		w.crash()
	}
}

// ahead says which keys come soon, as a batch of records does.
func (w *world) ahead(keys []string) {
	for _, k := range keys {
		w.sub(k).b.Store().Ahead(keyCodec.Hash(k), 0, keyCodec.Append(nil, k))
	}
	for _, s := range w.subs {
		s.b.Store().FetchAhead()
	}
}

func (w *world) freeze() {
	w.id++
	c := &checkpoint{id: w.id, version: w.version, model: w.model.Clone(), now: w.now}
	for _, s := range w.subs {
		snap, err := s.b.Freeze(w.id)
		if err != nil {
			w.t.Fatal(err)
		}
		c.snapshots = append(c.snapshots, snap)
		c.ranges = append(c.ranges, s.b.Store().Range())
	}
	w.flying = append(w.flying, c)
}

// finish ends the oldest checkpoint: it completes, is aborted after its runs were
// written (A3), or a subtask cannot write its run.
func (w *world) finish() {
	c := w.flying[0]
	w.flying = w.flying[1:]
	for _, s := range w.subs {
		for s.b.Store().Copying() {
			s.b.Advance(1 + w.r.IntN(500))
		}
	}
	outcome := w.r.IntN(10)
	broken := -1
	if outcome < 2 {
		broken = w.r.IntN(len(w.subs))
	}
	if broken < 0 && w.r.IntN(4) == 0 {
		if w.finishBeside(c) {
			w.retain(c, outcome < 4)
		} else {
			w.stats.Failed++
		}
		return
	}
	lost := false
	for i, s := range w.subs {
		switch {
		case i == broken && outcome == 0:
			s.b.Failed(c.snapshots[i]) // the attempt was told to give up before writing
			lost = true
			continue
		case i == broken:
			hide(w.t, w.dirs[i], true) // a disk that cannot be written
		}
		res, err := c.snapshots[i].Finish(context.Background())
		if i == broken {
			hide(w.t, w.dirs[i], false)
		}
		if err != nil {
			lost = true
			s.b.Failed(c.snapshots[i])
			c.results = append(c.results, statebackend.Result{})
			continue
		}
		w.note(i, res)
		c.results = append(c.results, res)
		s.b.Advance(w.r.IntN(2) * 100)
	}
	if lost {
		w.stats.Failed++
		return
	}
	w.retain(c, outcome < 4)
}

// finishBeside writes the runs in other goroutines while the subtasks go on, which
// is what the race detector is to see (A5). What happens when differs from run to
// run; what must come out does not.
func (w *world) finishBeside(c *checkpoint) (ok bool) {
	c.results = make([]statebackend.Result, len(w.subs))
	errs := make([]error, len(w.subs))
	var wg sync.WaitGroup
	for i := range w.subs {
		wg.Go(func() { c.results[i], errs[i] = c.snapshots[i].Finish(context.Background()) })
	}
	for range 20 {
		k := w.key()
		w.sub(k).op(w.r, k, w.model)
		w.sub(k).b.Advance(10)
	}
	wg.Wait()
	ok = true
	for i, err := range errs {
		if errors.Is(err, runlist.ErrPrevious) {
			ok = false // the one before was given up, and nobody had told the store yet
			continue
		}
		if err != nil {
			w.t.Fatalf("finish %v of subtask %d: %v", c.id, i, err)
		}
		w.note(i, c.results[i])
	}
	return ok
}

// retain keeps a completed checkpoint, or forgets an aborted one.
func (w *world) retain(c *checkpoint, aborted bool) {
	if aborted {
		w.stats.Aborted++ // late, or another operator failed: nobody here is told
		return
	}
	w.stats.Completed++
	w.retained = append(w.retained, c)
	if len(w.retained) > 3 {
		w.retained = slices.Delete(w.retained, 0, 1)
	}
	for _, s := range w.subs {
		s.b.Confirm(c.id)
	}
}

// note checks that a run which has left a subtask's list never comes back (A3).
func (w *world) note(i int, res statebackend.Result) {
	now := map[string]bool{}
	inline := 0
	list, err := run.FromProto(res.Runs)
	if err != nil {
		w.t.Fatal(err)
	}
	if n := list.Overlap(); n > w.mostOverlap(i) {
		w.t.Fatalf("%d runs of an ack overlap at a key, at most %d may", n, w.mostOverlap(i))
	}
	for j, r := range res.Runs {
		if now[r.Id] = true; !w.listed[i][r.Id] {
			w.count(list[j])
		}
		if w.dropped[i][r.Id] {
			w.t.Fatalf("run %s is listed again after it was dropped (A3)", r.Id)
		}
		if r.InlineTable != nil && r.Attempt == fmt.Sprintf("e1.n%d", w.attempt) {
			inline++
		}
		for _, f := range r.Files {
			w.stats.Packed += int(min(f.PackSize, 1))
			w.checkObject(r, f)
		}
	}
	if inline > 1 {
		w.t.Fatalf("%d inline runs in one list, want at most one", inline)
	}
	for id := range w.listed[i] {
		if !now[id] {
			w.dropped[i][id] = true
		}
	}
	w.listed[i] = now
}

// mostOverlap is how many runs of an ack may overlap at a key: two more than were restored,
// if these could not be merged yet.
func (w *world) mostOverlap(i int) int { return max(8, w.restored[i]+2) }

// count counts what a run that was not listed before holds.
func (w *world) count(r run.Run) {
	it := run.NewIter(context.Background(), r, w.store.Open, stream.AllKeyGroups)
	kinds := map[run.Kind]int{}
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		kinds[e.Kind]++
		if e.Kind == run.KindSet || e.Kind == run.KindMerge {
			if head, _, err := envelope.Decode(e.Value); err != nil {
				w.t.Fatal(err)
			} else if head.Pieces {
				w.stats.Pieces++
			}
		}
	}
	if err := errors.Join(it.Err(), it.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.stats.Operands += kinds[run.KindMerge]
}

func (w *world) checkObject(r *metapb.Run, f *metapb.RunFile) {
	o, err := w.store.Open(context.Background(), f.Name)
	if err != nil {
		w.t.Fatalf("run %s is in an ack but not in the store (A3): %v", r.Id, err)
	}
	if err := o.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// crash kills all subtasks and starts again from a retained checkpoint, with
// another parallelism.
func (w *world) crash() {
	w.stop()
	w.stats.Crashes++
	p := 1 + w.r.IntN(3)
	if len(w.retained) == 0 {
		w.start(nil, p)
		return
	}
	from := w.retained[len(w.retained)-1-w.r.IntN(len(w.retained))]
	if p != len(from.ranges) {
		w.stats.Rescales++
	}
	w.start(from, p)
	w.checkAll()
}

func (w *world) checkAll() {
	w.t.Helper()
	for i := range w.c.Keys {
		k := fmt.Sprintf("k%d", i)
		w.sub(k).check(k, w.model)
	}
}

// checkFired: no timer that is due is left (I18).
func (w *world) checkFired() {
	for k, ts := range w.model.Timer {
		for at := range ts {
			if at <= w.now {
				w.t.Fatalf("timer of %q at %d did not fire at %d (I18)", k, at, w.now)
			}
		}
	}
}

// hide renames a folder away, and back.
func hide(t *testing.T, dir string, away bool) {
	t.Helper()
	from, to := dir, dir+".away"
	if !away {
		from, to = to, from
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
