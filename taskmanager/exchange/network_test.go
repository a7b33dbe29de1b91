package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
)

// apart is one producer in worker a, one consumer in worker b.
var apart = placement{[]string{"a"}, []string{"b"}}

// acceptor is worker b of apart, with incarnations 1 (closed) and 2, and a gate.
type acceptor struct {
	memory  *memnet.Network
	network *Network
	fabric  *Fabric
	gate    *consumer[int]
}

func fabricOptions(i job.Incarnation, worker string) FabricOptions {
	return FabricOptions{
		Incarnation: i, Secret: []byte("secret"), Graph: graphOf(1, 1, forwardless), Worker: worker,
		Locations: map[job.SubtaskID]Location{
			{Vertex: 0}: {Worker: "a", TCP: "a"}, {Vertex: 1}: {Worker: "b", TCP: "b"},
		},
	}
}

func newAcceptor(t *testing.T) *acceptor {
	a := &acceptor{memory: &memnet.Network{}}
	a.network, _ = newNetwork(t, "b", wire{memory: a.memory})
	old, err := a.network.NewFabric(fabricOptions(1, "b"))
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	if a.fabric, err = a.network.NewFabric(fabricOptions(2, "b")); err != nil {
		t.Fatal(err)
	}
	a.gate = newConsumer(t, a.fabric, 0, &Edge[int]{Codec: codecOf[int](t)}, func(int) {})
	return a
}

// knock dials b as a would.
func (a *acceptor) knock(t *testing.T) net.Conn {
	t.Helper()
	conn, err := a.memory.Dial(context.Background(), "tcp", "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func goodHello() hello {
	return hello{incarnation: 2, cluster: "c", job: string(testJob), fromWorker: "a", worker: "b"}
}

// TestRefused: who does not belong is refused with a reason, and nothing fails.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(h *hello)
		secret string
		want   string
	}{
		"cluster":     {func(h *hello) { h.cluster = "d" }, "secret", "another cluster (status 1)"},
		"job":         {func(h *hello) { h.job = "0" }, "secret", "another job (status 2)"},
		"binary":      {func(h *hello) { h.binary[31] = 1 }, "secret", "another binary of the job (status 3)"},
		"stale":       {func(h *hello) { h.incarnation = 1 }, "secret", "incarnation 1 is over (status 4)"},
		"secret":      {func(h *hello) {}, "guess", "secret does not match (status 5)"},
		"misaddresed": {func(h *hello) { h.worker = "c" }, "secret", `this is worker "b", not "c" (status 6)`},
		"stranger":    {func(h *hello) { h.fromWorker = "A" }, "secret", `no connection from worker "A" is expected (status 6)`},
		"direction":   {func(h *hello) { h.fromWorker = "b" }, "secret", "is expected (status 6)"},
		"early":       {func(h *hello) { h.incarnation = 3 }, "secret", "incarnation 3 has not been deployed here within 1m0s (status 8)"},
		"long id":     {func(h *hello) { h.fromWorker = strings.Repeat("a", 300) }, "secret", "no hello of this protocol (status 9)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAcceptor(t)
				h := goodHello()
				c.spoil(&h)
				err := greet(a.knock(t), []byte(c.secret), h)
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want a refusal with %q", err, c.want)
				}
				if len(a.fabric.failed) > 0 {
					t.Error("a stranger made the fabric fail")
				}
				if err := greet(a.knock(t), []byte("secret"), goodHello()); err != nil {
					t.Errorf("the right worker is refused afterwards: %v", err)
				}
			})
		})
	}
}

// TestSecondConnection: there is one connection, and it is never replaced.
func TestSecondConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(t)
		first := a.knock(t)
		if err := greet(first, []byte("secret"), goodHello()); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"beside the first", "after the first broke"} {
			err := greet(a.knock(t), []byte("secret"), goodHello())
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "(status 7)") {
				t.Errorf("second connection %s: %v", when, err)
			}
			first.Close()
			synctest.Wait()
		}
	})
}

// TestImpostor: the dialling end refuses a worker that does not know the secret.
func TestImpostor(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go func() {
		n, _ := sendGreeting(there)
		readHello(there)
		answer(there, []byte("guess"), n, accepted, "")
	}()
	if err := greet(here, []byte("secret"), goodHello()); !errors.Is(err, ErrRefused) {
		t.Errorf("an impostor's answer: %v", err)
	}
}

// TestStrangeProtocols: other versions and other protocols get no further.
func TestStrangeProtocols(t *testing.T) {
	for _, first := range []string{"weirdata\x01\x00", "GET / HTTP/1.1\r\n\r\n", "weirdata\x02\x00\xff\xff"} {
		synctest.Test(t, func(t *testing.T) {
			a := newAcceptor(t)
			conn := a.knock(t)
			go conn.Write([]byte(first))
			all, err := io.ReadAll(conn)
			if err != nil || !strings.Contains(string(all), "no hello of this protocol") {
				t.Errorf("answer to %q: %q, %v", first, all, err)
			}
		})
	}
	if err := readPreamble(strings.NewReader("weirdata\x01\x00")); err == nil || !strings.Contains(err.Error(), "version 1, want 2") {
		t.Errorf("error of another version: %v", err)
	}
}

// TestSilentStranger: a connection that says nothing is closed.
func TestSilentStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(t)
		conn := a.knock(t)
		began := time.Now()
		_, err := io.Copy(io.Discard, conn)
		if took := time.Since(began); err != nil || took != helloTimeout {
			t.Errorf("closed after %v: %v", took, err)
		}
	})
}

// TestDeployedLater: the consumer's worker is told of the incarnation after the
// producer's has dialled, and attaches its gate still later: the producer waits.
func TestDeployedLater(t *testing.T) {
	for _, later := range []string{"a", "b"} {
		synctest.Test(t, func(t *testing.T) {
			memory := &memnet.Network{}
			e := &Edge[int]{Codec: codecOf[int](t)}
			networks := map[string]*Network{}
			for _, name := range []string{"a", "b"} {
				networks[name], _ = newNetwork(t, name, wire{memory: memory})
			}
			open := func(name string) *Fabric {
				f, err := networks[name].NewFabric(fabricOptions(1, name))
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			var out *producer[int]
			var in *consumer[int]
			deploy := map[string]func(){
				"a": func() { out = newProducer(t, open("a"), 0, e) },
				"b": func() { in = newConsumer(t, open("b"), 0, e, func(int) {}) },
			}
			for name, f := range deploy {
				if name != later {
					f()
				}
			}
			time.Sleep(10 * time.Second)
			if out != nil && out.Room() {
				t.Error("there is room before the consumer exists")
			}
			deploy[later]()
			out.await()
			out.Receive(1)
			out.Flush()
			if it := in.next(); it.Batch == nil {
				t.Errorf("got %+v, want a record", it)
			}
		})
	}
}

// TestLost: a connection that breaks fails both fabrics, naming the other worker
// and who used it.
func TestLost(t *testing.T) {
	bubble(t, graphOf(2, 2, hash), placement{[]string{"a", "b"}, []string{"b", "a"}}, 0, func(t *testing.T, s map[string]*site) {
		e := pairEdge(t)
		for i, name := range []string{"a", "b"} {
			newProducer(t, s[name].Fabric, i, e)
		}
		synctest.Wait()
		s["a"].peers["b"].conn.Close()
		synctest.Wait()
		for here, there := range map[string]string{"a": "b", "b": "a"} {
			select {
			case err := <-s[here].Failed():
				want := []job.SubtaskID{{Vertex: 0, Index: 0}, {Vertex: 1, Index: 1}}
				if here == "b" {
					want = []job.SubtaskID{{Vertex: 0, Index: 1}, {Vertex: 1, Index: 0}}
				}
				if err.Worker != there || !slices.Equal(err.Subtasks, want) || !strings.Contains(err.Error(), "worker "+there) {
					t.Errorf("worker %s reports %v of %v, want worker %s of %v", here, err, err.Subtasks, there, want)
				}
			default:
				t.Errorf("worker %s does not notice", here)
			}
		}
	})
}

// TestRefusedByPeer: a refusal fails the dialling fabric only.
func TestRefusedByPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(t)
		n, _ := newNetwork(t, "a", wire{memory: a.memory})
		f, err := n.NewFabric(fabricOptions(1, "a")) // b is at 2
		if err != nil {
			t.Fatal(err)
		}
		newProducer(t, f, 0, &Edge[int]{Codec: codecOf[int](t)})
		if err := <-f.Failed(); err.Worker != "b" || !errors.Is(err, ErrRefused) {
			t.Errorf("failure %v, want a refusal by worker b", err)
		}
		if len(a.fabric.failed) > 0 {
			t.Error("the refusing fabric failed")
		}
	})
}

// TestNobodyThere: a worker that cannot be reached is named.
func TestNobodyThere(t *testing.T) {
	n, err := NewNetwork(NetworkOptions{Machine: "h"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	o := fabricOptions(1, "a")
	o.Locations[job.SubtaskID{Vertex: 1}] = Location{Worker: "b", Machine: "h", TCP: "127.0.0.1:1", Unix: t.TempDir() + "/none"}
	f, err := n.NewFabric(o)
	if err != nil {
		t.Fatal(err)
	}
	newProducer(t, f, 0, &Edge[int]{Codec: codecOf[int](t)})
	e := <-f.Failed()
	if e.Worker != "b" || !strings.Contains(e.Error(), "/none") || !strings.Contains(e.Error(), "127.0.0.1:1") {
		t.Errorf("failure %v, want one that names worker b and both its addresses", e)
	}
}

// TestBye: a fabric that closes on purpose fails nobody, and everything of it ends.
func TestBye(t *testing.T) {
	bubble(t, graphOf(1, 1, forwardless), apart, 0, func(t *testing.T, s map[string]*site) {
		e := &Edge[int]{Codec: codecOf[int](t)}
		out := newProducer(t, s["a"].Fabric, 0, e)
		in := newConsumer(t, s["b"].Fabric, 0, e, func(int) {})
		out.await()
		began := time.Now()
		s["a"].Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("closing took %v", took)
		}
		synctest.Wait()
		if len(s["b"].failed) > 0 {
			t.Errorf("the other worker fails: %v", <-s["b"].Failed())
		}
		if out.Room() {
			t.Error("a closed output has room")
		}
		<-out.wake
		s["b"].Close()
		<-in.wake
		if it, ok := in.Poll(); ok {
			t.Errorf("a closed gate delivers %+v", it)
		}
		out.Receive(1) // must not panic or block
		out.Broadcast(endOfInput)
	})
}

// TestByeOverSockets: the bye is heard although the connection is reset at once,
// because frames were on their way.
func TestByeOverSockets(t *testing.T) {
	for name, tcp := range map[string]bool{"unix": false, "tcp": true} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				s := fabrics(t, graphOf(1, 1, forwardless), apart, wire{tcp: tcp})
				e := &Edge[int]{Codec: codecOf[int](t)}
				out := newProducer(t, s["a"].Fabric, 0, e)
				in := newConsumer(t, s["b"].Fabric, 0, e, func(int) {})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for v := range 200_000 {
						out.Receive(v)
					}
				}()
				in.next()
				s["b"].Close()
				<-ended
				p := s["a"].peers["b"]
				p.mu.Lock()
				for p.state <= peerConnected {
					p.work.Wait()
				}
				p.mu.Unlock()
				if len(s["a"].failed) > 0 {
					t.Fatalf("the other worker closed on purpose, yet: %v", <-s["a"].Failed())
				}
				s["a"].Close()
			}
		})
	}
}

// TestCloseLocal: closing takes room and items away inside a worker too.
func TestCloseLocal(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	f := fabrics(t, graphOf(1, 1, forward), alone(1, 1), wire{})["a"].Fabric
	out, in := newProducer(t, f, 0, e), newConsumer(t, f, 0, e, func(int) {})
	out.Receive(1)
	out.Flush()
	it, _ := in.Poll()
	f.Close()
	<-out.wake
	<-in.wake
	in.Release(it)
	out.Receive(2)
	out.Broadcast(endOfInput)
	if _, ok := in.Poll(); ok || out.Room() || out.Stats().Dropped != 1 {
		t.Errorf("after close: delivers %v, room %v, %+v", ok, out.Room(), out.Stats())
	}
	if _, err := f.Gate(job.SubtaskID{Vertex: 1}, []AnyEdge{e}, nil); err == nil {
		t.Error("a closed fabric opens a gate")
	}
}

// TestGateCloses: the producers of a subtask that has ended find no room, whether
// they come before or after.
func TestGateCloses(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	f := fabrics(t, graphOf(2, 1, forwardless), alone(2, 1), wire{})["a"].Fabric
	before := newProducer(t, f, 0, e)
	in := newConsumer(t, f, 0, e, func(int) {})
	in.Close()
	after := newProducer(t, f, 1, e)
	if before.Room() || !before.rt.Attention.Load() || after.Room() {
		t.Errorf("room %v (attention %v) and %v", before.Room(), before.rt.Attention.Load(), after.Room())
	}
}

// TestDeafPeer: a peer that does not read delays Close by no more than byeTimeout.
func TestDeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(t)
		conn := a.knock(t)
		if err := greet(conn, []byte("secret"), goodHello()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		a.fabric.Close() // a pipe has no buffer: the bye waits for a reader
		if took := time.Since(began); took > byeTimeout {
			t.Errorf("closing took %v", took)
		}
	})
}

// TestEarlyEvents: events for a consumer that is not deployed are kept, not for ever.
func TestEarlyEvents(t *testing.T) {
	bubble(t, graphOf(1, 1, forwardless), apart, 0, func(t *testing.T, s map[string]*site) {
		out := newProducer(t, s["a"].Fabric, 0, &Edge[int]{Codec: codecOf[int](t)})
		for i := range maxEarlyEvents {
			out.Broadcast(barrier(i + 1))
		}
		synctest.Wait()
		if len(s["b"].failed) > 0 {
			t.Fatalf("after %d events: %v", maxEarlyEvents, <-s["b"].Failed())
		}
		out.Broadcast(barrier(1 << 20))
		synctest.Wait()
		select {
		case err := <-s["b"].Failed():
			if !errors.Is(err, errViolation) {
				t.Error(err)
			}
		default:
			t.Error("events are kept without bound")
		}
	})
}

// TestMisuse: what a fabric refuses to open.
func TestMisuse(t *testing.T) {
	e := pairEdge(t)
	f := fabrics(t, graphOf(1, 1, hash), apart, wire{memory: &memnet.Network{}})["a"].Fabric
	g := fabrics(t, graphOf(1, 1, hash), alone(1, 1), wire{})["a"].Fabric
	sub := func(v, i int) job.SubtaskID { return job.SubtaskID{Vertex: job.VertexID(v), Index: i} }
	output := func(f *Fabric, s job.SubtaskID, edge int, e AnyEdge) error {
		_, err := f.Output(s, edge, e, &operator.Runtime{}, nil)
		return err
	}
	gate := func(f *Fabric, s job.SubtaskID, edges ...AnyEdge) error {
		_, err := f.Gate(s, edges, nil)
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"other worker", gate(f, sub(1, 0), e), "belongs to worker b, this is a"},
		{"no subtask", output(f, sub(0, 7), 0, e), "has no subtask v0[7]"},
		{"no edge", output(f, sub(0, 0), 1, e), "edge 1 is none of its vertex"},
		{"nil edge", output(f, sub(0, 0), 0, nil), "edge is nil"},
		{"no codec", output(f, sub(0, 0), 0, &Edge[pair]{}), "no codec"},
		{"no hash", output(f, sub(0, 0), 0, &Edge[pair]{Codec: e.Codec}), "no Hash"},
		{"first output", output(g, sub(0, 0), 0, e), ""},
		{"second output", output(g, sub(0, 0), 0, e), "exists already"},
		{"inputs", gate(g, sub(1, 0)), "0 edges given, the vertex has 1 inputs"},
		{"type", gate(g, sub(1, 0), &Edge[string]{Codec: codecOf[string](t), Hash: func(string) uint64 { return 0 }}), "carries string here and exchange.pair at its other end"},
		{"first gate", gate(g, sub(1, 0), e), ""},
		{"second gate", gate(g, sub(1, 0), e), "exists already"},
	} {
		if (c.err == nil) != (c.want == "") || c.err != nil && !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, c.err, c.want)
		}
	}
	if _, err := NewConsumer(e, &operator.Runtime{}, 7); err == nil || !strings.Contains(err.Error(), "int receives no exchange.pair") {
		t.Errorf("a consumer of nonsense: %v", err)
	}
	if _, err := g.network.NewFabric(FabricOptions{Incarnation: 1, Graph: g.graph, Locations: g.locations, Worker: "a"}); err == nil {
		t.Error("an incarnation opens twice")
	}
}
