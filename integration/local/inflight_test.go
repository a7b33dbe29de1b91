package local

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/weirtest"
)

// What becomes of records in flight: an unaligned checkpoint, of which it is sure that it has
// some on every input, is restored at other parallelisms, in programs that have been changed.

// tally counts by key, slowly if it is to have records in flight, and says how often.
type tally struct {
	slow bool
	n    *weir.Value[int]
}

func newTally(env *weir.Env) func(s *weir.Setup) *tally {
	slow := env.Param("SLOW") != ""
	return func(s *weir.Setup) *tally { return &tally{slow, s.Value[int]("n")} }
}

func (p *tally) Process(c *weir.Ctx[string], _ string, out *weir.Collector[string]) error {
	if p.slow {
		<-time.After(slowly)
	}
	n, _ := p.n.Get()
	p.n.Set(n + 1)
	out.Emit(fmt.Sprintf("%s %d", c.Key(), n+1))
	return nil
}

func (p *tally) ProcessLeft(c *weir.Ctx[string], v string, out *weir.Collector[string]) error {
	return p.Process(c, v, out)
}

func (p *tally) ProcessRight(c *weir.Ctx[string], v string, out *weir.Collector[string]) error {
	return p.Process(c, v, out)
}

// slowly is so long that the input outlasts the checkpoints by far, on a busy machine too.
const slowly = 5 * time.Millisecond

const (
	inKeys    = 23
	inRecords = 3000 // of each source
)

// keyOf is the key of a record: the word before the blank.
func keyOf(v string) string { k, _, _ := strings.Cut(v, " "); return k }

func recordsOf(source string) (all []string) {
	for i := range inRecords {
		all = append(all, fmt.Sprintf("k%02d %s%d", i*i%inKeys, source, i))
	}
	return all
}

// ins is a snapshot of a job that reads some of the sources a, b and c to their ends.
type ins struct {
	*weirtest.Savepoint
	committed []*[]string    // by job: to whom results are delivered, when they are
	times     map[string]int // that each source's records are counted
}

// sources are those of the job. While they are open there are checkpoints before the last one.
func (s ins) sources(t *testing.T, open bool) (all []weirtest.Option) {
	for uid := range s.times {
		feed := weirtest.NewFeed(t, recordsOf(uid)...)
		if !open {
			feed.End()
		}
		all = append(all, weirtest.ReplaceSource(uid, feed))
	}
	return all
}

// taken runs build slowly until it has a checkpoint with records in flight on each of so many
// inputs of each of the operators.
func (s ins) taken(t *testing.T, build func(*weir.Env) error, inputs map[string]int) ins {
	t.Helper()
	var committed []string
	j := weirtest.Run(t, build, append(s.sources(t, true), weirtest.Capture("out", &committed), weirtest.Environ("SLOW", "1"), weirtest.Slots(4),
		weirtest.Setting("execution.checkpointing.aligned-checkpoint-timeout", "0ms"))...)
	j.AwaitCheckpoint(2)
	s.Savepoint, s.committed = j.Retained(), []*[]string{&committed}
	sp, err := savepoint.Open(t.Context(), s.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	found := map[string]uint64{}
	for _, op := range sp.Metadata().Operators {
		for _, sub := range op.Subtasks {
			for _, c := range sub.ChannelStates {
				found[fmt.Sprintf("%s %d", op.Uid, c.Input)] += c.Records
			}
		}
	}
	for uid, n := range inputs {
		for i := range n {
			if found[fmt.Sprintf("%s %d", uid, i)] == 0 {
				t.Fatalf("nothing is in flight on input %d of %s: %v", i, uid, found)
			}
		}
	}
	return s
}

// counted demands that what has been committed before and after is each count of each key
// once.
func (s ins) counted(t *testing.T, build func(*weir.Env) error, with ...weirtest.Option) {
	t.Helper()
	var more []string
	weirtest.Run(t, build, append(append(s.sources(t, false), weirtest.From(s.Savepoint), weirtest.Capture("out", &more), weirtest.Slots(8)), with...)...).Wait()
	count := map[string]int{}
	var want []string
	for uid, times := range s.times {
		for _, v := range recordsOf(uid) {
			for range times {
				count[keyOf(v)]++
				want = append(want, fmt.Sprintf("%s %d", keyOf(v), count[keyOf(v)]))
			}
		}
	}
	got := more
	for _, before := range s.committed {
		got = append(got, *before...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%d results, want %d: %.1000s", len(got), len(want), d)
	}
}

// TestInFlight: topologies with several inputs. Records in flight go to whoever has their keys
// now, once each, by the input on which they were.
func TestInFlight(t *testing.T) {
	from := func(env *weir.Env, uid string) *weir.Stream[string] { return env.From(uid, nil2[string]()) }
	for name, c := range map[string]struct {
		times  map[string]int
		inputs map[string]int
		build  func(env *weir.Env) *weir.Stream[string]
	}{
		"union": {map[string]int{"a": 1, "b": 1, "c": 1}, map[string]int{"n": 3}, func(env *weir.Env) *weir.Stream[string] {
			return from(env, "a").Union(from(env, "b"), from(env, "c")).KeyBy(keyOf).Process("n", newTally(env))
		}},
		"self-union": {map[string]int{"a": 2}, map[string]int{"n": 2}, func(env *weir.Env) *weir.Stream[string] {
			a := from(env, "a")
			return a.Union(a).KeyBy(keyOf).Process("n", newTally(env))
		}},
		"self-union among others": {map[string]int{"a": 2, "b": 1}, map[string]int{"n": 3}, func(env *weir.Env) *weir.Stream[string] {
			a := from(env, "a")
			return a.Union(from(env, "b"), a).KeyBy(keyOf).Process("n", newTally(env))
		}},
		"two keyed inputs": {map[string]int{"a": 1, "b": 1}, map[string]int{"n": 2}, func(env *weir.Env) *weir.Stream[string] {
			return from(env, "a").KeyBy(keyOf).Connect("n", from(env, "b").KeyBy(keyOf), newTally(env))
		}},
		"one stream on two inputs": {map[string]int{"a": 2}, map[string]int{"n": 2}, func(env *weir.Env) *weir.Stream[string] {
			a := from(env, "a")
			return a.KeyBy(keyOf).Connect("n", a.KeyBy(keyOf), newTally(env))
		}},
		"union on one of two inputs": {map[string]int{"a": 1, "b": 1, "c": 1}, map[string]int{"n": 3}, func(env *weir.Env) *weir.Stream[string] {
			return from(env, "a").Union(from(env, "b")).KeyBy(keyOf).Connect("n", from(env, "c").KeyBy(keyOf), newTally(env))
		}},
		"behind a rebalance": {map[string]int{"a": 1}, map[string]int{"n": 1}, func(env *weir.Env) *weir.Stream[string] {
			return from(env, "a").Rebalance().Map("self", weir.Self).KeyBy(keyOf).Process("n", newTally(env))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			build := func(env *weir.Env) error {
				c.build(env).To("out", sink{})
				return nil
			}
			s := ins{times: c.times}.taken(t, build, c.inputs)
			for i, parallelism := range []string{"1", "2", "3"} {
				s.counted(t, build, weirtest.Setting("parallelism.default", parallelism), weirtest.Setting("state.backend.type", []string{"heap", "pebble"}[i%2]))
			}
		})
	}
}

// TestInFlightIsRestoredAgain: checkpoints that overtake records which were in flight before,
// and of which the next job is started, at another parallelism each time: what has been
// waiting for three jobs is counted once.
func TestInFlightIsRestoredAgain(t *testing.T) {
	build := func(env *weir.Env) error {
		a := env.From("a", nil2[string]())
		a.Union(a).KeyBy(keyOf).Process("n", newTally(env)).To("out", sink{})
		return nil
	}
	s := ins{times: map[string]int{"a": 2}}.taken(t, build, map[string]int{"n": 2})
	for _, parallelism := range []string{"3", "1"} {
		var more []string
		j := weirtest.Run(t, build, append(s.sources(t, true), weirtest.From(s.Savepoint), weirtest.Capture("out", &more), weirtest.Environ("SLOW", "1"), weirtest.Slots(4),
			weirtest.Setting("parallelism.default", parallelism), weirtest.Setting("execution.checkpointing.aligned-checkpoint-timeout", "0ms"))...)
		j.AwaitCheckpoint(1)
		s.Savepoint = j.Retained()
		s.committed = append(s.committed, &more)
		if n := inFlight(describe(t, s.Path)); n == 0 {
			t.Fatalf("nothing is in flight of the job with parallelism %s", parallelism)
		}
	}
	s.counted(t, build, weirtest.Setting("parallelism.default", "2"))
}

// TestRepartitioned: what flows to an existing operator is divided in another way. Records in
// flight go the new way; where there is none, the start is refused by the operators' names,
// before anything has begun.
func TestRepartitioned(t *testing.T) {
	balanced := func(env *weir.Env) error {
		slow := env.Param("SLOW") != ""
		env.From("a", nil2[string]()).Rebalance().Map("keys", func(v string) string {
			if slow {
				<-time.After(slowly)
			}
			return v
		}).KeyBy(keyOf).Process("n", newTally(env)).To("out", sink{})
		return nil
	}
	keyed := func(env *weir.Env) error { // "keys" has a key now
		env.From("a", nil2[string]()).KeyBy(keyOf).Process("keys", func(*weir.Setup) *pass { return &pass{} }).
			KeyBy(keyOf).Process("n", newTally(env)).To("out", sink{})
		return nil
	}
	chained := func(env *weir.Env) error {
		env.From("a", nil2[string]()).Map("keys", weir.Self).KeyBy(keyOf).Process("n", newTally(env)).To("out", sink{})
		return nil
	}
	between := func(env *weir.Env) error {
		env.From("a", nil2[string]()).Map("new", weir.Self, weir.Parallelism(1)).Rebalance().Map("keys", weir.Self).
			KeyBy(keyOf).Process("n", newTally(env)).To("out", sink{})
		return nil
	}
	s := ins{times: map[string]int{"a": 1}}.taken(t, balanced, map[string]int{"keys": 1})
	s.counted(t, balanced, weirtest.Setting("parallelism.default", "3"))
	s.counted(t, keyed)
	s.counted(t, keyed, weirtest.Setting("parallelism.default", "3"))
	for name, c := range map[string]struct {
		build func(*weir.Env) error
		words []string
	}{
		"chained": {chained, []string{`"a"`, `"keys"`, "chained"}},
		"between": {between, []string{`"a"`, `"keys"`, "gets none"}},
	} {
		var none []string
		err := weirtest.Refused(t, c.build, append(s.sources(t, false), weirtest.From(s.Savepoint), weirtest.Capture("out", &none), weirtest.Slots(8))...)
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: refused: %v; it does not say %s", name, err, w)
			}
		}
	}
}

// pass hands on.
type pass struct{}

func (*pass) Process(_ *weir.Ctx[string], v string, out *weir.Collector[string]) error {
	out.Emit(v)
	return nil
}

// TestKeyOfFlightChanged: the program takes another part of a record for its key. A record in
// flight lies with the old key's subtask and cannot be counted under the new one: the job says
// so, at once and for good, and the snapshot is as good as before. A savepoint has none.
func TestKeyOfFlightChanged(t *testing.T) {
	build := func(key func(string) string) func(env *weir.Env) error {
		return func(env *weir.Env) error {
			env.From("a", nil2[string]()).KeyBy(key).Process("n", newTally(env)).To("out", sink{})
			return nil
		}
	}
	s := ins{times: map[string]int{"a": 1}}.taken(t, build(keyOf), map[string]int{"n": 1})
	var none []string
	other := build(func(v string) string { return "other " + keyOf(v) })
	j := weirtest.Run(t, other, append(s.sources(t, false), weirtest.From(s.Savepoint), weirtest.Capture("out", &none))...)
	if cause := j.WaitFailed(); !strings.Contains(cause, `operator "n"`) || strings.Contains(cause, "at key") || !strings.Contains(cause, "has another key now") ||
		!strings.Contains(cause, "start from a savepoint") || len(none) > 0 {
		t.Errorf("cause %q, %d results", cause, len(none))
	}
	s.counted(t, build(keyOf))

	// With a savepoint, new keys begin at zero.
	feed := weirtest.NewFeed(t, "x 1", "x 2")
	var first, second []string
	j = weirtest.Run(t, build(keyOf), weirtest.ReplaceSource("a", feed), weirtest.Capture("out", &first))
	j.AwaitCaptured("out", 2)
	saved := j.Savepoint()
	j.Cancel()
	feed.Send("x 3")
	feed.End()
	weirtest.Run(t, other, weirtest.From(saved), weirtest.ReplaceSource("a", feed), weirtest.Capture("out", &second)).Wait()
	if d := cmp.Diff([]string{"other x 1"}, second); d != "" {
		t.Error(d)
	}
}
