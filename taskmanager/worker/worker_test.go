package worker_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/taskmanager/worker"
)

const jobID = job.ID("0123456789abcdef0123456789abcdef")

// agent is a scripted agent with one real worker, in a bubble.
type agent struct {
	weirpb.UnimplementedAgentServiceServer
	t       *testing.T
	dir     string
	plan    *metapb.Plan // as submitted
	graph   *job.Graph
	refuse  string
	hello   chan *weirpb.AttachWorker
	from    chan *weirpb.FromSubtasks
	adopted chan *weirpb.FromSubtasks
	to      chan *weirpb.ToWorker // closed: the stream ends
	gate    chan struct{}         // user code waits here
	ended   chan error
}

func (a *agent) Attach(s grpc.BidiStreamingServer[weirpb.FromWorker, weirpb.ToWorker]) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	if a.refuse != "" {
		return status.Error(codes.FailedPrecondition, a.refuse)
	}
	if err := s.Send(&weirpb.ToWorker{Message: &weirpb.ToWorker_Accepted{Accepted: &weirpb.WorkerAccepted{
		DataDir: a.dir, MemoryBytes: 64 << 20,
		Start: &weirpb.StartWorker{JobId: string(jobID), JobName: "orders", Plan: a.plan, Config: []*metapb.Setting{{Key: "state.backend.type", Value: "heap"}}},
	}}}); err != nil {
		return err
	}
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			if h := m.GetAttach(); h != nil {
				a.hello <- h
			} else if f := m.GetFromSubtasks(); f.GetStatus() != nil {
				a.from <- f
			} else if f.GetAdopted() != nil {
				a.adopted <- f
			}
		}
	}()
	for {
		select {
		case m, ok := <-a.to:
			if !ok {
				return nil
			}
			if err := s.Send(m); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

// gated is a sink whose writers wait at the gate: user code that does not return.
type gated struct{ gate chan struct{} }

func (g gated) NewWriter(*weir.Setup) (weir.Writer[uint64], error) { return g, nil }

func (g gated) Write(uint64) error {
	<-g.gate
	return nil
}

func inBubble(t *testing.T, setup func(*agent), test func(t *testing.T, a *agent)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := &agent{
			t: t, dir: dir, gate: make(chan struct{}), hello: make(chan *weirpb.AttachWorker, 1), from: make(chan *weirpb.FromSubtasks, 1000), adopted: make(chan *weirpb.FromSubtasks, 9),
			to: make(chan *weirpb.ToWorker), ended: make(chan error, 1),
		}
		plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, func(env *weir.Env) error {
			env.From("in", generator.Range(1000, func(i uint64) uint64 { return i })).To("out", gated{a.gate})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a.plan = plan
		if a.graph, err = job.NewGraph(plan, 1); err != nil {
			t.Fatal(err)
		}
		if setup != nil {
			setup(a)
		}
		l := bufconn.Listen(1 << 16)
		server := grpc.NewServer()
		weirpb.RegisterAgentServiceServer(server, a)
		go func() { _ = server.Serve(l) }()
		ctx, cancel := context.WithCancel(t.Context())
		data := new(memnet.Network)
		go func() {
			a.ended <- worker.Run(ctx, worker.Options{
				JobID: jobID, WorkerID: 3, NewProgram: program, TCP: "w3", Listen: data.Listen, Dial: data.Dial,
				DialAgent: func(ctx context.Context) (net.Conn, error) { return l.DialContext(ctx) },
			})
		}()
		test(t, a)
		cancel()
		select {
		case <-a.gate:
		default:
			close(a.gate)
		}
		synctest.Wait()
		server.Stop()
	})
}

func (a *agent) command(c *weirpb.ToSubtasks) { a.commandOf(1, c) }

// commandOf is a command of the leader of an epoch.
func (a *agent) commandOf(epoch uint64, c *weirpb.ToSubtasks) {
	c.JobId = string(jobID)
	a.to <- &weirpb.ToWorker{LeaderEpoch: epoch, Message: &weirpb.ToWorker_ToSubtasks{ToSubtasks: c}}
}

func (a *agent) deploy(incarnation uint64) {
	d := &weirpb.Deploy{
		Incarnation: incarnation, Attempt: &weirpb.Attempt{Epoch: 1, N: uint32(incarnation)}, Secret: "s", ClusterId: "weir", CheckpointDir: a.dir + "/checkpoints",
	}
	for _, v := range a.graph.Vertices {
		d.Parallelism = append(d.Parallelism, &metapb.VertexParallelism{Vertex: uint32(v.ID), Parallelism: uint32(v.Parallelism)})
	}
	for _, s := range a.graph.Subtasks() {
		ref := &weirpb.SubtaskRef{Vertex: uint32(s.Vertex), Subtask: uint32(s.Index)}
		d.Subtasks = append(d.Subtasks, &weirpb.SubtaskDeployment{Subtask: ref})
		d.Locations = append(d.Locations, &weirpb.SubtaskLocation{Subtask: ref, WorkerId: 3, DataAddress: "w3", Machine: "h"})
	}
	a.command(&weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Deploy{Deploy: d}})
}

func (a *agent) cancel(incarnation uint64) {
	a.command(&weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Cancel{Cancel: &weirpb.CancelAttempts{Incarnation: incarnation, Reason: "test"}}})
}

// statuses waits until everybody waits, and returns what was said of an incarnation.
func (a *agent) statuses(incarnation uint64) map[weirpb.SubtaskStatus_State]int {
	a.t.Helper()
	synctest.Wait()
	n := map[weirpb.SubtaskStatus_State]int{}
	for {
		select {
		case f := <-a.from:
			if s := f.GetStatus(); f.Incarnation == incarnation {
				if s.Incarnation != incarnation || s.Attempt.GetN() != uint32(incarnation) {
					a.t.Errorf("status %v in incarnation %d", s, incarnation)
				}
				n[s.State]++
			}
		default:
			return n
		}
	}
}

const (
	running  = weirpb.SubtaskStatus_STATE_RUNNING
	canceled = weirpb.SubtaskStatus_STATE_CANCELED
)

func (a *agent) built() {
	a.t.Helper()
	if h := <-a.hello; h.PlanDifference != "" || h.DataAddress != "w3" || len(h.PlanSha256) == 0 {
		a.t.Fatalf("the worker says %v", h)
	}
}

func TestAttachRefused(t *testing.T) {
	inBubble(t, func(a *agent) { a.refuse = "worker 3 is not expected here" }, func(t *testing.T, a *agent) {
		if err := <-a.ended; err == nil || !strings.Contains(err.Error(), a.refuse) {
			t.Errorf("run: %v", err)
		}
	})
}

func TestPlanMismatch(t *testing.T) {
	inBubble(t, func(a *agent) {
		a.plan = proto.CloneOf(a.plan)
		a.plan.Operators[len(a.plan.Operators)-1].Uid = "another"
	}, func(t *testing.T, a *agent) {
		if h := <-a.hello; !strings.Contains(h.PlanDifference, `"another"`) || h.DataAddress != "" {
			t.Errorf("the worker says %v", h)
		}
	})
}

// TestAgentLost: without its agent a worker is of no use to anybody.
func TestAgentLost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *agent) {
		a.built()
		close(a.to)
		if err := <-a.ended; err == nil || !strings.Contains(err.Error(), "stream from the agent") {
			t.Errorf("run: %v", err)
		}
	})
}

// TestDeployWaits (I2): a new attempt starts when the goroutines of the old one have
// returned, not before.
func TestDeployWaits(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *agent) {
		all := len(a.graph.Subtasks())
		a.built()
		a.deploy(1)
		if n := a.statuses(1); n[running] != all {
			t.Fatalf("statuses %v, want %d running", n, all)
		}
		a.deploy(1) // a repeated command
		a.cancel(1)
		a.deploy(2)
		<-time.After(time.Second) // less than the grace
		if n := a.statuses(2); len(n) > 0 {
			t.Fatalf("I2: the new attempt says %v while the old one lives", n)
		}
		close(a.gate)
		if n := a.statuses(2); n[running] != all {
			t.Errorf("statuses %v, want %d running", n, all)
		}
		a.cancel(2)
		<-time.After(3 * time.Second) // nobody gives up any more
		select {
		case err := <-a.ended:
			t.Errorf("the worker has ended: %v", err)
		default:
		}
	})
}

// TestStuckAttempt: user code that does not return can only be ended with its
// process.
func TestStuckAttempt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *agent) {
		a.built()
		a.deploy(1)
		a.statuses(1)
		a.cancel(1)
		began := time.Now()
		a.deploy(2)
		err := <-a.ended
		if err == nil || !strings.Contains(err.Error(), "has not returned in 2s") {
			t.Errorf("run: %v", err)
		}
		if d := time.Since(began); d != 4*time.Second { // 2 s for the old attempt, 2 s to close
			t.Errorf("the worker ended after %v", d)
		}
	})
}

// TestCancelledWhileWaiting: a deployment that is cancelled before it has begun says
// so, and never begins.
func TestCancelledWhileWaiting(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *agent) {
		all := len(a.graph.Subtasks())
		a.built()
		a.deploy(1)
		a.statuses(1)
		a.cancel(1)
		a.deploy(2)
		a.cancel(2)
		if n := a.statuses(2); n[canceled] != all || len(n) != 1 {
			t.Errorf("statuses %v, want %d canceled", n, all)
		}
		close(a.gate)
		if n := a.statuses(2); len(n) > 0 {
			t.Errorf("a cancelled deployment began: %v", n)
		}
		select {
		case err := <-a.ended:
			t.Errorf("the worker has ended: %v", err)
		default:
		}
	})
}

// TestDeployFails: what can't be deployed is said of every subtask.
func TestDeployFails(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *agent) {
		a.built()
		a.graph.Vertices = a.graph.Vertices[:0:0]
		sub := &weirpb.SubtaskRef{Vertex: 77}
		a.command(&weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Deploy{Deploy: &weirpb.Deploy{
			Incarnation: 1, Attempt: &weirpb.Attempt{N: 1}, CheckpointDir: "no-such-scheme://x", Subtasks: []*weirpb.SubtaskDeployment{{Subtask: sub}}}}})
		if n := a.statuses(1); n[weirpb.SubtaskStatus_STATE_FAILED] != 1 {
			t.Errorf("statuses %v, want one failed", n)
		}
	})
}

// TestFormerLeader (I2): what a former leader says is refused, by the worker too.
func TestFormerLeader(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *agent) {
		all := len(a.graph.Subtasks())
		a.built()
		a.deploy(1)
		if n := a.statuses(1); n[running] != all {
			t.Fatalf("statuses %v, want %d running", n, all)
		}
		a.commandOf(2, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Adopt{Adopt: &weirpb.Adopt{Incarnation: 1, LeaderEpoch: 2}}})
		if m := <-a.adopted; m.Incarnation != 1 || m.GetAdopted().LeaderEpoch != 2 {
			t.Errorf("the worker confirms %v", m)
		}
		a.cancel(1) // of epoch 1
		if n := a.statuses(1); len(n) > 0 {
			t.Errorf("a former leader ended the attempt: %v", n)
		}
		close(a.gate)
		a.commandOf(2, &weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Cancel{Cancel: &weirpb.CancelAttempts{Incarnation: 1, Reason: "test"}}})
		if n := a.statuses(1); n[canceled] != all {
			t.Errorf("statuses %v, want %d canceled", n, all)
		}
	})
}
