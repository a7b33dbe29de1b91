package exchange

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/zeebo/xxh3"
	"go.uber.org/goleak"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/intake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is the record of the measured shuffle.
type pair struct {
	Key   uint64
	Value int64
}

func hashPair(p pair) uint64 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], p.Key)
	return xxh3.Hash(b[:])
}

func codecOf[T any](t testing.TB) codec.Codec[T] {
	t.Helper()
	c, err := codec.For[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pairEdge(t testing.TB) *Edge[pair] {
	return &Edge[pair]{Codec: codecOf[pair](t), Hash: hashPair}
}

type (
	jobGraph     = job.Graph
	distribution = metapb.Distribution
)

const (
	forward   = metapb.Distribution_DISTRIBUTION_FORWARD
	hash      = metapb.Distribution_DISTRIBUTION_HASH
	rebalance = metapb.Distribution_DISTRIBUTION_REBALANCE
	broadcast = metapb.Distribution_DISTRIBUTION_BROADCAST
	direct    = metapb.Distribution_DISTRIBUTION_DIRECT
)

// graphOf is a graph of two vertices, from → to.
func graphOf(from, to int, d metapb.Distribution) *job.Graph {
	return &job.Graph{
		Plan: &metapb.Plan{Operators: []*metapb.Operator{{Uid: "from"}, {Uid: "to"}}},
		Vertices: []job.Vertex{
			{ID: 0, Operators: []int{0}, Parallelism: from, Outputs: []int{0}},
			{ID: 1, Operators: []int{1}, Parallelism: to, Inputs: []int{0}},
		},
		Edges: []job.Edge{{From: 0, To: 1, ToOperator: 1, Distribution: d}},
	}
}

// site is one worker under test.
type site struct {
	*Fabric
	network *Network
}

// placement says on which worker each subtask of the two vertices runs.
type placement struct{ from, to []string }

const testJob = job.ID("0123456789abcdef0123456789abcdef")

// wire says how test workers reach each other.
type wire struct {
	memory *memnet.Network // if nil: sockets
	tcp    bool            // sockets of different hosts
	budget int64
}

// fabrics makes a worker for each name in p and opens incarnation 1 in it.
func fabrics(t testing.TB, g *job.Graph, p placement, w wire) map[string]*site {
	t.Helper()
	sites := map[string]*site{}
	locations := map[job.SubtaskID]Location{}
	where := map[string]Location{}
	for _, name := range append(append([]string{}, p.from...), p.to...) {
		if sites[name] != nil {
			continue
		}
		n, l := newNetwork(t, name, w)
		sites[name], where[name] = &site{network: n}, l
	}
	for v, names := range [][]string{p.from, p.to} {
		for i, name := range names {
			locations[job.SubtaskID{Vertex: job.VertexID(v), Index: i}] = where[name]
		}
	}
	for name, s := range sites {
		f, err := s.network.NewFabric(FabricOptions{
			Incarnation: 1, Secret: []byte("secret"), Graph: g, Locations: locations, Worker: name,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Fabric = f
	}
	return sites
}

func newNetwork(t testing.TB, name string, w wire) (*Network, Location) {
	t.Helper()
	o := NetworkOptions{Cluster: "c", Job: testJob, Machine: "h", Memory: w.budget}
	if w.tcp {
		o.Machine = "h-" + name
	}
	switch {
	case w.memory != nil:
		o.Listen, o.Dial = w.memory.Listen, w.memory.Dial
		o.TCP = name
	default:
		o.TCP = "127.0.0.1:0"
		o.Unix = t.TempDir() + "/s"
	}
	n, err := NewNetwork(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, Location{Worker: name, Machine: o.Machine, TCP: n.TCPAddress(), Unix: n.UnixAddress()}
}

// producer is one subtask of the first vertex.
type producer[T any] struct {
	Output
	operator.Receiver[T]
	rt   *operator.Runtime
	wake chan struct{}
}

func newWake() (chan struct{}, func()) {
	c := make(chan struct{}, 1)
	return c, func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func newProducer[T any](t testing.TB, f *Fabric, index int, e *Edge[T]) *producer[T] {
	t.Helper()
	p := &producer[T]{rt: &operator.Runtime{}}
	var wake func()
	p.wake, wake = newWake()
	out, err := f.Output(job.SubtaskID{Vertex: 0, Index: index}, 0, e, p.rt, wake)
	if err != nil {
		t.Fatal(err)
	}
	p.Output, p.Receiver = out, out.(operator.Receiver[T])
	return p
}

// emit waits for room like the task loop, then emits v.
func (p *producer[T]) emit(v T) {
	if p.rt.Attention.Load() {
		p.rt.Attention.Store(false)
		p.await()
	}
	p.Receive(v)
}

func (p *producer[T]) await() {
	for !p.Room() {
		<-p.wake
	}
}

// consumer is one subtask of the second vertex.
type consumer[T any] struct {
	*Gate
	intake.Consumer
	rt   *operator.Runtime
	wake chan struct{}
	got  func(v T)
}

func (c *consumer[T]) Receive(v T) { c.got(v) }

func newConsumer[T any](t testing.TB, f *Fabric, index int, e *Edge[T], got func(v T)) *consumer[T] {
	t.Helper()
	c := &consumer[T]{rt: &operator.Runtime{}, got: got}
	var wake func()
	c.wake, wake = newWake()
	var err error
	if c.Gate, err = f.Gate(job.SubtaskID{Vertex: 1, Index: index}, []AnyEdge{e}, wake); err != nil {
		t.Fatal(err)
	}
	if c.Consumer, err = NewConsumer(e, c.rt, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// next waits for an item; a batch is run and released.
func (c *consumer[T]) next() Item {
	for {
		it, ok := c.Poll()
		if !ok {
			<-c.wake
			continue
		}
		if it.Batch != nil {
			if n := c.Run(it.Batch, 0); n != c.Len(it.Batch) {
				panic(fmt.Sprintf("ran %d of %d records without attention", n, c.Len(it.Batch)))
			}
			c.Release(it)
		}
		return it
	}
}

// ended runs everything up to the end of input of all channels.
func (c *consumer[T]) untilEnd() {
	for open := c.Channels(); open > 0; {
		if c.next().Event.Kind == stream.EndOfInputEvent {
			open--
		}
	}
}

var (
	endOfInput = stream.Event{Kind: stream.EndOfInputEvent}
	_          = io.EOF
)

func barrier(id int) stream.Event {
	return stream.Event{Kind: stream.BarrierEvent, Barrier: stream.Barrier{ID: stream.CheckpointID(id), Kind: stream.CheckpointBarrier}}
}

func stringEdge(t testing.TB) *Edge[string] {
	return &Edge[string]{Codec: codecOf[string](t), Hash: xxh3.HashString}
}
