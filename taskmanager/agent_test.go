package taskmanager

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
)

const jobA = "0123456789abcdef0123456789abcdef"

// jobManager is a scripted JobManager: it takes one stream after the other.
type jobManager struct {
	weirpb.UnimplementedJobManagerServiceServer
	lead    atomic.Pointer[leader]
	refusal *weirpb.RegistrationRefused
	streams chan *jobManagerStream
	objects chan struct{} // FetchObject waits for it
	beat    time.Duration // heartbeat.interval; 0 = not named
	beats   atomic.Int64  // heartbeats received
	refused atomic.Uint64 // commands, as the last heartbeat says
	frozen  atomic.Bool   // it takes streams and says nothing
}

type leader struct {
	epoch   uint64
	cluster string
}

type jobManagerStream struct {
	hello *weirpb.RegisterTaskManager
	from  chan *weirpb.FromTaskManager
	to    chan *weirpb.ToTaskManager // closed: the stream ends
	quiet chan struct{}              // closed: no heartbeats any more
}

func (j *jobManager) Connect(s grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if j.frozen.Load() {
		<-s.Context().Done()
		return nil
	}
	if j.refusal != nil {
		return s.Send(&weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_Refused{Refused: j.refusal}})
	}
	lead := *j.lead.Load()
	if err := s.Send(&weirpb.ToTaskManager{LeaderEpoch: lead.epoch, Message: &weirpb.ToTaskManager_Registered{
		Registered: &weirpb.Registered{
			ClusterIncarnation: lead.cluster, HeartbeatIntervalMs: uint32(j.beat.Milliseconds()), HeartbeatTimeoutMs: uint32(3 * j.beat.Milliseconds()),
		}}}); err != nil {
		return err
	}
	c := &jobManagerStream{
		hello: first.GetRegister(), from: make(chan *weirpb.FromTaskManager, 1000), to: make(chan *weirpb.ToTaskManager), quiet: make(chan struct{}),
	}
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			if m.GetHeartbeat() == nil {
				c.from <- m
			} else {
				j.beats.Add(1)
				j.refused.Store(m.GetHeartbeat().Refused)
			}
		}
	}()
	select {
	case j.streams <- c:
	case <-s.Context().Done():
		return nil
	}
	beat := time.NewTicker(cmp.Or(j.beat, time.Second))
	defer beat.Stop()
	for {
		select {
		case m, ok := <-c.to:
			if !ok {
				return nil
			}
			if m.LeaderEpoch == 0 {
				m.LeaderEpoch = lead.epoch
			}
			if err := s.Send(m); err != nil {
				return err
			}
		case <-beat.C:
			select {
			case <-c.quiet:
				continue
			default:
			}
			if err := s.Send(&weirpb.ToTaskManager{LeaderEpoch: lead.epoch, Message: &weirpb.ToTaskManager_Heartbeat{Heartbeat: &weirpb.Heartbeat{}}}); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (j *jobManager) FetchObject(_ *weirpb.FetchObjectRequest, s grpc.ServerStreamingServer[weirpb.ObjectChunk]) error {
	select {
	case <-j.objects:
		return errors.New("no such object")
	case <-s.Context().Done():
		return nil
	}
}

// scripted is a launcher whose processes are played by the test.
type scripted struct {
	binary bool
	fail   error
	procs  chan *proc
}

func (s *scripted) NeedsBinary() bool { return s.binary }

func (s *scripted) Launch(w WorkerSpec) (Process, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	p := &proc{spec: w, ended: make(chan Exit, 1), terminated: make(chan struct{}, 9), killed: make(chan struct{}, 9)}
	s.procs <- p
	return p, nil
}

type proc struct {
	spec               WorkerSpec
	ended              chan Exit
	terminated, killed chan struct{}
}

func (p *proc) PID() int   { return 42 }
func (p *proc) Wait() Exit { return <-p.ended }
func (p *proc) Terminate() { p.terminated <- struct{}{} }
func (p *proc) Kill()      { p.killed <- struct{}{} }

// world is an agent between a scripted JobManager and scripted workers, in a bubble.
type world struct {
	t      *testing.T
	jm     *jobManager
	launch *scripted
	agent  *bufconn.Listener
	stream *jobManagerStream
	conns  []*grpc.ClientConn
	over   chan error // of Run
	fails  error      // what Run is to end with
}

func inWorld(t *testing.T, setup func(*world), test func(*world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, agent: bufconn.Listen(1 << 16), launch: &scripted{procs: make(chan *proc, 9)},
			jm: &jobManager{streams: make(chan *jobManagerStream), objects: make(chan struct{})}, over: make(chan error, 1),
		}
		w.jm.lead.Store(&leader{5, "c1"})
		if setup != nil {
			setup(w)
		}
		rpc := bufconn.Listen(1 << 16)
		server := grpc.NewServer()
		weirpb.RegisterJobManagerServiceServer(server, w.jm)
		go func() { _ = server.Serve(rpc) }()
		tm, err := New(Config{
			ID: "tm", JobManagers: []string{"jm"}, Data: dir, Launcher: w.launch, Slots: 2, Memory: 1000, AgentListener: w.agent,
			Dial: func(ctx context.Context, _ string) (net.Conn, error) { return rpc.DialContext(ctx) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { w.over <- tm.Run(ctx) }()
		if w.jm.refusal == nil {
			w.stream = <-w.jm.streams
		}
		test(w)
		cancel()
		synctest.Wait()
		for range 9 { // whatever still runs ends when it is killed
			select {
			case p := <-w.launch.procs:
				p.ended <- Exit{}
			default:
			}
		}
		if err := <-w.over; !errors.Is(err, w.fails) {
			t.Errorf("run: %v, want %v", err, w.fails)
		}
		for _, c := range w.conns {
			_ = c.Close()
		}
		server.Stop()
		if left, err := os.ReadDir(dir + "/workers"); err != nil || len(left) > 0 {
			t.Errorf("folders of workers stay behind: %v, %v", left, err)
		}
	})
}

func (w *world) start(id uint64) {
	w.stream.to <- &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_StartWorker{StartWorker: &weirpb.StartWorker{
		JobId: jobA, WorkerId: id, Slots: 1, PlanSha256: []byte("plan"), BinarySha256: make([]byte, sha256.Size),
		Plan: &metapb.Plan{Name: "orders", Operators: []*metapb.Operator{
			{Uid: "lines", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE},
			{Uid: "count", Kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, Inputs: []*metapb.Input{{Distribution: metapb.Distribution_DISTRIBUTION_HASH}}},
		}}}}}
}

func (w *world) stop(id uint64, grace time.Duration) {
	w.stream.to <- &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_StopWorker{StopWorker: &weirpb.StopWorker{
		JobId: jobA, WorkerId: id, Reason: "because", GraceMs: uint32(grace / time.Millisecond)}}}
}

func (w *world) subtasks(c *weirpb.ToSubtasks) {
	c.JobId = jobA
	w.stream.to <- &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_ToSubtasks{ToSubtasks: c}}
}

// exited waits for the report of a worker's end.
func (w *world) exited(id uint64, want string, userError bool) *weirpb.WorkerExited {
	w.t.Helper()
	m := <-w.stream.from
	e := m.GetWorkerExited()
	if e == nil || e.WorkerId != id || !strings.Contains(e.Reason, want) || e.UserError != userError {
		w.t.Errorf("the agent says %v, want the end of worker %d: %q, user error %v", m, id, want, userError)
	}
	return e
}

// idle checks that nothing has happened to p.
func (w *world) idle(p *proc) {
	w.t.Helper()
	synctest.Wait()
	if len(p.killed) > 0 || len(p.terminated) > 0 {
		w.t.Errorf("worker %d was stopped (%d) or killed (%d)", p.spec.WorkerID, len(p.terminated), len(p.killed))
	}
}

type attachment struct {
	grpc.BidiStreamingClient[weirpb.FromWorker, weirpb.ToWorker]
	conn *grpc.ClientConn
}

// attach opens a worker's control stream.
func (w *world) attach(hello *weirpb.AttachWorker) attachment {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///agent", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return w.agent.DialContext(ctx) }))
	if err != nil {
		w.t.Fatal(err)
	}
	w.conns = append(w.conns, conn)
	s, err := weirpb.NewAgentServiceClient(conn).Attach(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	a := attachment{s, conn}
	a.say(w.t, &weirpb.FromWorker{Message: &weirpb.FromWorker_Attach{Attach: hello}})
	return a
}

func (a attachment) say(t *testing.T, m *weirpb.FromWorker) {
	t.Helper()
	if err := a.Send(m); err != nil {
		t.Fatal(err)
	}
}

// ready brings worker id to where it takes deployments.
func (w *world) ready(id uint64) (*proc, attachment) {
	w.t.Helper()
	w.start(id)
	p := <-w.launch.procs
	a := w.attach(&weirpb.AttachWorker{ProtocolVersion: weirpb.ProtocolVersion, JobId: jobA, WorkerId: id})
	m, err := a.Recv()
	if err != nil || m.GetAccepted().GetMemoryBytes() != 500 {
		w.t.Fatalf("attach: %v, %v; want half of the memory", m, err)
	}
	a.say(w.t, &weirpb.FromWorker{Message: &weirpb.FromWorker_Attach{Attach: &weirpb.AttachWorker{
		JobId: jobA, WorkerId: id, PlanSha256: []byte("plan"), DataAddress: "d", Pid: 7}}})
	if m := (<-w.stream.from).GetWorkerStarted(); m.GetWorkerId() != id || m.GetDataAddress() != "d" {
		w.t.Fatalf("started: %v", m)
	}
	return p, a
}

func (w *world) ended(p *proc, id uint64, want string, userError bool) {
	w.t.Helper()
	p.ended <- Exit{Reason: "signal: killed"}
	w.exited(id, want, userError)
}

func TestNewerWorkerReplaces(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		old, _ := w.ready(5)
		w.start(6)
		<-old.killed
		synctest.Wait()
		select {
		case <-w.launch.procs:
			t.Error("I2: two workers of a job at once")
		default:
		}
		w.start(4) // a command that was overtaken
		w.exited(4, "worker 6 of the job is newer", false)
		w.start(6) // a repeated one
		w.ended(old, 5, "another worker of the job takes its place", false)
		p := <-w.launch.procs
		if p.spec.WorkerID != 6 {
			t.Errorf("launched %d", p.spec.WorkerID)
		}
		w.idle(p)
		w.stop(5, 0) // of one that is gone
		w.idle(p)
		w.stop(0, 0) // whichever runs
		<-p.killed
		w.ended(p, 6, "because", false)
	})
}

func TestStopWithGrace(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p, _ := w.ready(1)
		began := time.Now()
		w.stop(1, 2*time.Second)
		<-p.terminated
		<-p.killed
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("killed after %v, want 2s", d)
		}
		w.ended(p, 1, "because; killed because it did not end in time", false)
	})
}

func TestStopWhileFetching(t *testing.T) {
	inWorld(t, func(w *world) { w.launch.binary = true }, func(w *world) {
		w.start(1)
		synctest.Wait()
		w.stop(1, time.Second)
		w.exited(1, "because", false)
		w.start(2)
		close(w.jm.objects)
		w.exited(2, "no such object", false)
	})
}

func TestLaunchFails(t *testing.T) {
	for err, user := range map[error]bool{fmt.Errorf("exec: %w", syscall.ENOEXEC): true, fmt.Errorf("fork: %w", syscall.EAGAIN): false} {
		inWorld(t, func(w *world) { w.launch.fail = err }, func(w *world) {
			w.start(1)
			w.exited(1, err.Error(), user)
		})
	}
}

func TestAttachRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		refused := func(want string, hello *weirpb.AttachWorker) {
			t.Helper()
			if m, err := w.attach(hello).Recv(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("attach: %v, %v; want %q", m, err, want)
			}
		}
		refused("is not expected here", &weirpb.AttachWorker{ProtocolVersion: weirpb.ProtocolVersion, JobId: jobA, WorkerId: 1})
		p, _ := w.ready(1)
		refused("is ready and cannot attach", &weirpb.AttachWorker{ProtocolVersion: weirpb.ProtocolVersion, JobId: jobA, WorkerId: 1})
		refused("is not expected here", &weirpb.AttachWorker{ProtocolVersion: weirpb.ProtocolVersion, JobId: "another", WorkerId: 1})
		w.idle(p)
		w.start(2)
		<-p.killed
		w.ended(p, 1, "", false)
		p = <-w.launch.procs
		refused("speaks control protocol 9", &weirpb.AttachWorker{ProtocolVersion: 9, JobId: jobA, WorkerId: 2})
		<-p.killed
		w.ended(p, 2, "speaks control protocol 9", true)
	})
}

// TestRefused: who is refused for good ends and says why; who is refused for now tries
// on.
func TestRefused(t *testing.T) {
	for _, final := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.jm.refusal = &weirpb.RegistrationRefused{Reason: "it is of another cluster", Final: final}
			if final {
				w.fails = ErrRefused
			}
		}, func(w *world) {
			<-time.After(time.Minute) // of the bubble
			if over := len(w.over) == 1; over != final {
				t.Errorf("final %v: ended is %v", final, over)
			}
		})
	}
}

// TestRefusedLater: workers of an agent that a new leader refuses for good end with it.
func TestRefusedLater(t *testing.T) {
	inWorld(t, func(w *world) { w.fails = ErrRefused }, func(w *world) {
		p, _ := w.ready(1)
		w.jm.refusal = &weirpb.RegistrationRefused{Reason: "run matching versions", Final: true}
		close(w.stream.to)
		<-p.terminated
		<-p.killed
		p.ended <- Exit{}
		synctest.Wait()
		if len(w.over) != 1 {
			t.Error("the agent runs on")
		}
	})
}

// TestFormerLeader: it is not asked again and again without a pause.
func TestFormerLeader(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.jm.lead.Store(&leader{4, "c1"})
		close(w.stream.to)
		began := time.Now()
		for range 20 {
			<-w.jm.streams
		}
		if d := time.Since(began); d < 10*time.Second {
			t.Errorf("20 tries at a former leader within %v", d)
		}
		w.jm.lead.Store(&leader{6, "c1"})
		w.stream = <-w.jm.streams
	})
}

func TestPlanMismatch(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.start(1)
		p := <-w.launch.procs
		a := w.attach(&weirpb.AttachWorker{ProtocolVersion: weirpb.ProtocolVersion, JobId: jobA, WorkerId: 1})
		if _, err := a.Recv(); err != nil {
			t.Fatal(err)
		}
		a.say(t, &weirpb.FromWorker{Message: &weirpb.FromWorker_Attach{Attach: &weirpb.AttachWorker{PlanDifference: "operator count differs"}}})
		<-p.killed
		w.ended(p, 1, "builds another plan here than at submission: operator count differs", true)
	})
}

func TestNeverAttaches(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		began := time.Now()
		w.start(1)
		p := <-w.launch.procs
		<-p.killed
		if d := time.Since(began); d != attachTimeout {
			t.Errorf("killed after %v, want %v", d, attachTimeout)
		}
		w.ended(p, 1, "it is still starting after 1m0s", true)
	})
}

// TestDetached: a process that lets go of its control stream and lives on is ended.
func TestDetached(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p, a := w.ready(1)
		if err := a.conn.Close(); err != nil {
			t.Fatal(err)
		}
		<-p.killed
		w.ended(p, 1, "its control stream has ended and it has not", false)
	})
}

// TestStuckSubtask: a subtask that is stuck before its first word ignores its cancel:
// the worker is killed. One that has returned costs nobody anything.
func TestStuckSubtask(t *testing.T) {
	for _, returns := range []bool{false, true} {
		inWorld(t, nil, func(w *world) {
			p, a := w.ready(1)
			sub := &weirpb.SubtaskRef{Vertex: 1, Subtask: 1}
			w.subtasks(&weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Deploy{Deploy: &weirpb.Deploy{
				Incarnation: 8, Subtasks: []*weirpb.SubtaskDeployment{{Subtask: sub}}}}})
			if m, err := a.Recv(); err != nil || m.GetToSubtasks().GetDeploy().GetIncarnation() != 8 || m.LeaderEpoch != 5 {
				t.Fatalf("relayed %v, %v", m, err)
			}
			status := func(inc uint64) {
				a.say(t, &weirpb.FromWorker{Message: &weirpb.FromWorker_FromSubtasks{FromSubtasks: &weirpb.FromSubtasks{
					JobId: jobA, Event: &weirpb.FromSubtasks_Status{Status: &weirpb.SubtaskStatus{
						Subtask: sub, Incarnation: inc, State: weirpb.SubtaskStatus_STATE_CANCELED}}}}})
				<-w.stream.from
			}
			status(7) // of an attempt that was replaced
			w.subtasks(&weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Cancel{Cancel: &weirpb.CancelAttempts{Incarnation: 8, GraceMs: 2000}}})
			if returns {
				status(8)
				<-time.After(time.Minute) // of the bubble
				w.idle(p)
				w.stop(1, 0)
				<-p.killed
				w.ended(p, 1, "because", false)
				return
			}
			<-p.killed
			p.ended <- Exit{Reason: "signal: killed"}
			if stuck := w.exited(1, "worker killed: count[1] ignored the cancel for 2s", false).Stuck; len(stuck) != 1 || stuck[0].Vertex != 1 || stuck[0].Subtask != 1 {
				t.Errorf("stuck: %v", stuck)
			}
		})
	}
}

// TestHeartbeat: both sides go by the JobManager's heartbeat.interval and timeout.
func TestHeartbeat(t *testing.T) {
	inWorld(t, func(w *world) { w.jm.beat = 100 * time.Millisecond }, func(w *world) {
		began := time.Now()
		for w.jm.beats.Load() < 20 {
			<-time.After(time.Millisecond)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("20 heartbeats took %v at an interval of %v", d, w.jm.beat)
		}
		close(w.stream.quiet)
		began = time.Now()
		w.stream = <-w.jm.streams
		if d := time.Since(began); d > time.Second {
			t.Errorf("a silent JobManager was left after %v, want %v", d, 3*w.jm.beat)
		}
	})
}

// TestReconnect: the leader goes, workers go on and are told; a former leader is
// refused, the next one is told what runs, a JobManager of a cluster that was set up
// anew is taken and its predecessor's workers end.
func TestReconnect(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p, a := w.ready(1)
		w.jm.lead.Store(&leader{4, "c1"})
		close(w.stream.to)
		if m, err := a.Recv(); err != nil || m.GetLeaderLost() == nil {
			t.Fatalf("the worker is told %v, %v", m, err)
		}
		<-w.jm.streams // a former leader: it is left at once
		w.jm.lead.Store(&leader{6, "c1"})
		w.stream = <-w.jm.streams
		if got := w.stream.hello.Workers; len(got) != 1 || got[0].JobId != jobA || got[0].Pid != 7 {
			t.Errorf("inventory %v", got)
		}
		w.stream.to <- &weirpb.ToTaskManager{LeaderEpoch: 5, Message: &weirpb.ToTaskManager_StopWorker{StopWorker: &weirpb.StopWorker{JobId: jobA}}}
		w.idle(p) // I2: of a former leader
		<-time.After(2 * heartbeatInterval)
		if n := w.jm.refused.Load(); n != 1 {
			t.Errorf("%d refused commands are told of, want 1", n)
		}
		close(w.stream.quiet)
		began := time.Now()
		w.stream = <-w.jm.streams
		if d := time.Since(began); d < sessionSilence-heartbeatInterval || d > sessionSilence+2*heartbeatInterval {
			t.Errorf("a silent JobManager was left after %v, want %v", d, sessionSilence)
		}
		w.idle(p)
		w.jm.lead.Store(&leader{1, "c2"})
		close(w.stream.to)
		w.stream = <-w.jm.streams
		<-p.killed
		w.ended(p, 1, "its cluster was set up anew", false)
	})
}
