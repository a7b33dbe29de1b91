package nexmark

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/jobtest"
	"github.com/weirstream/weir/weirtest"
)

// small has enough event time in few events for windows of 10 s, people who come back after
// a pause, and auctions that are closed.
func small() Config {
	c := Default()
	c.Rate, c.OutOfOrder, c.ActivePeople, c.InFlight, c.SideInputRows = 100, 40, 50, 20, 30
	return c
}

// sums counts results and adds their checksums up.
type sums[R any] struct{ word func(R) uint64 }

func (s sums[R]) NewWriter(setup *weir.Setup) (weir.Writer[R], error) {
	return &sumWriter[R]{s.word, setup.Sum("results"), setup.Sum("checksum")}, nil
}

type sumWriter[R any] struct {
	word              func(R) uint64
	results, checksum *weir.Sum
}

func (w *sumWriter[R]) Write(v R) error {
	w.results.Add(1)
	w.checksum.Add(w.word(v))
	return nil
}

type result interface{ Checksum() uint64 }

// trial is a query with its plain program.
type trial struct {
	name  string
	sums  func(in *input) (results, checksum uint64) // of the plain program
	build func(c Config, n int64) func(env *weir.Env) error
	kill  func(t *testing.T, backend string, in *input)
}

func trialOf[R result](name string, query func(*weir.Env, Config, *weir.Stream[Event]) *weir.Stream[R], plain func(*input) []R) trial {
	build := func(c Config, n int64) func(env *weir.Env) error {
		return func(env *weir.Env) error {
			query(env, c, Events(env, c, n)).To("sums", sums[R]{R.Checksum})
			return nil
		}
	}
	return trial{
		name: name, build: build,
		sums: func(in *input) (results, checksum uint64) {
			for _, r := range plain(in) {
				results++
				checksum += r.Checksum()
			}
			return results, checksum
		},
		kill: func(t *testing.T, backend string, in *input) {
			compare(t, killed[R](t, backend, in, build(in.config, 0)), plain(in))
		},
	}
}

// simple is a query on the events alone.
func simple[R result](query func(*weir.Stream[Event]) *weir.Stream[R]) func(*weir.Env, Config, *weir.Stream[Event]) *weir.Stream[R] {
	return func(_ *weir.Env, _ Config, events *weir.Stream[Event]) *weir.Stream[R] { return query(events) }
}

var trials = []trial{
	trialOf("q0", simple(Q0), plain0),
	trialOf("q1", simple(Q1), plain1),
	trialOf("q2", simple(Q2), plain2),
	trialOf("q3", simple(Q3), plain3),
	trialOf("q4", simple(Q4), plain4),
	trialOf("q5", simple(Q5), plain5),
	trialOf("q6", simple(Q6), plain6),
	trialOf("q7", simple(Q7), plain7),
	trialOf("q8", simple(Q8), plain8),
	trialOf("q9", simple(Q9), plain9),
	trialOf("q11", simple(Q11), plain11),
	trialOf("q13", func(env *weir.Env, c Config, events *weir.Stream[Event]) *weir.Stream[SidedBid] {
		return Q13(events, SideInput(env, c), c.SideInputRows)
	}, plain13),
}

// killed runs a query on the events of in, and loses a TaskManager twice in between.
func killed[R any](t *testing.T, backend string, in *input, build func(*weir.Env) error) (got []R) {
	t.Helper()
	third := len(in.events) / 3
	feed := weirtest.NewFeed(t, in.events[:third]...)
	j := weirtest.Run(t, build, weirtest.TaskManagers(2), weirtest.Setting("state.backend.type", backend),
		weirtest.ReplaceSource("events", feed), weirtest.Capture("sums", &got))
	for _, next := range [][]Event{in.events[third : 2*third], in.events[2*third:]} {
		j.AwaitCheckpoint(2)
		j.KillTaskManager(0)
		j.AddTaskManager()
		feed.Send(next...)
	}
	feed.End()
	if r := j.Wait(); r.Restarts < 2 || r.RestoredFrom == 0 {
		t.Errorf("%d restarts, the last from checkpoint %d", r.Restarts, r.RestoredFrom)
	}
	return got
}

// compare fails unless got and want are the same results, in any order.
func compare[R result](t *testing.T, got, want []R) {
	t.Helper()
	byChecksum := func(a, b R) int { return cmp.Compare(a.Checksum(), b.Checksum()) }
	got, want = slices.Clone(got), slices.Clone(want)
	slices.SortFunc(got, byChecksum)
	slices.SortFunc(want, byChecksum)
	if len(want) < 10 {
		t.Errorf("only %d results are expected: this shows little", len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i].Checksum() != want[i].Checksum() {
			t.Errorf("%d results, want %d; in the order of their checksums number %d is %s, want %s",
				len(got), len(want), i, show(got[i]), show(want[i]))
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d results, want %d", len(got), len(want))
	}
}

func show(v any) string {
	if e, ok := v.(Event); ok && e.Person != nil {
		return fmt.Sprintf("%+v", *e.Person)
	} else if ok && e.Auction != nil {
		return fmt.Sprintf("%+v", *e.Auction)
	}
	return fmt.Sprintf("%+v", v)
}

// TestQueriesUnderKills: every query comes to what the plain program does, result by result,
// though TaskManagers are lost in between.
func TestQueriesUnderKills(t *testing.T) {
	in := read(small(), 12_000)
	for _, q := range trials {
		for _, backend := range []string{"heap", "pebble"} {
			t.Run(q.name+"/"+backend, func(t *testing.T) { q.kill(t, backend, in) })
		}
	}
}

// TestChecksums: the sums don't depend on the parallelism, nor on how often the job is given
// up and restored at another one. The source is the generator's.
func TestChecksums(t *testing.T) {
	const n = 30_000
	in := read(small(), n)
	for _, q := range trials {
		for name, sc := range map[string]struct{ parallelism, checkpoints []int }{
			"alone": {[]int{1}, nil}, "rescaled": {[]int{2, 3, 1, 2}, []int{2, 2, 2}},
		} {
			t.Run(q.name+"/"+name, func(t *testing.T) {
				plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, q.build(in.config, n))
				if err != nil {
					t.Fatal(err)
				}
				r := jobtest.Run(t, jobtest.Options{Plan: plan, Program: program, Parallelism: sc.parallelism, Checkpoints: sc.checkpoints})
				got := map[string]uint64{}
				for _, v := range r.Results {
					got[v.Name] = v.GetSum()
				}
				results, checksum := q.sums(in)
				if got["results"] != results || got["checksum"] != checksum {
					t.Errorf("%d results with checksum %016x, want %d with %016x", got["results"], got["checksum"], results, checksum)
				}
				t.Logf("%d restores in the middle", r.Restores)
			})
		}
	}
}

// TestKnownSums: the sums that docs/bench.md lists are those of the plain programs.
func TestKnownSums(t *testing.T) {
	want := map[string][2]uint64{
		"q0":  {100000, 0xfcf9d92a4ac53c35},
		"q1":  {92000, 0xdb71268ee8392e53},
		"q2":  {362, 0xef33119b29d52a4f},
		"q3":  {729, 0x61df0b642d9a4dca},
		"q4":  {20, 0xb285573ca60e10c5},
		"q5":  {9, 0x94a0777506ec4579},
		"q6":  {3839, 0x811a79756f06e47b},
		"q7":  {1, 0x52580b9683967351},
		"q8":  {6000, 0x1226ba9a82f35f6d},
		"q9":  {3839, 0xdd5ff62d55a3a31e},
		"q11": {1924, 0x53995a10f6857a34},
		"q13": {92000, 0xafd30aef0a66221a},
	}
	in := read(Default(), 100_000)
	for _, q := range trials {
		if results, checksum := q.sums(in); [2]uint64{results, checksum} != want[q.name] {
			t.Errorf("%s: %d results with checksum %016x, want %d with %016x", q.name, results, checksum, want[q.name][0], want[q.name][1])
		}
	}
}

// TestQ12: by the wall clock windows fall as they may; what adds up is how many bids
// somebody made, and the checksum says just that.
func TestQ12(t *testing.T) {
	in := read(small(), 12_000)
	want := map[uint64]uint64{}
	var checksum uint64
	for _, b := range in.bids {
		want[b.Bidder]++
		checksum += BidderCount{Bidder: b.Bidder, Bids: 1}.Checksum()
	}
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			counts := killed[BidderCount](t, backend, in, func(env *weir.Env) error {
				Q12(Events(env, in.config, 0)).To("sums", sums[BidderCount]{BidderCount.Checksum})
				return nil
			})
			got := map[uint64]uint64{}
			var sum uint64
			for _, c := range counts {
				if got[c.Bidder] += c.Bids; c.Start%10_000 != 0 {
					t.Fatalf("%+v is of no window of 10 s", c)
				}
				sum += c.Checksum()
			}
			for bidder, n := range want {
				if got[bidder] != n {
					t.Errorf("bidder %d has %d bids, want %d", bidder, got[bidder], n)
				}
			}
			if len(got) != len(want) || sum != checksum {
				t.Errorf("%d bidders, checksum %016x; want %d and %016x", len(got), sum, len(want), checksum)
			}
		})
	}
}
