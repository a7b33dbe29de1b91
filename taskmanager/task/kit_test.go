package task

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
)

// rig is a job whose subtasks all run here, in one synctest bubble: real programs,
// fabric and heap backend, and the test in the JobManager's place.
type rig struct {
	t      testing.TB
	plan   *metapb.Plan
	link   []func(l *Linker) error
	inputs [][]exchange.AnyEdge

	graph    *job.Graph
	store    objstore.Store
	n        uint32 // attempts deployed so far
	fabric   *exchange.Fabric
	tasks    map[job.SubtaskID]*Task
	mu       sync.Mutex
	results  map[job.SubtaskID]error // guarded by mu
	running  sync.WaitGroup
	reports  *reports
	stateIDs []*metapb.StateID
	inline   int // bytes in flight that travel in an ack
	mode     align.Mode
	memory   int64 // of the network; 0: its default
	stopped  bool
	make     func(c BackendConfig) (Backend, error) // of keyed state; nil: heap
}

func newRig(t testing.TB) *rig {
	return &rig{t: t, plan: &metapb.Plan{Name: "rig"}, store: objstore.NewMemory("rig")}
}

func must[V any](t testing.TB) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// add declares an operator; its inputs follow with the method from.
func (r *rig) add(uid string, kind metapb.OperatorKind, parallelism int, link func(l *Linker) error) int {
	r.plan.Operators = append(r.plan.Operators, &metapb.Operator{
		Uid: uid, Name: uid, Kind: kind, Parallelism: uint32(parallelism),
	})
	r.link = append(r.link, link)
	r.inputs = append(r.inputs, nil)
	return len(r.link) - 1
}

func (r *rig) declare(op int, s *operator.Setup) {
	if s.Err() != nil {
		r.t.Fatal(s.Err())
	}
	r.plan.Operators[op].States = s.Declared()
	for _, st := range s.Declared() {
		r.stateIDs = append(r.stateIDs, &metapb.StateID{Uid: r.plan.Operators[op].Uid, Name: st.Name, Id: uint32(len(r.stateIDs) + 1)})
	}
}

func (r *rig) from(op, producer int, d metapb.Distribution, e exchange.AnyEdge) {
	r.plan.Operators[op].Inputs = append(r.plan.Operators[op].Inputs, &metapb.Input{From: uint32(producer), Distribution: d})
	r.inputs[op] = append(r.inputs[op], e)
}

const (
	sourceKind     = metapb.OperatorKind_OPERATOR_KIND_SOURCE
	enumeratorKind = metapb.OperatorKind_OPERATOR_KIND_ENUMERATOR
	transformKind  = metapb.OperatorKind_OPERATOR_KIND_TRANSFORM
	sinkKind       = metapb.OperatorKind_OPERATOR_KIND_SINK
	forward        = metapb.Distribution_DISTRIBUTION_FORWARD
	hash           = metapb.Distribution_DISTRIBUTION_HASH
	rebalance      = metapb.Distribution_DISTRIBUTION_REBALANCE
	direct         = metapb.Distribution_DISTRIBUTION_DIRECT
)

// source declares a source fed by the test.
func (r *rig) source(uid string, parallelism int, f *feed) int {
	op := r.add(uid, sourceKind, parallelism, func(l *Linker) error { return FromReader[int](l, f) })
	s := operator.PlanSetup(uid, operator.KeyInfo{})
	s.Splits()
	r.declare(op, s)
	return op
}

func intEdge(t testing.TB) *exchange.Edge[int] {
	return &exchange.Edge[int]{Codec: must[codec.Codec[int]](t)(codec.For[int]())}
}

var intKey = func() codec.Key[int] {
	k, err := codec.ForKey[int]()
	if err != nil {
		panic(err)
	}
	return k
}()

func keyedEdge(t testing.TB, key func(int) int) *exchange.Edge[int] {
	e := intEdge(t)
	e.Hash = func(v int) uint64 { return intKey.Hash(key(v)) }
	return e
}

// deploy starts every subtask of the job, but those in except.
func (r *rig) deploy(restored stream.CheckpointID, from map[job.SubtaskID][]*weirpb.RestoredOperator, except ...job.SubtaskID) {
	r.t.Helper()
	r.n++
	if r.graph == nil {
		r.graph = must[*job.Graph](r.t)(job.NewGraph(r.plan, 1))
	}
	network := must[*exchange.Network](r.t)(exchange.NewNetwork(exchange.NetworkOptions{Cluster: "c", Job: "0123456789abcdef0123456789abcdef", Memory: r.memory}))
	here := map[job.SubtaskID]exchange.Location{}
	for _, s := range r.graph.Subtasks() {
		here[s] = exchange.Location{Worker: "w"}
	}
	r.fabric = must[*exchange.Fabric](r.t)(network.NewFabric(exchange.FabricOptions{
		Incarnation: job.Incarnation(r.n), Graph: r.graph, Locations: here, Worker: "w",
	}))
	r.tasks, r.results = map[job.SubtaskID]*Task{}, map[job.SubtaskID]error{}
	r.reports = &reports{}
	for _, sub := range r.graph.Subtasks() {
		if !slices.Contains(except, sub) {
			r.start(sub, restored, from[sub])
		}
	}
	synctest.Wait()
	r.t.Cleanup(func() { r.fabric.Close(); network.Close() })
}

// start runs one subtask of what was deployed last.
func (r *rig) start(sub job.SubtaskID, restored stream.CheckpointID, from []*weirpb.RestoredOperator) {
	p := &Program{Plan: r.plan}
	for i := range r.link {
		p.Operators = append(p.Operators, Operator{Inputs: r.inputs[i], Link: r.link[i]})
	}
	task := must[*Task](r.t)(New(Options{
		Graph: r.graph, Subtask: sub, Program: p, Attempt: job.Attempt{Epoch: 1, N: r.n},
		Incarnation: job.Incarnation(r.n), Fabric: r.fabric, NewBackend: r.backend, StateIDs: r.stateIDs,
		RestoredCheckpoint: restored, Restored: from, Reporter: r.reports, Store: r.store, InlineLimit: r.inline, Mode: r.mode, Stopped: r.stopped,
	}))
	r.tasks[sub] = task
	r.running.Go(func() {
		err := task.Run(context.Background())
		r.mu.Lock()
		r.results[sub] = err
		r.mu.Unlock()
	})
}

func (r *rig) backend(c BackendConfig) (Backend, error) {
	if r.make != nil {
		return r.make(c)
	}
	return heap.New(heap.Options{Table: c.Table, Runs: runlist.Options{
		Dir: r.t.TempDir(), Store: r.store, Attempt: c.Attempt.String(), Operator: c.UID, Subtask: c.Subtask.Index,
	}})
}

// stop cancels what runs and waits for it.
func (r *rig) stop() {
	for _, task := range r.tasks {
		task.Post(Command{Kind: Cancel})
	}
	r.running.Wait()
}

func (r *rig) each(f func(t *Task)) {
	for _, s := range r.graph.Subtasks() {
		if task := r.tasks[s]; task != nil {
			f(task)
		}
	}
	synctest.Wait()
}

func (r *rig) task(uid string, index int) *Task {
	for v := range r.graph.Vertices {
		if r.graph.VertexUID(job.VertexID(v)) == uid {
			return r.tasks[job.SubtaskID{Vertex: job.VertexID(v), Index: index}]
		}
	}
	r.t.Fatalf("no vertex %q", uid)
	return nil
}

// inject begins a checkpoint at all roots.
func (r *rig) inject(id stream.CheckpointID, kind stream.BarrierKind) {
	r.injectBarrier(stream.Barrier{ID: id, Kind: kind})
}

func (r *rig) injectBarrier(b stream.Barrier) {
	r.each(func(t *Task) {
		if r.graph.IsRoot(t.o.Subtask.Vertex) {
			t.Post(Command{Kind: Inject, Barrier: b})
		}
	})
}

func (r *rig) completed(id stream.CheckpointID, terminal bool) {
	r.each(func(t *Task) { t.Post(Command{Kind: Completed, ID: id, Terminal: terminal}) })
}

// ackOf is the ack of the first subtask of a vertex, nil if there is none.
func (r *rig) ackOf(uid string, id stream.CheckpointID) *weirpb.CheckpointAck {
	for _, a := range r.reports.acked(id) {
		if a.Operators[0].Uid == uid {
			return a
		}
	}
	return nil
}

// restoredFrom is what unchanged parallelism restores from the acks of id.
func (r *rig) restoredFrom(id stream.CheckpointID) map[job.SubtaskID][]*weirpb.RestoredOperator {
	r.t.Helper()
	all := map[job.SubtaskID][]*weirpb.RestoredOperator{}
	for _, a := range r.reports.acked(id) {
		sub := job.SubtaskID{Vertex: job.VertexID(a.Subtask.Vertex), Index: int(a.Subtask.Subtask)}
		for _, o := range a.Operators {
			s := o.Subtasks[0]
			all[sub] = append(all[sub], &weirpb.RestoredOperator{
				Uid: o.Uid, OperatorStates: s.OperatorStates, Results: s.Results, Ended: s.Ended, Watermark: s.Watermark,
				Keyed: []*weirpb.RestoredKeyed{{FirstGroup: s.FirstGroup, LastGroup: s.LastGroup, Runs: s.Runs, Schemas: s.Schemas}},
			})
		}
	}
	if len(all) != len(r.graph.Subtasks()) {
		r.t.Fatalf("%v is acked by %d of %d subtasks", id, len(all), len(r.graph.Subtasks()))
	}
	return all
}

// reports keeps what subtasks say.
type reports struct {
	mu        sync.Mutex
	statuses  []*weirpb.SubtaskStatus
	acks      []*weirpb.CheckpointAck
	declines  []*weirpb.CheckpointDecline
	committed []*weirpb.Committed
	ends      []*weirpb.SourceEnded
}

func (r *reports) Status(s *weirpb.SubtaskStatus)      { report(r, &r.statuses, s) }
func (r *reports) Ack(a *weirpb.CheckpointAck)         { report(r, &r.acks, a) }
func (r *reports) Decline(d *weirpb.CheckpointDecline) { report(r, &r.declines, d) }
func (r *reports) Committed(c *weirpb.Committed)       { report(r, &r.committed, c) }
func (r *reports) SourceEnded(e *weirpb.SourceEnded)   { report(r, &r.ends, e) }

func report[M any](r *reports, to *[]M, m M) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, m)
}

func (r *reports) acked(id stream.CheckpointID) []*weirpb.CheckpointAck {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*weirpb.CheckpointAck
	for _, a := range r.acks {
		if a.CheckpointId == uint64(id) {
			all = append(all, a)
		}
	}
	return all
}

// ended is the number of source subtasks that have.
func (r *reports) ended() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ends)
}

// of are the states of a subtask in the order it reported them.
func (r *reports) of(t *Task) (states []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.statuses {
		if s.Subtask.Vertex == uint32(t.o.Subtask.Vertex) && s.Subtask.Subtask == uint32(t.o.Subtask.Index) {
			states = append(states, s.State.String()[len("STATE_"):])
		}
	}
	return states
}

// feed is a source whose records the test puts in. A split is one subtask's number
// of records already read.
type feed struct {
	mu      sync.Mutex
	readers []*feedReader // guarded by mu; the newest of each subtask
	kept    [][]int       // by subtask: all records ever put in
	over    bool
}

func (f *feed) NewReader(c *operator.SourceContext) (operator.Reader[int], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &feedReader{f: f, subtask: c.Subtask}
	for len(f.readers) < c.Parallelism {
		f.readers = append(f.readers, nil)
	}
	for len(f.kept) < c.Parallelism {
		f.kept = append(f.kept, nil)
	}
	f.readers[c.Subtask] = r
	return r, nil
}

func (f *feed) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) { return nil, nil }

// put gives records to a subtask.
func (f *feed) put(subtask int, vs ...int) {
	f.mu.Lock()
	for len(f.kept) <= subtask {
		f.kept = append(f.kept, nil)
	}
	f.kept[subtask] = append(f.kept[subtask], vs...)
	f.mu.Unlock()
	f.wake()
}

func (f *feed) end() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.wake()
}

func (f *feed) wake() {
	f.mu.Lock()
	var all []func()
	for _, r := range f.readers {
		if r != nil && r.notify != nil {
			all = append(all, r.notify)
		}
	}
	f.mu.Unlock()
	for _, n := range all {
		n()
	}
}

type feedReader struct {
	f       *feed
	subtask int
	at      int
	notify  func()
	closed  bool
}

func (r *feedReader) Start(splits [][]byte, notify func()) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.notify = notify
	for _, s := range splits {
		if _, err := fmt.Sscan(string(s), &r.at); err != nil {
			return err
		}
	}
	return nil
}

func (r *feedReader) AddSplits([][]byte) error { return nil }
func (r *feedReader) NoMoreSplits() error      { return nil }

func (r *feedReader) Poll(b *stream.Batch[int]) (operator.Polled, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	rest := r.f.kept[r.subtask][r.at:]
	n := min(len(rest), 500) // not a whole batch: outputs fill up in the middle of one
	b.Values = append(b.Values, rest[:n]...)
	r.at += n
	switch {
	case n < len(rest):
		return operator.Polled{Status: operator.PollMore}, nil
	case r.f.over:
		return operator.Polled{Status: operator.PollEnd}, nil
	}
	return operator.Polled{Status: operator.PollWait}, nil
}

func (r *feedReader) Snapshot(dst [][]byte) ([][]byte, error) {
	return append(dst, fmt.Append(nil, r.at)), nil
}

func (r *feedReader) Position() string { return fmt.Sprintf("record %d", r.at) }

func (r *feedReader) Close() error {
	if r.closed {
		return fmt.Errorf("closed twice")
	}
	r.closed = true
	return nil
}

// mapped is an operator without state.
type mapped struct {
	rt  *operator.Runtime
	op  int32
	f   func(int) int
	out *operator.Collector[int]
}

func (m *mapped) Receive(v int) {
	m.rt.Operator = m.op
	m.out.Emit(m.f(v))
}

func mapLink(f func(int) int) func(l *Linker) error {
	return func(l *Linker) error {
		In(l, operator.Receiver[int](&mapped{l.Runtime(), l.Number(), f, Out[int](l)}))
		return nil
	}
}

// sink collects what it receives, as state.
type sink struct {
	log *events
	sum *operator.Sum
	got *operator.OperatorList[int]
}

// events is what happened in the operators of a rig, in order.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf(format, args...))
}

// take empties the list.
func (e *events) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.list
	e.list = nil
	return l
}

func newSink(s *operator.Setup, log *events) *sink {
	return &sink{log: log, sum: s.Sum("sum"), got: s.SplitList[int]("got")}
}

func (k *sink) Receive(v int) {
	k.sum.Add(uint64(v))
	k.got.Append(v)
}

func (k *sink) Open() error                          { k.log.add("open %d", len(k.got.Get())); return nil }
func (k *sink) Close() error                         { k.log.add("close"); return nil }
func (k *sink) EndOfInput() error                    { k.log.add("end"); return nil }
func (k *sink) Prepare(id stream.CheckpointID) error { k.log.add("prepare %d", id); return nil }
func (k *sink) Snapshot(id stream.CheckpointID) error {
	k.log.add("snapshot %d of %d", id, len(k.got.Get()))
	return nil
}
func (k *sink) Commit(id stream.CheckpointID) error { k.log.add("commit %d", id); return nil }

// sink declares one that is chained to from if e is nil.
func (r *rig) sink(uid string, from int, d metapb.Distribution, parallelism int, e exchange.AnyEdge, log *events) int {
	op := r.add(uid, sinkKind, parallelism, func(l *Linker) error {
		k := newSink(l.Setup(operator.KeyInfo{}), log)
		In(l, operator.Receiver[int](k))
		l.Lifecycle(k)
		return nil
	})
	s := operator.PlanSetup(uid, operator.KeyInfo{})
	newSink(s, log)
	r.declare(op, s)
	r.from(op, from, d, e)
	return op
}

// listOf decodes the sink's list in an ack.
func listOf(t testing.TB, a *weirpb.CheckpointAck, uid string) (got []int) {
	t.Helper()
	c := must[codec.Codec[int]](t)(codec.For[int]())
	for _, o := range a.Operators {
		for _, st := range o.Subtasks[0].OperatorStates {
			if o.Uid == uid && st.Name == "got" {
				for _, b := range st.Entries {
					v, _, err := c.Decode(b)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, v)
				}
			}
		}
	}
	return got
}

func equal[V comparable](t testing.TB, what string, got []V, want ...V) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}
