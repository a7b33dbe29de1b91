package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weirstream/weir/internal/machine"
	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
)

// Options of a worker.
type Options struct {
	JobID    job.ID
	WorkerID uint64
	// NewProgram builds the program; it is called anew for every subtask attempt.
	NewProgram func() (*task.Program, error)
	// DialAgent connects to the agent's AgentService.
	DialAgent func(ctx context.Context) (net.Conn, error)
	// TCP and Unix are where records are taken; "" = not at all.
	TCP, Unix string
	// Listen and Dial replace the machine's network (local mode); nil: the machine's.
	Listen func(network, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	// SetMemory, if set, is told when the worker's share of the memory has changed; its
	// process was started with another.
	SetMemory func(bytes int64)
	Version   string
	Log       *slog.Logger
}

// Worker is the job's process on one host, or its stand-in in local mode.
type Worker struct {
	o      Options
	log    *slog.Logger
	events chan event
	done   chan struct{}
	out    *sendqueue.Queue[*weirpb.FromWorker]
	cancel context.CancelCauseFunc // ends Run

	// Owned by the loop.
	start       *weirpb.StartWorker
	plan        *metapb.Plan // as this program builds it
	dataDir     string
	memory      memory
	network     *exchange.Network
	backends    *backends
	deployments map[job.Incarnation]*deployment
	leaderless  bool             // no command has come since the leader was lost
	epoch       uint64           // highest of a leader that has said something (I2)
	waiting     []*weirpb.Deploy // for subtasks of older incarnations to return
	failure     error            // that ends the worker
}

// event is what the loop takes in.
type event interface{ handle(*Worker) }

func (w *Worker) post(e event) {
	select {
	case w.events <- e:
	case <-w.done:
	}
}

// countersInterval is how often a worker says what its subtasks have done.
const countersInterval = time.Second

// Run attaches to the agent and serves until the agent lets go, ctx is done, or
// the worker can't go on.
func Run(ctx context.Context, o Options) error {
	w := &Worker{
		o: o, log: o.Log, events: make(chan event, 256), done: make(chan struct{}), out: sendqueue.New[*weirpb.FromWorker](),
		deployments: map[job.Incarnation]*deployment{},
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	conn, err := grpc.NewClient("passthrough:///agent",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return o.DialAgent(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(weirpb.MaxMessage), grpc.MaxCallSendMsgSize(weirpb.MaxMessage)))
	if err != nil {
		return fmt.Errorf("connect to the agent: %w", err)
	}
	defer conn.Close()
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	stream, err := weirpb.NewAgentServiceClient(conn).Attach(ctx)
	if err != nil {
		return fmt.Errorf("attach to the agent: %w", err)
	}
	defer w.close()
	if err := w.attach(stream); err != nil {
		return err
	}
	go func() {
		if err := w.out.Drain(ctx.Done(), stream.Send); err != nil {
			w.post(&lost{fmt.Errorf("send to the agent: %w", err)})
		}
	}()
	go w.read(stream)
	return w.loop(ctx)
}

// attach introduces the worker, builds the program and says whether it is the
// submitted one.
func (w *Worker) attach(s grpc.BidiStreamingClient[weirpb.FromWorker, weirpb.ToWorker]) error {
	hello := &weirpb.AttachWorker{
		ProtocolVersion: weirpb.ProtocolVersion, Version: w.o.Version, JobId: string(w.o.JobID), WorkerId: w.o.WorkerID, Pid: uint32(os.Getpid()),
	}
	// A failed Send says io.EOF; why is what Recv says.
	if err := s.Send(&weirpb.FromWorker{Message: &weirpb.FromWorker_Attach{Attach: hello}}); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("attach to the agent: %w", err)
	}
	m, err := s.Recv()
	if err != nil {
		return fmt.Errorf("attach to the agent: %w", err)
	}
	accepted := m.GetAccepted()
	if accepted == nil {
		return fmt.Errorf("attach to the agent: it answers with %T", m.Message)
	}
	w.start, w.dataDir, w.memory = accepted.Start, accepted.DataDir, divideMemory(int64(accepted.MemoryBytes))
	ready := &weirpb.AttachWorker{
		ProtocolVersion: weirpb.ProtocolVersion, Version: w.o.Version, JobId: hello.JobId, WorkerId: hello.WorkerId, Pid: hello.Pid,
	}
	if err := w.build(ready); err != nil {
		ready.PlanDifference = err.Error()
	}
	if err := s.Send(&weirpb.FromWorker{Message: &weirpb.FromWorker_Attach{Attach: ready}}); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("report the program to the agent: %w", err)
	}
	return nil
}

func (w *Worker) build(ready *weirpb.AttachWorker) error {
	p, err := w.o.NewProgram()
	if err != nil {
		return fmt.Errorf("build failed: %w", err)
	}
	if d := job.PlanDifference(w.start.Plan, p.Plan); d != "" {
		return errors.New(d)
	}
	sum := job.PlanHash(p.Plan)
	w.plan, ready.PlanSha256 = p.Plan, sum[:]
	if w.network, err = exchange.NewNetwork(exchange.NetworkOptions{
		Cluster: "", Job: w.o.JobID, Binary: [32]byte(append(w.start.BinarySha256, make([]byte, 32)...)),
		Machine: machine.ID(), TCP: w.o.TCP, Unix: w.o.Unix, Listen: w.o.Listen, Dial: w.o.Dial,
		Memory: w.memory.exchange, Log: w.log,
	}); err != nil {
		return fmt.Errorf("open the data path: %w", err)
	}
	ready.DataAddress, ready.UnixAddress = w.network.TCPAddress(), w.network.UnixAddress()
	w.backends, err = newBackends(settingsOf(w.start.Config), w.memory, filepath.Join(w.dataDir, "state"))
	return err
}

func (w *Worker) read(s grpc.BidiStreamingClient[weirpb.FromWorker, weirpb.ToWorker]) {
	for {
		m, err := s.Recv()
		if err != nil {
			w.post(&lost{fmt.Errorf("stream from the agent: %w", err)})
			return
		}
		epoch := m.LeaderEpoch
		switch m := m.Message.(type) {
		case *weirpb.ToWorker_ToSubtasks:
			w.post(&command{epoch, m.ToSubtasks})
		case *weirpb.ToWorker_LeaderLost:
			w.post(&leaderLost{})
		case *weirpb.ToWorker_Memory:
			w.post(&memoryChanged{int64(m.Memory.MemoryBytes)})
		}
	}
}

// lost: there is no agent any more. The worker can do nothing for anybody.
type lost struct{ err error }

func (e *lost) handle(w *Worker) { w.failure = e.err }

func (w *Worker) loop(ctx context.Context) error {
	tick := time.NewTicker(countersInterval)
	defer tick.Stop()
	for w.failure == nil {
		select {
		case e := <-w.events:
			e.handle(w)
		case <-tick.C:
			w.reportCounters()
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		}
	}
	return w.failure
}

// closeGrace is how long subtasks have to return when the worker ends.
const closeGrace = 2 * time.Second

// close cancels what runs and releases everything.
func (w *Worker) close() {
	close(w.done)
	deadline := time.NewTimer(closeGrace)
	defer deadline.Stop()
	for _, d := range w.deployments {
		for _, t := range d.tasks {
			t.Post(task.Command{Kind: task.Cancel, Reason: "the worker ends"})
		}
	}
	stuck := false
	for _, d := range w.deployments {
		for _, t := range d.tasks {
			select {
			case <-t.Done():
				continue
			default:
			}
			select {
			case <-t.Done():
			case <-deadline.C:
				deadline.Reset(0) // the others do not get more time
				w.log.Warn("a subtask does not return; the worker ends without it", "subtask", t.Subtask().String())
				stuck = true
			}
		}
		d.fabric.Close()
	}
	if w.network != nil {
		if err := w.network.Close(); err != nil {
			w.log.Warn("close the data path", "cause", err)
		}
	}
	if w.backends != nil && !stuck { // a stuck subtask may still be in its state
		w.backends.close()
	}
}

// command is what the JobManager says to the subtasks of this worker.
type command struct {
	epoch uint64 // of the leader
	c     *weirpb.ToSubtasks
}

func (e *command) handle(w *Worker) {
	if e.epoch < w.epoch { // I2; the agent has let it through
		w.log.Warn("refused a command of a former leader", "epoch", e.epoch, "newest", w.epoch, "type", fmt.Sprintf("%T", e.c.Command))
		return
	}
	w.epoch = e.epoch
	if w.leaderless { // whatever it says: it is a leader
		w.leaderless = false
		w.all(task.Command{Kind: task.LeaderFound})
	}
	switch c := e.c.Command.(type) {
	case *weirpb.ToSubtasks_Deploy:
		w.deploy(c.Deploy)
	case *weirpb.ToSubtasks_Trigger:
		w.trigger(c.Trigger)
	case *weirpb.ToSubtasks_Completed:
		w.each(c.Completed.Incarnation, task.Command{
			Kind: task.Completed, ID: stream.CheckpointID(c.Completed.CheckpointId), Terminal: c.Completed.Terminal,
		})
	case *weirpb.ToSubtasks_Aborted:
		w.each(c.Aborted.Incarnation, task.Command{
			Kind: task.Abort, ID: stream.CheckpointID(c.Aborted.CheckpointId), Reason: c.Aborted.Reason,
			First: stream.CheckpointID(cmp.Or(c.Aborted.FirstId, c.Aborted.CheckpointId)),
		})
	case *weirpb.ToSubtasks_Adopt: // the subtasks know by now that there is a leader again
		w.reporter(job.Incarnation(c.Adopt.Incarnation)).send(&weirpb.FromSubtasks{
			Event: &weirpb.FromSubtasks_Adopted{Adopted: &weirpb.Adopted{LeaderEpoch: c.Adopt.LeaderEpoch}}})
	case *weirpb.ToSubtasks_Drain:
		w.drain(c.Drain)
	case *weirpb.ToSubtasks_Align:
		groups := map[string]int64{}
		for _, g := range c.Align.Groups {
			groups[g.Name] = g.Watermark
		}
		w.each(c.Align.Incarnation, task.Command{Kind: task.AlignTime, Groups: groups})
	case *weirpb.ToSubtasks_Cancel:
		w.dropWaiting(c.Cancel)
		w.each(c.Cancel.Incarnation, task.Command{Kind: task.Cancel, Reason: c.Cancel.Reason})
	default:
		w.log.Warn("unknown command; is the JobManager newer than this job?", "type", fmt.Sprintf("%T", c))
	}
}

func (w *Worker) each(incarnation uint64, c task.Command) {
	if d := w.deployments[job.Incarnation(incarnation)]; d != nil {
		for _, t := range d.tasks {
			t.Post(c)
		}
	}
}

// drain has sources end.
func (w *Worker) drain(c *weirpb.DrainSources) {
	d := w.deployments[job.Incarnation(c.Incarnation)]
	if d == nil {
		return // said again to the next incarnation
	}
	for _, s := range c.Subtasks {
		if t := d.tasks[subtaskOf(s)]; t != nil {
			t.Post(task.Command{Kind: task.Drain})
		}
	}
}

type leaderLost struct{}

func (leaderLost) handle(w *Worker) {
	w.leaderless = true
	w.all(task.Command{Kind: task.LeaderLost})
}

// all tells every subtask.
func (w *Worker) all(c task.Command) {
	for _, d := range w.deployments {
		for _, t := range d.tasks {
			t.Post(c)
		}
	}
}

func (w *Worker) trigger(c *weirpb.TriggerCheckpoint) {
	d := w.deployments[job.Incarnation(c.Incarnation)]
	if d == nil {
		return // of an incarnation that is over: the checkpoint fails by its missing acks
	}
	b := stream.Barrier{
		ID: stream.CheckpointID(c.CheckpointId), Kind: stream.BarrierKind(c.Kind),
		Unaligned: c.Unaligned, AlignmentTimeout: time.Duration(c.AlignmentTimeoutMs) * time.Millisecond,
	}
	for _, s := range c.Subtasks {
		if t := d.tasks[subtaskOf(s)]; t != nil {
			t.Post(task.Command{Kind: task.Inject, Barrier: b})
		}
	}
}
