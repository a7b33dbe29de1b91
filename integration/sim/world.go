package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Options of one run.
type Options struct {
	Seed   uint64
	Mutant Mutant
	Trace  io.Writer // nil = none
}

// Figures are what a run did, to see that it took the paths it should.
type Figures struct {
	Steps, WorkerCrashes, LeaderChanges, Adoptions, Refused, Restores, Rescales int
	Aborts, Completed, Unknown, LostMessages, Deleted, LateAcks                 int
	ReadBacks, TerminalRestores                                                 int
	Savepoints, Stops, LateApplied, StopRestores, Captured, InFlight            int
	Pins                                                                        int
	Orphans                                                                     int
}

// Add sums figures.
func (f *Figures) Add(g Figures) {
	f.Steps += g.Steps
	f.WorkerCrashes += g.WorkerCrashes
	f.LeaderChanges += g.LeaderChanges
	f.Adoptions += g.Adoptions
	f.Refused += g.Refused
	f.Restores += g.Restores
	f.Rescales += g.Rescales
	f.Aborts += g.Aborts
	f.Completed += g.Completed
	f.Unknown += g.Unknown
	f.LostMessages += g.LostMessages
	f.Deleted += g.Deleted
	f.LateAcks += g.LateAcks
	f.ReadBacks += g.ReadBacks
	f.TerminalRestores += g.TerminalRestores
	f.Savepoints += g.Savepoints
	f.Stops += g.Stops
	f.Pins += g.Pins
	f.LateApplied += g.LateApplied
	f.StopRestores += g.StopRestores
	f.Orphans += g.Orphans
	f.Captured += g.Captured
	f.InFlight += g.InFlight
}

// Result of one run.
type Result struct {
	Seed      uint64
	Hash      uint64 // of the trace
	Violation string // "" = none
	Figures
}

const (
	sources  = 2
	sinks    = 2
	workers  = 3
	keys     = 24
	maxSteps = 200_000 // a run takes ~5,000
)

// world is everything: the loop, the models, the faults.
type world struct {
	Options
	Figures
	rng   *rand.Rand
	now   time.Duration
	queue queue
	order uint64
	hash  interface {
		io.Writer
		Sum64() uint64
	}
	violation string

	plan       *metapb.Plan
	records    int // of each source
	healed     time.Duration
	loss       float64 // of messages
	flaky      float64 // of store operations
	calm       bool    // no crash, no loss: nothing may be left over at the end
	retained   int
	concurrent int
	// Every other seed has barriers that overtake.
	alignment        coordinator.Alignment
	alignmentTimeout time.Duration

	store   *store
	workers [workers]*worker
	leader  *leader
	fabric  map[job.Incarnation]map[edge]*channel
	output  map[string][]row             // committed transactions by name
	taken   map[stream.CheckpointID]bool // ids triggered, ever
	ends    []int                        // of the sources, in the terminal checkpoint or that of a stop
	over    bool
}

type item struct {
	at    time.Duration
	order uint64
	what  string
	do    func()
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = item{}
	*q = (*q)[:len(*q)-1]
	return last
}

// Run plays one seed to its end.
func Run(o Options) Result {
	w := &world{
		Options: o, rng: rand.New(rand.NewPCG(o.Seed, 0x5eed)), hash: fnv.New64a(),
		fabric: map[job.Incarnation]map[edge]*channel{}, output: map[string][]row{}, taken: map[stream.CheckpointID]bool{},
	}
	w.plan = plan()
	w.records = 40 + w.rng.IntN(160)
	w.calm = w.rng.IntN(8) == 0
	w.retained = 1 + w.rng.IntN(3)
	w.concurrent = 1 + w.rng.IntN(2)
	if w.Seed%2 == 1 {
		w.alignment = coordinator.UnalignedAfterTimeout
		w.alignmentTimeout = time.Duration(w.rng.IntN(5)) * time.Millisecond
	}
	w.healed = time.Duration(200+w.rng.IntN(400)) * time.Millisecond
	w.store = newStore(w)
	for i := range w.workers {
		w.workers[i] = &worker{w: w, index: i}
	}
	w.lead()
	if !w.calm {
		w.after(w.between(5, 40), "fault", w.fault)
	}
	w.wishes()
	for len(w.queue) > 0 && !w.over && w.violation == "" {
		if w.Steps++; w.Steps > maxSteps {
			w.fail("I11", "the job has not ended after %d steps, %v after the last fault; coordinator is %v", w.Steps, w.now-w.healed, w.leader.coordinator.Phase())
			break
		}
		e := heap.Pop(&w.queue).(item)
		w.now = e.at
		w.trace(e.what)
		e.do()
	}
	if w.violation == "" && !w.over {
		w.fail("I11", "nothing is left to do and the job has not ended; coordinator is %v", w.leader.coordinator.Phase())
	}
	if w.violation == "" {
		w.checkOutput()
	}
	return Result{Seed: o.Seed, Hash: w.hash.Sum64(), Violation: w.violation, Figures: w.Figures}
}

// plan of the simulated job: sources ─hash─▶ count ─rebalance─▶ sink.
func plan() *metapb.Plan {
	in := func(from uint32, d metapb.Distribution) []*metapb.Input {
		return []*metapb.Input{{From: from, Distribution: d}}
	}
	return &metapb.Plan{FormatVersion: 1, Name: "sim", Operators: []*metapb.Operator{
		{Uid: "source", Name: "source", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE, Parallelism: sources, States: []*metapb.State{
			{Name: "who", Kind: metapb.StateKind_STATE_KIND_UNION_LIST}, {Name: "position", Kind: metapb.StateKind_STATE_KIND_SPLIT_LIST},
		}},
		{Uid: "count", Name: "count", Kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, Inputs: in(0, metapb.Distribution_DISTRIBUTION_HASH), States: []*metapb.State{
			{Name: "who", Kind: metapb.StateKind_STATE_KIND_UNION_LIST}, {Name: "n", Kind: metapb.StateKind_STATE_KIND_VALUE},
		}},
		{Uid: "sink", Name: "sink", Kind: metapb.OperatorKind_OPERATOR_KIND_SINK, Parallelism: sinks, Inputs: in(1, metapb.Distribution_DISTRIBUTION_REBALANCE), States: []*metapb.State{
			{Name: "who", Kind: metapb.StateKind_STATE_KIND_UNION_LIST}, {Name: "prepared", Kind: metapb.StateKind_STATE_KIND_SPLIT_LIST},
		}},
	}}
}

func (w *world) after(d time.Duration, what string, do func()) {
	w.order++
	heap.Push(&w.queue, item{at: w.now + d, order: w.order, what: what, do: do})
}

// between is a random time of from to to ms.
func (w *world) between(from, to int) time.Duration {
	return time.Duration(from)*time.Millisecond + time.Duration(w.rng.IntN((to-from)*1000))*time.Microsecond
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) trace(what string) {
	io.WriteString(w.hash, what)
	fmt.Fprintf(w.hash, "%d", w.now)
	if w.Trace != nil {
		fmt.Fprintf(w.Trace, "%8.3fms %s\n", float64(w.now)/1e6, what)
	}
}

func (w *world) fail(invariant, format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf("%s at %v, step %d: %s", invariant, w.now, w.Steps, fmt.Sprintf(format, args...))
		w.trace("VIOLATION " + w.violation)
	}
}

// fault makes something go wrong, until everything is healed.
func (w *world) fault() {
	if w.now >= w.healed {
		w.loss, w.flaky = 0, 0
		w.trace("healed")
		return
	}
	switch w.rng.IntN(9) {
	case 0, 1:
		w.workers[w.rng.IntN(workers)].crash()
	case 2:
		w.workers[w.rng.IntN(workers)].isolate(w.between(5, 60))
	case 3:
		w.LeaderChanges++
		w.leader.dead = true // the process is gone
		w.lead()
	case 4:
		w.LeaderChanges++
		w.lead() // the old one does not know
	case 5:
		w.loss = w.rng.Float64() * 0.3
	case 6:
		w.flaky = w.rng.Float64() * 0.6
	case 7:
		w.loss, w.flaky = 0, 0
	case 8:
		// a quiet time
	}
	w.after(w.between(3, 60), "fault", w.fault)
}

// wishes are savepoints at any time, sometimes a stop, and sometimes another job that
// starts from a checkpoint of this one.
func (w *world) wishes() {
	for i := range w.rng.IntN(4) {
		w.after(w.between(5, 400), "a savepoint is wanted", func() {
			w.wish(fmt.Sprintf("s%d", i), metapb.Operation_KIND_SAVEPOINT, false)
		})
	}
	if w.rng.IntN(3) == 0 {
		w.after(w.between(20, 300), "a stop is wanted", func() {
			w.wish("stop", metapb.Operation_KIND_STOP, w.rng.IntN(3) == 0)
		})
	}
	if w.rng.IntN(3) == 0 {
		w.after(w.between(20, 200), "another job is started", w.startOther)
	}
}

// message delivers do at the other side, late or never.
func (w *world) message(what string, do func()) {
	if w.chance(w.loss) {
		w.LostMessages++
		w.trace("lost " + what)
		return
	}
	d := w.between(0, 2)
	if w.chance(0.03) {
		d += w.between(0, 40)
	}
	w.after(d, what, do)
}
