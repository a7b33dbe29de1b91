package task

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/exchange"
)

// numbers is a source of the numbers below n.
type numbers struct{ n int }

func (s numbers) NewReader(*operator.SourceContext) (operator.Reader[int], error) {
	return &numberReader{n: s.n}, nil
}
func (s numbers) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) { return nil, nil }

type numberReader struct{ at, n int }

func (r *numberReader) Start([][]byte, func()) error { return nil }
func (r *numberReader) AddSplits([][]byte) error     { return nil }
func (r *numberReader) NoMoreSplits() error          { return nil }
func (r *numberReader) Poll(b *stream.Batch[int]) (operator.Polled, error) {
	for len(b.Values) < cap(b.Values) {
		if r.at == r.n {
			return operator.Polled{Status: operator.PollEnd}, nil
		}
		b.Values = append(b.Values, r.at)
		r.at++
	}
	return operator.Polled{Status: operator.PollMore}, nil
}
func (r *numberReader) Snapshot(dst [][]byte) ([][]byte, error) { return dst, nil }
func (r *numberReader) Position() string                        { return "" }
func (r *numberReader) Close() error                            { return nil }

type filtered struct {
	rt   *operator.Runtime
	op   int32
	keep func(int) bool
	out  *operator.Collector[int]
}

func (m *filtered) Receive(v int) {
	m.rt.Operator = m.op
	if m.keep(v) {
		m.out.Emit(v)
	}
}

// ender takes the place of a JobManager without checkpoints: when all sources have
// ended it has the terminal one, and when all have acked that, everything finishes.
type ender struct {
	*reports
	tasks []*Task
	ends  atomic.Int32
	acks  atomic.Int32
}

func (e *ender) SourceEnded(*weirpb.SourceEnded) {
	roots := 0
	for _, t := range e.tasks {
		if t.o.Graph.IsRoot(t.o.Subtask.Vertex) {
			roots++
		}
	}
	if int(e.ends.Add(1)) == roots {
		e.post(true, Command{Kind: Inject, Barrier: stream.Barrier{ID: 1, Kind: stream.TerminalBarrier}})
	}
}

func (e *ender) Ack(*weirpb.CheckpointAck) {
	if int(e.acks.Add(1)) == len(e.tasks) {
		e.post(false, Command{Kind: Completed, ID: 1, Terminal: true})
	}
}

func (e *ender) post(roots bool, c Command) {
	for _, t := range e.tasks {
		if !roots || t.o.Graph.IsRoot(t.o.Subtask.Vertex) {
			t.Post(c)
		}
	}
}

// BenchmarkChain is source → map → filter → map → discard in one subtask; an op is a
// record.
func BenchmarkChain(b *testing.B) {
	r := newRig(b)
	src := r.add("src", sourceKind, 0, func(l *Linker) error { return FromReader[int](l, numbers{b.N}) })
	s := operator.PlanSetup("src", operator.KeyInfo{})
	s.Splits()
	r.declare(src, s)
	m := r.add("m1", transformKind, 0, mapLink(func(v int) int { return v + 1 }))
	r.from(m, src, forward, nil)
	f := r.add("f", transformKind, 0, func(l *Linker) error {
		In(l, operator.Receiver[int](&filtered{l.Runtime(), l.Number(), func(v int) bool { return v&7 != 0 }, Out[int](l)}))
		return nil
	})
	r.from(f, m, forward, nil)
	m2 := r.add("m2", transformKind, 0, mapLink(func(v int) int { return v * 3 }))
	r.from(m2, f, forward, nil)
	r.runAll(b)
}

func (r *rig) runAll(b *testing.B) {
	r.graph = must[*job.Graph](b)(job.NewGraph(r.plan, 1))
	network := must[*exchange.Network](b)(exchange.NewNetwork(exchange.NetworkOptions{Cluster: "c", Job: "0123456789abcdef0123456789abcdef"}))
	here := map[job.SubtaskID]exchange.Location{}
	for _, s := range r.graph.Subtasks() {
		here[s] = exchange.Location{Worker: "w"}
	}
	fabric := must[*exchange.Fabric](b)(network.NewFabric(exchange.FabricOptions{Incarnation: 1, Graph: r.graph, Locations: here, Worker: "w"}))
	defer network.Close()
	defer fabric.Close()
	e := &ender{reports: &reports{}}
	for _, sub := range r.graph.Subtasks() {
		p := &Program{Plan: r.plan}
		for i := range r.link {
			p.Operators = append(p.Operators, Operator{Inputs: r.inputs[i], Link: r.link[i]})
		}
		e.tasks = append(e.tasks, must[*Task](b)(New(Options{
			Graph: r.graph, Subtask: sub, Program: p, Fabric: fabric, Reporter: e, NewBackend: r.backend, StateIDs: r.stateIDs,
		})))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for _, t := range e.tasks {
		all.Go(func() {
			if err := t.Run(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
}

// BenchmarkShuffle is source → hash edge → count by key in two subtasks of each; an
// op is a record.
func BenchmarkShuffle(b *testing.B) {
	r := newRig(b)
	src := r.add("src", sourceKind, 2, func(l *Linker) error { return FromReader[int](l, numbers{b.N / 2}) })
	s := operator.PlanSetup("src", operator.KeyInfo{})
	s.Splits()
	r.declare(src, s)
	info := operator.KeyInfoOf(intKey)
	key := func(v int) int { return v * 0x9E3779B97F4A7C1 >> 20 & (1<<20 - 1) }
	op := r.add("count", transformKind, 2, func(l *Linker) error {
		s := l.Setup(info)
		c := &sharedCounter{count: s.Value[int]("count"), key: key}
		c.cur, c.rt = operator.NewKeyCursor(s, intKey, false), l.Runtime()
		InKeyed(l, operator.KeyedReceiver[int](c))
		return nil
	})
	ps := operator.PlanSetup("count", info)
	ps.Value[int]("count")
	r.declare(op, ps)
	r.from(op, src, hash, &exchange.Edge[int]{
		Codec: must[codec.Codec[int]](b)(codec.For[int]()), Hash: func(v int) uint64 { return intKey.Hash(key(v)) },
	})
	r.runAll(b)
}

type sharedCounter struct {
	count *table.Value[int]
	cur   *operator.KeyCursor[int]
	rt    *operator.Runtime
	key   func(int) int
}

func (c *sharedCounter) ReceiveKeyed(hash uint64, v int) {
	c.rt.Operator = 0
	if c.cur.Set(hash, c.key(v)) {
		n, _ := c.count.Get()
		c.count.Set(n + 1)
	}
}
