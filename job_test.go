package weir

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/internal/jobtest"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// basket is a sink that keeps what checkpoints have committed, for a test. Commit is
// idempotent, as it must be: each item has a name.
type basket[T cmp.Ordered] struct {
	mu        sync.Mutex
	committed map[string]T // guarded by mu
}

// item is a record and a name that no other has.
type item[T any] struct {
	Name  string
	Value T
}

func (b *basket[T]) sorted() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Values(b.committed))
}

func (b *basket[T]) NewWriter(s *Setup) (Writer[T], error) {
	rt := s.Runtime()
	return &basketWriter[T]{
		b: b, pending: s.SplitList[item[T]]("pending"), count: s.Sum("count"),
		prefix: fmt.Sprintf("%s/%d/", rt.Attempt, rt.Subtask),
	}, nil
}

type basketWriter[T cmp.Ordered] struct {
	b       *basket[T]
	pending *OperatorList[item[T]]
	fresh   []item[T]
	count   *Sum
	prefix  string
	n       int
}

func (w *basketWriter[T]) Write(v T) error {
	w.n++
	w.fresh = append(w.fresh, item[T]{w.prefix + fmt.Sprint(w.n), v})
	w.count.Add(1)
	return nil
}

func (w *basketWriter[T]) Prepare(stream.CheckpointID) error {
	w.pending.Set(append(slices.Clone(w.pending.Get()), w.fresh...))
	w.fresh = nil
	return nil
}

func (w *basketWriter[T]) Commit(stream.CheckpointID) error {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	if w.b.committed == nil {
		w.b.committed = map[string]T{}
	}
	for _, i := range w.pending.Get() {
		w.b.committed[i.Name] = i.Value
	}
	w.pending.Set(nil)
	return nil
}

// held is a source that stops after two batches in its first incarnations, so that
// none of them comes to the end of the input.
type held[T any] struct {
	Source[T]
	incarnations int
}

func (h held[T]) NewReader(c *operator.SourceContext) (operator.Reader[T], error) {
	r, err := h.Source.NewReader(c)
	left := 2
	if int(c.Incarnation) > h.incarnations {
		left = math.MaxInt
	}
	return &heldReader[T]{r, left}, err
}

type heldReader[T any] struct {
	operator.Reader[T]
	left int // polls
}

func (h *heldReader[T]) Poll(b *stream.Batch[T]) (operator.Polled, error) {
	if h.left == 0 {
		return operator.Polled{Status: operator.PollWait}, nil
	}
	h.left--
	return h.Reader.Poll(b)
}

func runJob(t *testing.T, build func(*Env) error, parallelism, checkpoints []int) jobtest.Result {
	t.Helper()
	plan, newProgram, err := programOf(build, nil, nil, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return jobtest.Run(t, jobtest.Options{Plan: plan, Program: newProgram, Parallelism: parallelism, Checkpoints: checkpoints})
}

// scenarios are parallelisms and failures that no job may notice.
var scenarios = map[string]struct{ parallelism, checkpoints []int }{
	"alone":    {[]int{1}, nil},
	"parallel": {[]int{3}, nil},
	"crashes":  {[]int{2}, []int{1, 2, 1}},
	"rescales": {[]int{2, 3, 1}, []int{1, 1}},
}

func TestJobs(t *testing.T) {
	const n = 20_000
	for name, sc := range scenarios {
		t.Run("stateless/"+name, func(t *testing.T) {
			var got basket[string]
			runJob(t, func(env *Env) error {
				odd := env.From("numbers", held[uint64]{numbers(n), len(sc.checkpoints)}).Filter("odd", func(i uint64) bool { return !even(i) })
				env.From("few", numbers(4), Parallelism(1)).Rebalance().
					FlatMap("twice", func(i uint64, out *Collector[uint64]) error { out.Emit(i); out.Emit(i); return nil }).
					Union(odd).
					Map("text", func(i uint64) string { return fmt.Sprintf("%05d", i) }).
					To("basket", &got)
				return nil
			}, sc.parallelism, sc.checkpoints)
			var want []string
			for i := range n {
				if i < 4 {
					want = append(want, fmt.Sprintf("%05d", i), fmt.Sprintf("%05d", i))
				}
				if i%2 == 1 {
					want = append(want, fmt.Sprintf("%05d", i))
				}
			}
			slices.Sort(want)
			if d := gocmp.Diff(want, got.sorted()); d != "" {
				t.Errorf("(%d instead of %d): %.2000s", len(got.committed), len(want), d)
			}
		})
		t.Run("keyed/"+name, func(t *testing.T) { keyedJob(t, n, sc.parallelism, sc.checkpoints) })
	}
}

// keyedJob folds and reduces by key, every update and at the end.
func keyedJob(t *testing.T, n uint64, parallelism, checkpoints []int) {
	const keys = 101
	var last, updates, largest basket[string]
	r := runJob(t, func(env *Env) error {
		byKey := env.From("numbers", held[uint64]{numbers(int64(n)), len(checkpoints)}).KeyBy(func(i uint64) string { return fmt.Sprint("k", i%keys) })
		add := func(sum uint64, i uint64) uint64 { return sum + i }
		text := func(k string, sum uint64) string { return fmt.Sprint(k, "=", sum) }
		byKey.Fold("last", 0, add, text, AtEnd).To("last-basket", &last)
		byKey.Fold("updates", 0, func(c, _ uint64) uint64 { return c + 1 }, text).To("updates-basket", &updates)
		byKey.Reduce("largest", func(a, b uint64) uint64 { return max(a, b) }, AtEnd).
			Map("decimal", func(i uint64) string { return fmt.Sprint(i) }).To("largest-basket", &largest)
		return nil
	}, parallelism, checkpoints)
	var wantLast, wantUpdates, wantLargest []string
	for k := range uint64(keys) {
		var sum, count, most uint64
		for i := k; i < n; i += keys {
			sum, count, most = sum+i, count+1, i
			wantUpdates = append(wantUpdates, fmt.Sprintf("k%d=%d", k, count))
		}
		wantLast = append(wantLast, fmt.Sprintf("k%d=%d", k, sum))
		wantLargest = append(wantLargest, fmt.Sprint(most))
	}
	for _, w := range []struct {
		name string
		want []string
		got  *basket[string]
	}{{"last", wantLast, &last}, {"updates", wantUpdates, &updates}, {"largest", wantLargest, &largest}} {
		slices.Sort(w.want)
		if d := gocmp.Diff(w.want, w.got.sorted()); d != "" {
			t.Errorf("%s (%d instead of %d): %.2000s", w.name, len(w.got.committed), len(w.want), d)
		}
	}
	if r.Restores < len(checkpoints) {
		t.Errorf("%d of %d snapshots were restored before the end of the input", r.Restores, len(checkpoints))
	}
	for _, res := range r.Results {
		if want := uint64(len(wantLast) + len(wantUpdates) + len(wantLargest)); res.GetSum() != want {
			t.Errorf("result %v, want %d", res, want)
		}
	}
}

func TestErrorsNameTheOperator(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(uint64) error
		want string
	}{
		"error": {func(uint64) error { return errors.New("boom") }, "boom"},
		"panic": {func(i uint64) error { panic("boom") }, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, newProgram, err := programOf(func(env *Env) error {
				env.From("numbers", numbers(100)).Map("same", func(i uint64) uint64 { return i }).
					FlatMap("bad", func(i uint64, out *Collector[uint64]) error {
						if i == 42 {
							return c.fail(i)
						}
						out.Emit(i)
						return nil
					}).
					Map("after", func(i uint64) uint64 { return i }).To("basket", &basket[uint64]{})
				return nil
			}, nil, nil, func(string) string { return "" })
			if err != nil {
				t.Fatal(err)
			}
			err = jobtest.Err(t, jobtest.Options{Plan: plan, Program: newProgram, Parallelism: []int{2}})
			if err == nil || !strings.Contains(err.Error(), `operator "bad"`) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("failed with %v", err)
			}
		})
	}
}

// TestChainDoesNotAllocate: map-filter-map costs no allocation for a record.
func TestChainDoesNotAllocate(t *testing.T) {
	const n = 1 << 20
	var sink drain[[4]uint64]
	allocs := testing.AllocsPerRun(1, func() {
		runJob(t, func(env *Env) error {
			env.From("numbers", numbers(n)).
				Map("wide", func(i uint64) [4]uint64 { return [4]uint64{i, i, i, i} }).
				Filter("some", func(v [4]uint64) bool { return v[0]%3 != 0 }).
				Map("sum", func(v [4]uint64) [4]uint64 { v[0] += v[1]; return v }).
				To("drain", &sink)
			return nil
		}, []int{1}, nil)
	})
	if allocs > n/200 { // batches and what surrounds the job
		t.Errorf("%g allocations for %d records", allocs, n)
	}
}

// drain is a sink that forgets.
type drain[T any] struct{}

func (*drain[T]) NewWriter(*Setup) (Writer[T], error) { return drainWriter[T]{}, nil }

type drainWriter[T any] struct{}

func (drainWriter[T]) Write(T) error { return nil }
