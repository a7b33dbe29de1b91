package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
)

// Location is where a subtask runs and how its worker is reached.
type Location struct {
	Worker  string // id of the worker process, unique in the cluster
	Machine string // its host: workers of one use the unix socket
	TCP     string // host:port
	Unix    string // path
}

// FabricOptions describe one incarnation of the job.
type FabricOptions struct {
	Incarnation job.Incarnation
	Secret      []byte // of the job, from Deploy; proves membership without being sent
	Graph       *job.Graph
	// Locations are those of every subtask that one of this worker exchanges records
	// with, and of its own; those of other regions may be missing.
	Locations map[job.SubtaskID]Location
	Worker    string // this worker's id, as in Locations
	// Memory is what the worker's channels may take, as of now; 0: the network's.
	Memory int64
}

// PeerError says that the data path to another worker is broken. Records may have
// been lost: the subtasks must be restarted.
type PeerError struct {
	Worker   string          // the peer
	Subtasks []job.SubtaskID // those of this worker that exchange records with it
	Err      error
}

// Error implements error.
func (e *PeerError) Error() string {
	return fmt.Sprintf("exchange records with worker %s: %v", e.Worker, e.Err)
}

// Unwrap returns the cause.
func (e *PeerError) Unwrap() error { return e.Err }

// ErrClosed is returned by what needs an open Fabric or Network.
var ErrClosed = errors.New("exchange is closed")

// Fabric is one incarnation of the job in this worker: its channels and its
// connections to the other workers. Safe for concurrent use.
type Fabric struct {
	// Immutable after NewFabric.
	network     *Network
	incarnation job.Incarnation
	secret      []byte
	graph       *job.Graph
	locations   map[job.SubtaskID]Location
	worker      string
	memory      int64 // bytes, of all channels
	window      int64 // bytes of credit of a channel between workers
	budget      int64 // bytes of batches of a channel inside the worker
	failed      chan *PeerError
	workers     map[string]Location // of all subtasks
	ctx         context.Context     // done when the fabric is closed
	cancel      context.CancelFunc
	goroutines  sync.WaitGroup

	stale atomic.Uint64 // frames dropped because their incarnation is not ours

	mu      sync.Mutex
	closed  bool
	gates   map[job.SubtaskID]*Gate
	outputs []*outputCore
	taken   map[outputKey]bool
	types   map[int]reflect.Type // record type of each edge seen so far
	peers   map[string]*peer
}

type outputKey struct {
	subtask job.SubtaskID
	edge    int
}

// NewFabric opens an incarnation. Connections are made as gates and outputs need
// them.
func (n *Network) NewFabric(o FabricOptions) (*Fabric, error) {
	if o.Graph == nil || o.Worker == "" || o.Incarnation == 0 {
		return nil, fmt.Errorf("open incarnation %d on worker %q: graph, worker and incarnation are needed", o.Incarnation, o.Worker)
	}
	workers := map[string]Location{}
	for s, l := range o.Locations {
		if l.Worker == "" {
			return nil, fmt.Errorf("open incarnation %d: the location of subtask %v names no worker", o.Incarnation, s)
		}
		workers[l.Worker] = l
	}
	f := &Fabric{
		network: n, incarnation: o.Incarnation, secret: slices.Clone(o.Secret), graph: o.Graph,
		locations: maps.Clone(o.Locations), worker: o.Worker, workers: workers,
		failed: make(chan *PeerError, len(workers)),
		gates:  map[job.SubtaskID]*Gate{}, taken: map[outputKey]bool{},
		types: map[int]reflect.Type{}, peers: map[string]*peer{},
	}
	if err := f.partnersKnown(); err != nil {
		return nil, fmt.Errorf("open incarnation %d: %w", o.Incarnation, err)
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.memory = cmp.Or(o.Memory, n.options.Memory)
	f.share(f.memory)
	if err := n.register(f); err != nil {
		f.cancel()
		return nil, fmt.Errorf("open incarnation %d: %w", o.Incarnation, err)
	}
	return f, nil
}

// share divides memory over the channels that end or begin in this worker.
func (f *Fabric) share(memory int64) {
	channels := int64(0)
	for from, to := range f.channels() {
		if f.here(from) || f.here(to) {
			channels++
		}
	}
	each := memory / max(1, channels)
	f.budget = each
	f.window = min(maxWindow, max(minWindow, each))
}

// channels yields both ends of every channel of the job.
func (f *Fabric) channels() iter.Seq2[job.SubtaskID, job.SubtaskID] {
	return func(yield func(from, to job.SubtaskID) bool) {
		for _, e := range f.graph.Edges {
			for i := range f.graph.Vertices[e.From].Parallelism {
				for j := range f.graph.Vertices[e.To].Parallelism {
					if e.Distribution == metapb.Distribution_DISTRIBUTION_FORWARD && i != j {
						continue
					}
					if !yield(job.SubtaskID{Vertex: e.From, Index: i}, job.SubtaskID{Vertex: e.To, Index: j}) {
						return
					}
				}
			}
		}
	}
}

// partnersKnown says whose location is missing among those that subtasks of this worker
// exchange records with.
func (f *Fabric) partnersKnown() error {
	for from, to := range f.channels() {
		for _, end := range [][2]job.SubtaskID{{from, to}, {to, from}} {
			if _, known := f.locations[end[1]]; f.here(end[0]) && !known {
				return fmt.Errorf("subtask %v has no location, but %v of this worker exchanges records with it", end[1], end[0])
			}
		}
	}
	return nil
}

func (f *Fabric) here(s job.SubtaskID) bool { return f.locations[s].Worker == f.worker }

// Incarnation is the one the fabric was opened for.
func (f *Fabric) Incarnation() job.Incarnation { return f.incarnation }

// Gate returns the input side of a subtask of this worker. edges has one entry for
// each input of its vertex. wake is called, from any goroutine, when Poll, having
// found nothing, would find something.
func (f *Fabric) Gate(sub job.SubtaskID, edges []AnyEdge, wake func()) (*Gate, error) {
	if err := f.check(sub); err != nil {
		return nil, fmt.Errorf("open gate: %w", err)
	}
	inputs := f.graph.Vertices[sub.Vertex].Inputs
	if len(edges) != len(inputs) {
		return nil, fmt.Errorf("open gate of %v: %d edges given, the vertex has %d inputs", sub, len(edges), len(inputs))
	}
	for i, e := range edges {
		if err := f.checkEdge(inputs[i], e); err != nil {
			return nil, fmt.Errorf("open gate of %v: input %d: %w", sub, i, err)
		}
	}
	g, err := f.gate(sub)
	if err != nil {
		return nil, fmt.Errorf("open gate of %v: %w", sub, err)
	}
	if err := g.attach(edges, wake); err != nil {
		return nil, err
	}
	return g, nil
}

// Output returns the producer's end of the graph's edge edgeIndex in subtask sub of
// this worker: an Output that is also an operator.Receiver[T] of the edge's record
// type. wake is called, from any goroutine, when room or hints have come.
func (f *Fabric) Output(sub job.SubtaskID, edgeIndex int, e AnyEdge, rt *operator.Runtime, wake func()) (Output, error) {
	if err := f.check(sub); err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	if edgeIndex < 0 || edgeIndex >= len(f.graph.Edges) || f.graph.Edges[edgeIndex].From != sub.Vertex {
		return nil, fmt.Errorf("open output of %v: edge %d is none of its vertex", sub, edgeIndex)
	}
	if err := f.checkEdge(edgeIndex, e); err != nil {
		return nil, fmt.Errorf("open output of %v to edge %d: %w", sub, edgeIndex, err)
	}
	key := outputKey{sub, edgeIndex}
	f.mu.Lock()
	twice := f.taken[key]
	f.taken[key] = true
	f.mu.Unlock()
	if twice {
		return nil, fmt.Errorf("output of %v to edge %d exists already in incarnation %d", sub, edgeIndex, f.incarnation)
	}
	lanes, err := f.lanes(sub, edgeIndex)
	if err != nil {
		return nil, fmt.Errorf("open output of %v to edge %d: %w", sub, edgeIndex, err)
	}
	out, err := e.newOutput(outputConfig{
		subtask: sub, distribution: f.graph.Edges[edgeIndex].Distribution,
		rt: rt, wake: wake, lanes: lanes, budget: f.budget,
	})
	if err != nil {
		return nil, fmt.Errorf("open output of %v: %w", sub, err)
	}
	f.addOutput(out.(interface{ core() *outputCore }).core())
	return out, nil
}

// lanes lists the consumers of an edge for one producer.
func (f *Fabric) lanes(sub job.SubtaskID, edge int) ([]laneEnd, error) {
	e := f.graph.Edges[edge]
	first, next := 0, f.graph.Vertices[e.To].Parallelism
	if e.Distribution == metapb.Distribution_DISTRIBUTION_FORWARD {
		if sub.Index >= next {
			return nil, fmt.Errorf("forward edge leads from parallelism %d to %d", f.graph.Vertices[e.From].Parallelism, next)
		}
		first, next = sub.Index, sub.Index+1
	}
	lanes := make([]laneEnd, 0, next-first)
	for i := first; i < next; i++ {
		to := job.SubtaskID{Vertex: e.To, Index: i}
		if f.here(to) {
			g, err := f.gate(to)
			if err != nil {
				return nil, err
			}
			lanes = append(lanes, laneEnd{local: g.channelFrom(edge, sub.Index)})
			continue
		}
		p, err := f.peer(f.locations[to].Worker)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, laneEnd{remote: p.lane(edge, sub.Index, i)})
	}
	return lanes, nil
}

func (f *Fabric) check(sub job.SubtaskID) error {
	l, ok := f.locations[sub]
	if !ok {
		return fmt.Errorf("incarnation %d has no subtask %v", f.incarnation, sub)
	}
	if l.Worker != f.worker {
		return fmt.Errorf("subtask %v belongs to worker %s, this is %s", sub, l.Worker, f.worker)
	}
	return nil
}

// checkEdge holds e against the graph and against the other uses of the edge.
func (f *Fabric) checkEdge(edge int, e AnyEdge) error {
	if e == nil {
		return errors.New("edge is nil")
	}
	if err := e.validate(f.graph.Edges[edge].Distribution); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := e.recordType()
	if known, ok := f.types[edge]; ok && known != t {
		return fmt.Errorf("edge carries %v here and %v at its other end", t, known)
	}
	f.types[edge] = t
	return nil
}

// gate returns the gate of a subtask of this worker, which may not be attached yet.
func (f *Fabric) gate(sub job.SubtaskID) (*Gate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	g := f.gates[sub]
	if g == nil {
		g = newGate(f, sub)
		for _, c := range g.channels {
			if !f.here(c.from) {
				c.peer = f.peerLocked(f.locations[c.from].Worker)
			}
		}
		f.gates[sub] = g
	}
	return g, nil
}

func (f *Fabric) addOutput(c *outputCore) {
	f.mu.Lock()
	f.outputs = append(f.outputs, c)
	closed := f.closed
	f.mu.Unlock()
	if closed {
		c.shut()
	}
}

// peer returns the peer that is another worker of the incarnation.
func (f *Fabric) peer(worker string) (*peer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	return f.peerLocked(worker), nil
}

// peerLocked also starts connecting, if it is ours to connect.
func (f *Fabric) peerLocked(worker string) *peer {
	p := f.peers[worker]
	if p == nil {
		p = newPeer(f, f.workers[worker])
		f.peers[worker] = p
		if p.dials() {
			f.goroutines.Go(p.dial)
		}
	}
	return p
}

// report tells of a peer's failure.
func (f *Fabric) report(worker string, err error) {
	e := &PeerError{Worker: worker, Subtasks: f.partners(worker), Err: err}
	f.network.options.Log.Warn("lost a worker", "incarnation", uint64(f.incarnation), "worker", worker, "error", err)
	f.failed <- e // has room: one for each worker
}

// partners lists the subtasks here that exchange records with a worker.
func (f *Fabric) partners(worker string) (subtasks []job.SubtaskID) {
	for from, to := range f.channels() {
		switch {
		case f.here(from) && f.locations[to].Worker == worker:
			subtasks = append(subtasks, from)
		case f.here(to) && f.locations[from].Worker == worker:
			subtasks = append(subtasks, to)
		}
	}
	slices.SortFunc(subtasks, func(a, b job.SubtaskID) int {
		return cmp.Or(cmp.Compare(a.Vertex, b.Vertex), cmp.Compare(a.Index, b.Index))
	})
	return slices.Compact(subtasks)
}

// Failed delivers each peer whose connection broke, once. Nothing is delivered
// after Close.
func (f *Fabric) Failed() <-chan *PeerError { return f.failed }

// Stale is the number of frames dropped because they were of another incarnation.
func (f *Fabric) Stale() uint64 { return f.stale.Load() }

// Close releases everything of the incarnation: gates deliver nothing more, outputs
// have no room, connections are closed. It returns when the fabric's goroutines
// have ended.
func (f *Fabric) Close() {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return
	}
	f.closed = true
	gates, outputs, peers := maps.Values(f.gates), f.outputs, maps.Values(f.peers)
	f.mu.Unlock()
	for p := range peers {
		p.end(peerClosed)
	}
	f.cancel()
	f.network.unregister(f)
	for _, o := range outputs {
		o.shut()
	}
	for g := range gates {
		g.Close()
	}
	f.goroutines.Wait()
}
