package task

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/exchange"
)

// counter counts records by key and emits each key's count at its end, or when a
// timer set by the key's first record fires.
type counter struct {
	count *table.Value[int]
	cur   *operator.KeyCursor[int]
	rt    *operator.Runtime
	out   *operator.Collector[int]
	delay time.Duration // of timers; 0: none
	keys  int           // how many there are
	step  int           // bundle at which EndOfInputStep is
}

func (c *counter) ReceiveKeyed(hash uint64, v int) {
	c.rt.Operator = 0
	if !c.cur.Set(hash, v%c.keys) {
		return
	}
	n, seen := c.count.Get()
	c.count.Set(n + 1)
	if !seen && c.delay > 0 {
		ctx := c.cur.Ctx()
		ctx.ProcessingTimerAt(ctx.ProcessingTime().Add(c.delay))
	}
}

func (c *counter) onTimer(t table.Timer, d operator.TimeDomain) error {
	if err := c.cur.SetTimer(t, d); err != nil {
		return err
	}
	n, _ := c.count.Get()
	c.out.Emit(c.cur.Ctx().Key()*1000 + n)
	return nil
}

func (c *counter) EndOfInputStep() (bool, error) {
	if c.delay > 0 {
		return true, nil
	}
	err := c.count.Each(c.step, func(k table.Key, n int) error {
		if err := c.cur.SetKey(k); err != nil {
			return err
		}
		c.out.Emit(c.cur.Ctx().Key()*1000 + n)
		return nil
	})
	c.step++
	return c.step == c.count.Bundles(), err
}

func newCounter(s *operator.Setup, keys int, delay time.Duration) *counter {
	c := &counter{count: s.Value[int]("count"), keys: keys, delay: delay}
	if delay > 0 {
		s.Timers()
		s.EventTimers()
	}
	return c
}

// countRig is sources → count by key → sink, each of the given parallelism.
func countRig(t testing.TB, src func(r *rig) int, parallelism, keys int, delay time.Duration) (*rig, *events) {
	r, log := newRig(t), &events{}
	from := src(r)
	info := operator.KeyInfoOf(intKey)
	op := r.add("count", transformKind, parallelism, func(l *Linker) error {
		s := l.Setup(info)
		c := newCounter(s, keys, delay)
		if delay > 0 {
			l.OnTimer(c.onTimer)
		}
		c.cur, c.rt, c.out = operator.NewKeyCursor(s, intKey, delay > 0), l.Runtime(), Out[int](l)
		InKeyed(l, operator.KeyedReceiver[int](c))
		l.Lifecycle(c)
		return nil
	})
	s := operator.PlanSetup("count", info)
	newCounter(s, keys, delay)
	r.declare(op, s)
	r.from(op, from, hash, keyedEdge(t, func(v int) int { return v % keys }))
	r.sink("sink", op, forward, parallelism, nil, log)
	return r, log
}

// TestKeyed runs a bounded job with checkpoints and restarts at random moments: the
// counts are exact.
func TestKeyed(t *testing.T) {
	const n = 200_000
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				r, _ := countRig(t, func(r *rig) int {
					src := generator.Range(n, func(i uint64) int { return int(i) }, generator.Rate(1e5))
					op := r.add("src", sourceKind, 2, func(l *Linker) error { return FromReader[int](l, src) })
					s := operator.PlanSetup("src", operator.KeyInfo{})
					s.Splits()
					r.declare(op, s)
					return op
				}, 3, 10, 0)
				r.deploy(0, nil)
				id := stream.CheckpointID(0)
				for range 6 {
					time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
					id++
					r.inject(id, stream.CheckpointBarrier)
					if random.IntN(2) == 0 {
						r.completed(id, false)
						continue
					}
					id++ // overtakes nothing: both complete
					r.inject(id, stream.CheckpointBarrier)
					from := r.restoredFrom(id)
					time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
					r.stop()
					r.deploy(id, from)
				}
				for r.reports.ended() < 2 {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
				}
				id++
				r.inject(id, stream.TerminalBarrier)
				var got []int
				for _, a := range r.reports.acked(id) {
					got = append(got, listOf(t, a, "sink")...)
				}
				slices.Sort(got)
				var want []int
				for k := range 10 {
					want = append(want, k*1000+n/10)
				}
				equal(t, "counts", got, want...)
				r.completed(id, true)
				r.running.Wait()
				for s, err := range r.results {
					if err != nil {
						t.Errorf("%v: %v", s, err)
					}
				}
			})
		})
	}
}

// A timer fires once, at its time, also when the attempt that set it is gone.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &feed{}
		r, _ := countRig(t, func(r *rig) int { return r.source("src", 1, f) }, 1, 10, time.Minute)
		r.deploy(0, nil)
		f.put(0, 3, 13, 23)
		time.Sleep(30 * time.Second)
		f.put(0, 4)
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		from := r.restoredFrom(1)
		r.stop()
		r.deploy(1, from)
		check := func(id stream.CheckpointID, want ...int) {
			t.Helper()
			r.inject(id, stream.CheckpointBarrier)
			for _, a := range r.reports.acked(id) {
				if a.Operators[0].Uid == "count" {
					equal(t, id.String(), listOf(t, a, "sink"), want...)
				}
			}
		}
		time.Sleep(30*time.Second - time.Millisecond)
		check(2)
		time.Sleep(time.Millisecond)
		check(3, 3003)
		time.Sleep(time.Hour)
		check(4, 3003, 4001)
		r.stop()
	})
}

// A record at the subtask of another key fails the job, by name.
func TestKeySelector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &feed{}
		r, _ := countRig(t, func(r *rig) int { return r.source("src", 1, f) }, 2, 10, 0)
		calls := 0
		r.inputs[1][0] = keyedEdge(t, func(int) int { calls++; return calls })
		r.deploy(0, nil)
		f.put(0, 5, 5, 5, 5, 5, 5)
		synctest.Wait()
		r.stop()
		failed := 0
		for _, s := range r.reports.statuses {
			if s.Failure != "" {
				failed++
				if !s.Fatal || !strings.Contains(s.Failure, `operator "count"`) || !strings.Contains(s.Failure, "not deterministic") {
					t.Errorf("failure %q, fatal %t", s.Failure, s.Fatal)
				}
			}
		}
		if failed == 0 {
			t.Error("nothing failed")
		}
	})
}

// splitSource hands out the numbers 0 … splits−1 as splits of size records each.
type splitSource struct{ splits, burst, size int }

func (s splitSource) NewReader(*operator.SourceContext) (operator.Reader[int], error) {
	return &splitReader{burst: s.burst, size: s.size}, nil
}

func (s splitSource) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) {
	return &splitEnumerator{left: s.splits}, nil
}

type splitEnumerator struct{ left int }

func (e *splitEnumerator) Start(state [][]byte, _ func()) error {
	if len(state) == 1 {
		_, err := fmt.Sscan(string(state[0]), &e.left)
		return err
	}
	return nil
}

func (e *splitEnumerator) Next(_, _, want int) (splits [][]byte, none bool, err error) {
	for ; want > 0 && e.left > 0; want-- {
		e.left--
		splits = append(splits, fmt.Append(nil, e.left, 0))
	}
	return splits, e.left == 0, nil
}

func (e *splitEnumerator) Snapshot(dst [][]byte) ([][]byte, error) {
	return append(dst, fmt.Append(nil, e.left)), nil
}
func (e *splitEnumerator) Close() error { return nil }

type splitReader struct {
	burst  int      // records a poll
	size   int      // records a split
	splits [][2]int // number, records read
	noMore bool
}

func (r *splitReader) Start(splits [][]byte, _ func()) error { return r.AddSplits(splits) }

func (r *splitReader) AddSplits(splits [][]byte) error {
	for _, s := range splits {
		var one [2]int
		if _, err := fmt.Sscan(string(s), &one[0], &one[1]); err != nil {
			return err
		}
		r.splits = append(r.splits, one)
	}
	return nil
}

func (r *splitReader) NoMoreSplits() error { r.noMore = true; return nil }

func (r *splitReader) Poll(b *stream.Batch[int]) (operator.Polled, error) {
	if len(r.splits) == 0 {
		if r.noMore {
			return operator.Polled{Status: operator.PollEnd}, nil
		}
		return operator.Polled{Status: operator.PollIdle}, nil
	}
	s := &r.splits[0]
	for range r.burst {
		b.Values = append(b.Values, s[0])
		if s[1]++; s[1] == r.size {
			r.splits = r.splits[1:]
			break
		}
	}
	if r.burst > 1 {
		return operator.Polled{Status: operator.PollMore}, nil
	}
	return operator.Polled{Status: operator.PollWait, Wake: time.Millisecond}, nil
}

func (r *splitReader) Snapshot(dst [][]byte) ([][]byte, error) {
	for _, s := range r.splits {
		dst = append(dst, fmt.Append(nil, s[0], s[1]))
	}
	return dst, nil
}
func (r *splitReader) Position() string { return "" }
func (r *splitReader) Close() error     { return nil }

// enumeratedRig is source with enumerator → sink over an edge or, if e is nil, chained.
func enumeratedRig(t *testing.T, splits, burst, size, parallelism int, e exchange.AnyEdge) *rig {
	r := newRig(t)
	en := r.add("src#splits", enumeratorKind, 1, func(l *Linker) error {
		return FromEnumerator(l, &splitEnumerator{left: splits})
	})
	src := r.add("src", sourceKind, parallelism, func(l *Linker) error { return FromReader[int](l, splitSource{splits, burst, size}) })
	for _, op := range []int{en, src} {
		s := operator.PlanSetup("", operator.KeyInfo{})
		s.Splits()
		r.declare(op, s)
	}
	r.from(src, en, direct, &exchange.Edge[operator.Assignment]{
		Codec:  must[codec.Codec[operator.Assignment]](t)(codec.For[operator.Assignment]()),
		Target: func(a operator.Assignment) int { return a.Reader },
	})
	d := forward
	if e != nil {
		d = rebalance
	}
	r.sink("sink", src, d, parallelism, e, &events{})
	return r
}

// Barriers come to a reader in band, also while its outputs have no room.
func TestEnumeratorBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := enumeratedRig(t, 100, 3, 3000, 1, intEdge(t))
		r.graph = must[*job.Graph](t)(job.NewGraph(r.plan, 1))
		r.deploy(0, nil, job.SubtaskID{Vertex: 2})
		time.Sleep(time.Hour)
		synctest.Wait()
		read := r.task("src", 0).Counters().RecordsIn
		if read == 0 || read == 300_000 || r.task("src", 0).room() {
			t.Fatalf("%d records were read: there is no back pressure", read)
		}
		r.inject(1, stream.CheckpointBarrier)
		if n := len(r.reports.acked(1)); n != 2 {
			t.Errorf("%d acks, want 2", n)
		}
		if c := r.task("src", 0).Counters(); c.RecordsIn != c.RecordsOut {
			t.Errorf("%d records lie before the barrier, %d were read", c.RecordsOut, c.RecordsIn)
		}
		r.stop()
	})
}

// Every split is read once, whatever moment the job is restored from.
func TestEnumerator(t *testing.T) {
	const splits = 40
	for _, pause := range []time.Duration{0, 1, 7, 20, 45, 200} {
		t.Run(pause.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := enumeratedRig(t, splits, 1, 3, 3, nil)
				r.deploy(0, nil)
				time.Sleep(pause * time.Millisecond)
				r.inject(1, stream.CheckpointBarrier)
				from := r.restoredFrom(1)
				time.Sleep(pause * time.Millisecond)
				r.stop()
				r.deploy(1, from)
				time.Sleep(time.Second)
				synctest.Wait()
				if r.reports.ended() != 3 {
					t.Fatalf("%d SourceEnded", r.reports.ended())
				}
				r.inject(2, stream.TerminalBarrier)
				times := make([]int, splits)
				for _, a := range r.reports.acked(2) {
					for _, v := range listOf(t, a, "sink") {
						times[v]++
					}
				}
				for s, n := range times {
					if n != 3 {
						t.Errorf("split %d: %d records, want 3", s, n)
					}
				}
				r.completed(2, true)
				r.running.Wait()
			})
		})
	}
}

// A stop barrier silences the sources; its abort wakes them, and so does the next
// barrier, should the abort have been lost.
func TestStopBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, _ := chainRig(t)
		r.deploy(0, nil)
		f.put(0, 1)
		synctest.Wait()
		r.inject(1, stream.StopBarrier)
		f.put(0, 2)
		synctest.Wait()
		r.inject(2, stream.CheckpointBarrier)
		equal(t, "silent", listOf(t, r.reports.acked(2)[0], "sink"), 2)
		synctest.Wait()
		r.inject(3, stream.CheckpointBarrier)
		equal(t, "resumed", listOf(t, r.reports.acked(3)[0], "sink"), 2, 4)
		r.inject(4, stream.StopBarrier)
		f.put(0, 3)
		synctest.Wait()
		r.each(func(task *Task) {
			task.Post(Command{Kind: Abort, First: 4, ID: 68, Reason: "a new leader does not know of it"})
		})
		synctest.Wait()
		r.inject(69, stream.StopBarrier)
		equal(t, "resumed", listOf(t, r.reports.acked(69)[0], "sink"), 2, 4, 6)
		r.completed(69, true)
		r.running.Wait()
		equal(t, "statuses", r.reports.of(r.task("src", 0)), "INITIALIZING", "RUNNING", "FINISHED")
	})
}
