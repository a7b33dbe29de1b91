package wal_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/wal"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/weirtest"
)

// table is another system: it takes a batch and its id in one transaction.
type table struct {
	mu      sync.Mutex
	rows    []string
	batches map[string]bool
	fail    func(b wal.Batch) error
}

func newTable() *table { return &table{batches: map[string]bool{}} }

func (t *table) open(*operator.Setup) (wal.Target[result], error) { return t, nil }

func (t *table) Committed(_ context.Context, b wal.Batch) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.batches[b.ID], nil
}

func (t *table) Write(_ context.Context, b wal.Batch, records iter.Seq[result]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		if err := t.fail(b); err != nil {
			return err
		}
	}
	var rows []string
	for r := range records {
		rows = append(rows, r.Text)
	}
	if len(rows) != int(b.Records) {
		return nil // what the sink must notice
	}
	t.rows, t.batches[b.ID] = append(t.rows, rows...), true
	return nil
}

func (t *table) sorted() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(slices.Values(t.rows))
}

type result struct {
	Text string
	N    int32
}

func results(from, to int) (all []result, texts []string) {
	for i := from; i < to; i++ {
		text := fmt.Sprintf("row %04d", i)
		all, texts = append(all, result{text, int32(i)}), append(texts, text)
	}
	return all, texts
}

// TestExactlyOnce: random checkpoints that complete, abort or are restored, at random
// parallelism; every row is in the table once, and no file stays.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			to := newTable()
			h := weirtest.Sink(t, wal.Sink(to.open, wal.FileSize(1+r.IntN(200))))
			all, want := results(0, 300)
			last, at := h.Snapshot(), 0
			h.Complete(last)
			for next := 0; next < len(all); {
				switch r.IntN(6) {
				case 0: // a checkpoint that completes
					last, at = h.Snapshot(), next
					h.Complete(last)
				case 1: // one that does not
					h.Snapshot()
				case 2: // one that completes, and nobody is told before the failure
					last, at = h.Snapshot(), next
					h.RestoreAt(1+r.IntN(4), last)
				case 3:
					next = at
					h.RestoreAt(1+r.IntN(4), last)
				default:
					for range min(r.IntN(40), len(all)-next) {
						h.Push(weirtest.Start, all[next])
						next++
					}
				}
			}
			h.Complete(h.Snapshot())
			h.Complete(h.Snapshot())
			if d := cmp.Diff(want, to.sorted()); d != "" {
				t.Errorf("%d rows: %.1000s", len(to.rows), d)
			}
			h.Restore(h.Snapshot()) // what died in between is swept
			h.Complete(h.Snapshot())
			if files := h.OwnedFiles(); len(files) > 0 {
				t.Errorf("files stay: %q", files)
			}
		})
	}
}

// TestNothingBeforeCompletion: what no completed checkpoint covers is not written.
func TestNothingBeforeCompletion(t *testing.T) {
	to := newTable()
	h := weirtest.Sink(t, wal.Sink(to.open))
	all, want := results(0, 10)
	for _, v := range all[:5] {
		h.Push(weirtest.Start, v)
	}
	s := h.Snapshot()
	for _, v := range all[5:] {
		h.Push(weirtest.Start, v)
	}
	h.Snapshot() // aborted: carried on
	if len(to.rows) > 0 {
		t.Fatalf("written: %q", to.rows)
	}
	h.Complete(s)
	if d := cmp.Diff(want[:5], to.sorted()); d != "" {
		t.Error(d)
	}
	h.Complete(h.Snapshot())
	if d := cmp.Diff(want, to.sorted()); d != "" {
		t.Error(d)
	}
	if n := len(to.batches); n != 2 {
		t.Errorf("%d batches", n)
	}
}

// evolved is result in a later version of the program.
type evolved struct {
	N    int64
	Text string `weir:"was=Text"`
	More string
}

type evolvedTable struct{ got []evolved }

func (t *evolvedTable) Committed(context.Context, wal.Batch) (bool, error) { return false, nil }

func (t *evolvedTable) Write(_ context.Context, _ wal.Batch, records iter.Seq[evolved]) error {
	t.got = slices.AppendSeq(t.got, records)
	return nil
}

// TestEvolution: a batch that the old program has logged is written by the new one.
func TestEvolution(t *testing.T) {
	h := weirtest.Sink(t, wal.Sink(newTable().open))
	h.Push(weirtest.Start, result{"a", 1})
	s := h.Snapshot()
	to := &evolvedTable{}
	g := weirtest.Sink(t, wal.Sink(func(*operator.Setup) (wal.Target[evolved], error) { return to, nil }))
	g.Restore(s)
	if d := cmp.Diff([]evolved{{1, "a", ""}}, to.got); d != "" {
		t.Error(d)
	}
}

// job writes numbers to a target that the test has made.
func job(n int, to *table) func(env *weir.Env) error {
	return func(env *weir.Env) error {
		all, _ := results(0, n)
		feed := weirtest.NewFeed(nil, all...)
		feed.End()
		env.From("rows", feed).To("table", wal.Sink(to.open, wal.FileSize(256)))
		return nil
	}
}

// TestJob: on a cluster, with a TaskManager lost and a target that fails now and then.
func TestJob(t *testing.T) {
	to := newTable()
	failures := 0
	to.fail = func(b wal.Batch) error {
		if failures++; failures%3 == 1 {
			return errors.New("connection reset")
		}
		return nil
	}
	_, want := results(0, 2000)
	feed := weirtest.NewFeed[result](t)
	j := weirtest.Run(t, job(0, to), weirtest.TaskManagers(2), weirtest.ReplaceSource("rows", feed))
	for i := range 20 {
		all, _ := results(100*i, 100*i+100)
		feed.Send(all...)
		j.AwaitCheckpoint(1)
		if i == 10 {
			j.KillTaskManager(0)
		}
	}
	feed.End()
	if r := j.Wait(); r.Restarts == 0 {
		t.Error("nothing failed")
	}
	if d := cmp.Diff(want, to.sorted()); d != "" {
		t.Errorf("%d rows: %.1000s", len(to.rows), d)
	}
}

// TestLost: a batch that is nowhere any more fails the job, for good.
func TestLost(t *testing.T) {
	to := newTable()
	feed := weirtest.NewFeed[result](t, result{"a", 1})
	broken := true
	to.fail = func(wal.Batch) error {
		if broken {
			return errors.New("down")
		}
		return nil
	}
	j := weirtest.Run(t, job(0, to), weirtest.ReplaceSource("rows", feed), weirtest.Setting("restart-strategy.type", "none"))
	j.WaitFailed()
	s := j.LastCheckpoint()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(s.Path), "taskowned", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %q, %v", files, err)
	}
	to.mu.Lock()
	broken = false
	to.mu.Unlock()
	for _, f := range files {
		if err := os.Rename(f, f+".away"); err != nil {
			t.Fatal(err)
		}
	}
	j = weirtest.Run(t, job(0, to), weirtest.From(s), weirtest.ReplaceSource("rows", feed))
	if cause := j.WaitFailed(); !strings.Contains(cause, "its results are gone, and the target does not have them") {
		t.Errorf("cause %q", cause)
	}
	for _, f := range files {
		if err := os.Rename(f+".away", f); err != nil {
			t.Fatal(err)
		}
	}
	// A copy of the checkpoint has the batch with it.
	moved := filepath.Join(t.TempDir(), "moved")
	if _, err := savepoint.Copy(t.Context(), s.Path, moved, metapb.SnapshotType_SNAPSHOT_TYPE_CANONICAL); err != nil {
		t.Fatal(err)
	}
	if v, err := savepoint.Verify(t.Context(), moved); err != nil || len(v.Problems) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	flip(t, moved)
	if v, err := savepoint.Verify(t.Context(), moved); err != nil || len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Error(), `operator "table"`) {
		t.Fatalf("damaged: %+v, %v", v, err)
	}
	flip(t, moved)
	if err := os.RemoveAll(filepath.Dir(s.Path)); err != nil {
		t.Fatal(err)
	}
	feed.End()
	weirtest.Run(t, job(0, to), weirtest.From(s.At(moved)), weirtest.ReplaceSource("rows", feed)).Wait()
	if d := cmp.Diff([]string{"a"}, to.sorted()); d != "" {
		t.Error(d)
	}
}

// flip changes a bit of the batch's file in a savepoint.
func flip(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.owned"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}
