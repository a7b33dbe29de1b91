package file

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

const testJob = "0123456789abcdef0123456789abcdef"

// attempt is all subtasks of a sink in one incarnation.
type attempt struct {
	t       testing.TB
	setups  []*operator.Setup
	writers []*writer[string]
}

// snapshotOf is what a checkpoint holds of the sink.
type snapshotOf struct {
	id      stream.CheckpointID
	pending []*metapb.OperatorState // one for each subtask
}

// open starts the sink from a snapshot, or none.
func open(t testing.TB, dir string, p int, incarnation uint64, from *snapshotOf, opts ...SinkOption) (*attempt, error) {
	t.Helper()
	return openIn(t, testJob, dir, p, incarnation, from, opts...)
}

// openIn is open for a job of that id.
func openIn(t testing.TB, id, dir string, p int, incarnation uint64, from *snapshotOf, opts ...SinkOption) (*attempt, error) {
	t.Helper()
	sink := LineSink(dir, opts...)
	plan := operator.PlanSetup("counts", operator.KeyInfo{})
	if _, err := sink.NewWriter(plan); err != nil || plan.Err() != nil {
		t.Fatal(err, plan.Err())
	}
	a := &attempt{t: t}
	for i := range p {
		o := operator.SetupOptions{
			UID: "counts", Declared: plan.Declared(),
			Runtime: &operator.Runtime{
				Context: context.Background(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
				Subtask: i, Parallelism: p, JobID: id, Incarnation: incarnation, Restored: from != nil,
			},
		}
		if from != nil {
			union := &metapb.OperatorState{Name: "pending", Kind: metapb.StateKind_STATE_KIND_UNION_LIST}
			for _, s := range from.pending {
				union.Entries = append(union.Entries, s.Entries...)
			}
			o.States = []*metapb.OperatorState{union}
		}
		setup := operator.NewSetup(o)
		w, err := sink.NewWriter(setup)
		if err != nil || setup.Err() != nil {
			t.Fatal(err, setup.Err())
		}
		a.setups = append(a.setups, setup)
		a.writers = append(a.writers, w.(*writer[string]))
	}
	for _, w := range a.writers {
		if err := w.Open(); err != nil {
			return a, err
		}
	}
	if from != nil {
		for i := range a.writers {
			if err := a.writers[i].Commit(from.id); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}

func mustOpen(t testing.TB, dir string, p int, incarnation uint64, from *snapshotOf, opts ...SinkOption) *attempt {
	t.Helper()
	a, err := open(t, dir, p, incarnation, from, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *attempt) write(i int, line string) {
	a.t.Helper()
	if err := a.writers[i].Write(line); err != nil {
		a.t.Fatal(err)
	}
}

// prepare has every subtask take part in checkpoint id.
func (a *attempt) prepare(id stream.CheckpointID) *snapshotOf {
	a.t.Helper()
	s := &snapshotOf{id: id}
	for i, w := range a.writers {
		if err := w.Prepare(id); err != nil {
			a.t.Fatal(err)
		}
		var into metapb.SubtaskSnapshot
		a.setups[i].Snapshot(&into)
		s.pending = append(s.pending, into.OperatorStates...)
	}
	return s
}

func (a *attempt) commit(id stream.CheckpointID) {
	a.t.Helper()
	for _, w := range a.writers {
		if err := w.Commit(id); err != nil {
			a.t.Fatal(err)
		}
	}
}

// finished are the lines of all finished files, hidden the names of the others.
func finished(t testing.TB, dir string) (lines, hidden []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			hidden = append(hidden, e.Name())
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			t.Errorf("%s is empty", e.Name())
		}
		lines = append(lines, plain(b)...)
	}
	return lines, hidden
}

// TestExactlyOnce (I24, I25): records, checkpoints, lost notices, crashes, zombies and
// other parallelisms in any order: finished files hold what completed checkpoints
// cover, each record once.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { exactlyOnce(t, rand.New(rand.NewPCG(seed, 11))) })
	}
}

func exactlyOnce(t *testing.T, rnd *rand.Rand) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	roll := RollSize([]int64{1, 200_000, 1 << 30}[rnd.IntN(3)])
	filler := strings.Repeat("x", []int{0, 30_000}[rnd.IntN(2)])
	var (
		incarnation uint64 = 1
		id          stream.CheckpointID
		complete    *snapshotOf // the last
		covered     []string    // by complete
		written     []string    // since the beginning, by what the present attempt goes on from
		zombies     []*attempt
	)
	a := mustOpen(t, dir, 1+rnd.IntN(3), incarnation, nil, roll)
	for step := range 120 {
		switch rnd.IntN(12) {
		default:
			line := fmt.Sprintf("%d.%d %s", incarnation, step, filler)
			a.write(rnd.IntN(len(a.writers)), line)
			written = append(written, line)
		case 0, 1: // a checkpoint that completes; not everybody may hear of it
			id++
			complete, covered = a.prepare(id), slices.Clone(written)
			for _, w := range a.writers {
				if rnd.IntN(3) == 0 {
					continue
				}
				for range 1 + rnd.IntN(2) {
					if err := w.Commit(id); err != nil {
						t.Fatal(err)
					}
				}
			}
		case 2: // one that is aborted, after some have taken part
			id++
			for _, w := range a.writers[:rnd.IntN(len(a.writers)+1)] {
				if err := w.Prepare(id); err != nil {
					t.Fatal(err)
				}
			}
		case 3: // a failure
			if rnd.IntN(2) == 0 {
				for _, w := range a.writers {
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				zombies = append(zombies, a)
			}
			incarnation++
			a = mustOpen(t, dir, 1+rnd.IntN(3), incarnation, complete, roll)
			written = slices.Clone(covered)
			lines, _ := finished(t, dir)
			same(t, lines, covered) // the restored checkpoint has been committed
		case 4: // somebody who has not heard that he is dead
			if len(zombies) > 0 {
				z := zombies[rnd.IntN(len(zombies))]
				w := z.writers[rnd.IntN(len(z.writers))]
				_ = w.Write("zombie " + filler)
				_ = w.Prepare(id + 1)
				_ = w.Close()
			}
		}
		lines, _ := finished(t, dir)
		once := map[string]bool{}
		for _, l := range lines {
			if once[l] || !slices.Contains(covered, l) {
				t.Fatalf("step %d: %.20q is finished, twice or without a checkpoint", step, l)
			}
			once[l] = true
		}
	}
	id++
	a.prepare(id)
	a.commit(id)
	lines, _ := finished(t, dir)
	same(t, lines, written)
}

// TestRescaleForgetsNothing (B7): 3 → 2 → 3 subtasks; the files of one that is gone
// are published, those of neighbours are not swept.
func TestRescaleForgetsNothing(t *testing.T) {
	dir := t.TempDir()
	a := mustOpen(t, dir, 3, 1, nil)
	for i := range 3 {
		a.write(i, fmt.Sprint("first", i))
	}
	s := a.prepare(1)
	for i := range 3 {
		a.write(i, "lost")
		if err := a.writers[i].flush(); err != nil {
			t.Fatal(err)
		}
	}
	b := mustOpen(t, dir, 2, 2, s)
	b.write(0, "second0")
	b.write(1, "second1")
	lines, hidden := finished(t, dir)
	same(t, lines, []string{"first0", "first1", "first2"})
	if len(hidden) != 0 {
		t.Errorf("not swept: %q", hidden)
	}
	c := mustOpen(t, dir, 3, 3, b.prepare(2))
	c.write(2, "third2")
	c.prepare(3)
	c.commit(3)
	lines, hidden = finished(t, dir)
	same(t, lines, []string{"first0", "first1", "first2", "second0", "second1", "third2"})
	if len(hidden) != 0 {
		t.Errorf("left: %q", hidden)
	}
}

// TestSweepTouchesOnlyItsOwn (I26).
func TestSweepTouchesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	own, other := "counts-0123456789ab-", "counts-fedcba987654-"
	keep := []string{
		".gitkeep", "." + other + "1-0-0", ".total-0123456789ab-1-0-0", "." + own + "5-1-7", "." + own + "6-1-0",
		"." + own + "1-0", "." + own + "01-0-0", "." + own + "1-0-0.bak", "." + own + "1-x-0", own + "1-0-0",
		".counts-0123456789ab-1-0123456789ab-1-0-0",
	}
	for _, name := range append(keep, "."+own+"1-0-0", "."+own+"4-17-3") {
		write(t, filepath.Join(dir, name), []byte("x\n"))
	}
	mustOpen(t, dir, 2, 5, nil)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(keep)
	if !slices.Equal(got, keep) {
		t.Errorf("left %q\nwant %q", got, keep)
	}
}

func TestPublish(t *testing.T) {
	hidden := ".counts-0123456789ab-1-0-0"
	for name, c := range map[string]struct {
		change   func(unfinished, finished string) error
		restored bool
		want     string // of the error
	}{
		"plain":           {func(string, string) error { return nil }, false, ""},
		"died in between": {os.Link, false, ""},
		"done already":    {os.Rename, false, ""},
		"done, restored":  {os.Rename, true, ""},
		"both exist": {func(_, f string) error { return os.WriteFile(f, []byte("a\n"), 0o666) }, false,
			hidden + " can't become DIR/counts-0123456789ab-1-0-0: both exist"},
		"truncated":        {func(u, _ string) error { return os.Truncate(u, 1) }, false, hidden + " has 1 bytes, 2 were written"},
		"gone":             {func(u, _ string) error { return os.Remove(u) }, false, hidden + " is gone, and there is no "},
		"consumed":         {func(u, _ string) error { return os.Remove(u) }, true, ""},
		"finished is cut":  {func(u, f string) error { _ = os.Rename(u, f); return os.Truncate(f, 1) }, false, "has 1 bytes instead of 2"},
		"restored and cut": {func(u, _ string) error { return os.Truncate(u, 1) }, true, hidden + " has 1 bytes, 2 were written"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := mustOpen(t, dir, 1, 1, nil)
			a.write(0, "a")
			s := a.prepare(7)
			if lines, h := finished(t, dir); len(lines) > 0 || !slices.Equal(h, []string{hidden}) {
				t.Fatalf("before the commit: lines %q, hidden %q", lines, h)
			}
			if err := c.change(filepath.Join(dir, hidden), filepath.Join(dir, hidden[1:])); err != nil {
				t.Fatal(err)
			}
			var err error
			if c.restored {
				_, err = open(t, dir, 2, 2, s)
			} else {
				err = a.writers[0].Commit(7)
			}
			if c.want != "" {
				if want := strings.ReplaceAll(c.want, "DIR", dir); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			lines, h := finished(t, dir)
			if len(h) > 0 {
				t.Errorf("hidden %q", h)
			}
			if name != "consumed" {
				same(t, lines, []string{"a"})
			}
		})
	}
}

func TestCommitWaitsForItsCheckpoint(t *testing.T) {
	dir := t.TempDir()
	a := mustOpen(t, dir, 1, 1, nil)
	a.write(0, "a")
	a.prepare(3)
	a.write(0, "b")
	a.prepare(4)
	a.write(0, "c")
	a.commit(2)
	if lines, _ := finished(t, dir); len(lines) > 0 {
		t.Errorf("checkpoint 2 has published %q", lines)
	}
	a.commit(3)
	lines, _ := finished(t, dir)
	same(t, lines, []string{"a"})
	a.commit(5) // of other subtasks; c is not prepared
	lines, _ = finished(t, dir)
	same(t, lines, []string{"a", "b"})
	if left := a.writers[0].list.Get(); len(left) > 0 {
		t.Errorf("what is published stays in the state: %+v", left)
	}
	a.write(0, "d") // in progress
	if err := a.writers[0].flush(); err != nil {
		t.Fatal(err)
	}
	if err := a.writers[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, hidden := finished(t, dir); len(hidden) > 0 {
		t.Errorf("Close leaves %q", hidden)
	}
}

func TestRoll(t *testing.T) {
	dir := t.TempDir()
	a := mustOpen(t, dir, 1, 1, nil, RollSize(300_000))
	var want []string
	for i := range 10_000 {
		l := fmt.Sprintf("%099d", i)
		want = append(want, l)
		a.write(0, l)
	}
	a.prepare(1)
	a.prepare(2) // nothing new: no file
	a.commit(2)
	lines, _ := finished(t, dir)
	same(t, lines, want)
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 { // 1 MB; a file takes whole buffers of 128 KiB
		t.Errorf("%d files, want 3", len(entries))
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), []byte("x"))
	for _, path := range []string{"file", "file/below", "/proc/weir"} {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		_, err := open(t, path, 1, 1, nil)
		if err == nil || !operator.IsFatal(err) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if _, err := LineSink("").NewWriter(operator.PlanSetup("x", operator.KeyInfo{})); err == nil {
		t.Error("an empty path is accepted")
	}
	if _, err := Sink[int](dir, nil).NewWriter(operator.PlanSetup("x", operator.KeyInfo{})); err == nil {
		t.Error("a nil function is accepted")
	}
}

// TestRestoredUnderAnotherPath: the state holds the old path, which counts.
func TestRestoredUnderAnotherPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("out", filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, filepath.Join(dir, "out"), 1, 1, nil)
	a.write(0, "a")
	mustOpen(t, filepath.Join(dir, "alias"), 1, 2, a.prepare(1))
	lines, _ := finished(t, filepath.Join(dir, "out"))
	same(t, lines, []string{"a"})
}

func TestNames(t *testing.T) {
	rt := &operator.Runtime{JobID: testJob, Incarnation: 12, Subtask: 3}
	n := newNamer("counts", rt)
	if got := n.next() + " " + n.next(); got != "counts-0123456789ab-12-3-0 counts-0123456789ab-12-3-1" {
		t.Errorf("names %s", got)
	}
	n = newNamer(".x", rt)
	if got := n.next(); strings.HasPrefix(got, ".") {
		t.Errorf("finished file %s is hidden", got)
	}
}

// TestPendingSchema: the state's layout is for ever.
func TestPendingSchema(t *testing.T) {
	a := mustOpen(t, t.TempDir(), 1, 1, nil)
	a.writers[0].list.Set([]pending{{Unfinished: "/o/.a", Finished: "/o/a", Size: 258, Checkpoint: 3}})
	var into metapb.SubtaskSnapshot
	a.setups[0].Snapshot(&into)
	st := into.OperatorStates[0]
	const want = "pending 052f6f2f2e61042f6f2f6102010000000000000300000000000000"
	if got := fmt.Sprintf("%s %x", st.Name, st.Entries[0]); got != want {
		t.Errorf("state %s, want %s", got, want)
	}
}

func BenchmarkWrite(b *testing.B) {
	a := mustOpen(b, b.TempDir(), 1, 1, nil)
	line := strings.Repeat("x", 49)
	b.SetBytes(50)
	b.ReportAllocs()
	for b.Loop() {
		a.write(0, line)
	}
}

// TestForks (I26): jobs that are started from one savepoint of a job that goes on write
// into the same folder, with the same incarnations and checkpoint ids. What the savepoint
// names is published once; each job's own results are there; none sweeps another's.
func TestForks(t *testing.T) {
	dir := t.TempDir()
	origin := mustOpen(t, dir, 2, 1, nil)
	origin.write(0, "before 0")
	origin.write(1, "before 1")
	from := origin.prepare(1)
	ids := []string{testJob, "aaaa456789abcdef0123456789abcdef", "bbbb456789abcdef0123456789abcdef"}
	forks := []*attempt{origin}
	for _, id := range ids[1:] {
		fork, err := openIn(t, id, dir, 2, 2, from)
		if err != nil {
			t.Fatal(err)
		}
		forks = append(forks, fork)
	}
	want := []string{"before 0", "before 1"}
	var snapshots []*snapshotOf
	for i, f := range forks {
		line := fmt.Sprint("after ", i)
		f.write(i%2, line)
		want = append(want, line)
		snapshots = append(snapshots, f.prepare(2))
		f.write(1, "of no checkpoint")
	}
	origin.commit(1) // late
	// The first fork dies and comes back; the others' files are none of its business.
	again, err := openIn(t, ids[1], dir, 2, 3, snapshots[1])
	if err != nil {
		t.Fatal(err)
	}
	forks[1] = again
	for _, f := range forks {
		f.commit(2)
	}
	lines, _ := finished(t, dir)
	slices.Sort(lines)
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("published %q, want %q", lines, want)
	}
}

// TestForksPublishTogether: several jobs publish what one savepoint names at the same time.
func TestForksPublishTogether(t *testing.T) {
	for range 5 {
		dir := t.TempDir()
		origin := mustOpen(t, dir, 1, 1, nil, RollSize(1))
		var want []string
		for n := range 10 {
			line := fmt.Sprintf("line %02d", n)
			origin.write(0, line)
			if err := origin.writers[0].flush(); err != nil {
				t.Fatal(err)
			}
			want = append(want, line)
		}
		from := origin.prepare(1)
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				if _, err := openIn(t, fmt.Sprintf("%012x%020x", n+1, 0), dir, 1, 2, from); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		lines, _ := finished(t, dir)
		slices.Sort(lines)
		if !slices.Equal(lines, want) {
			t.Fatalf("published %q, want %q", lines, want)
		}
	}
}
