package jobmanager

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/ha/memha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// world is a JobManager between a store with faults and scripted TaskManagers, in a
// bubble: time passes when everybody waits, and goroutines that are left behind fail
// the test.
type world struct {
	t       *testing.T
	dir     string
	store   *memha.Store
	manager *JobManager
	rpc     *bufconn.Listener
	cancel  context.CancelFunc
	ended   chan error
	tms     []*scriptedTM
	away    atomic.Bool  // the checkpoint store does not answer
	log     bytes.Buffer // of the JobManagers, behind logging
	logging sync.Mutex
}

// awayStore fails reads while its world says so.
type awayStore struct {
	objstore.Store
	w *world
}

func (s awayStore) Open(ctx context.Context, name string) (objstore.Reader, error) {
	if s.w.away.Load() {
		return nil, fmt.Errorf("open %s: connection refused", name)
	}
	return s.Store.Open(ctx, name)
}

func (s awayStore) RemoveFolder() error { return s.Store.(*objstore.FS).RemoveFolder() }

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// logged is how many lines of the log hold all of parts.
func (w *world) logged(parts ...string) (n int) {
	w.logging.Lock()
	defer w.logging.Unlock()
	for line := range strings.Lines(w.log.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			n++
		}
	}
	return n
}

// depose takes the leadership away and waits for the next epoch.
func (w *world) depose() {
	w.t.Helper()
	_, epoch, _ := w.manager.Leader(w.t.Context())
	w.store.Depose()
	w.nextEpoch(epoch)
}

func (w *world) nextEpoch(after ha.Epoch) {
	w.t.Helper()
	w.until("the next epoch leads", func() bool {
		_, e, err := w.manager.Leader(w.t.Context())
		return err == nil && e > after && w.manager.Leads()
	})
}

func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, store: memha.New()}
		w.startManager()
		test(t, w)
		w.store.SetFault(nil)
		for _, tm := range w.tms {
			tm.leave()
		}
		w.stopManager()
	})
}

func (w *world) startManager() {
	w.t.Helper()
	w.rpc = bufconn.Listen(1 << 16)
	var to io.Writer = &lockedWriter{&w.logging, &w.log}
	if os.Getenv("WEIR_LOG") != "" {
		to = io.MultiWriter(to, os.Stderr)
	}
	m, err := New(Config{HA: w.store, Storage: w.dir, RPC: w.rpc, Log: slog.New(slog.NewTextHandler(to, nil)), Self: &metapb.LeaderRecord{Process: "first"}})
	if err != nil {
		w.t.Fatal(err)
	}
	m.stores = func(folder string) (objstore.Store, error) {
		s, err := objstore.Parse(folder)
		return awayStore{s, w}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.manager, w.cancel, w.ended = m, cancel, make(chan error, 1)
	go func() { w.ended <- m.Run(ctx) }()
	synctest.Wait()
}

func (w *world) stopManager() {
	w.t.Helper()
	w.cancel()
	if err := <-w.ended; err != nil {
		w.t.Errorf("run: %v", err)
	}
}

// fault refuses transactions whose puts contain part, with err, applied or not, until
// it has done so n times.
func (w *world) fault(part string, n int, apply bool, err error) (hits *atomic.Int64) {
	hits = new(atomic.Int64)
	w.store.SetFault(func(t ha.Txn) (bool, error) {
		for _, e := range t.Puts {
			if strings.Contains(e.Key, part) && hits.Load() < int64(n) {
				hits.Add(1)
				return apply, err
			}
		}
		return false, nil
	})
	return hits
}

const testJob = job.ID("0123456789abcdef0123456789abcdef")

func testPlan() *metapb.Plan {
	return &metapb.Plan{Name: "orders", Operators: []*metapb.Operator{
		{Uid: "in", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE},
		{Uid: "out", Kind: metapb.OperatorKind_OPERATOR_KIND_SINK, Inputs: []*metapb.Input{{Distribution: metapb.Distribution_DISTRIBUTION_HASH}}},
	}}
}

func (w *world) submit(settings ...string) error {
	_, err := w.submitJob(testJob, api.Restore{}, settings...)
	return err
}

// submitJob submits a job that starts from a snapshot.
func (w *world) submitJob(id job.ID, from api.Restore, settings ...string) (warnings []string, err error) {
	values := map[string]string{"parallelism.default": "1", "execution.checkpointing.interval": "1 s"}
	for _, s := range settings {
		k, v, _ := strings.Cut(s, "=")
		values[k] = v
	}
	_, warnings, err = w.manager.Submit(w.t.Context(), Submission{ID: id, Plan: testPlan(), Settings: values, Restore: from})
	return warnings, err
}

func (w *world) mustSubmit(settings ...string) {
	w.t.Helper()
	if err := w.submit(settings...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) view() *api.Job {
	w.t.Helper()
	return w.viewOf(testJob)
}

func (w *world) viewOf(id job.ID) *api.Job {
	w.t.Helper()
	j, err := w.manager.API().Job(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// wait waits for the job's end.
func (w *world) wait() *metapb.JobResult {
	w.t.Helper()
	r, err := w.manager.Wait(w.t.Context(), testJob)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// until lets time pass until ok, an hour at most.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for range 36000 {
		synctest.Wait()
		if ok() {
			return
		}
		<-time.After(100 * time.Millisecond) // of the bubble
	}
	w.t.Fatalf("never: %s", what)
}

func (w *world) running() {
	w.t.Helper()
	w.until("the job runs", func() bool {
		j := w.view()
		for _, v := range j.Vertices {
			for _, s := range v.Subtasks {
				if s.State != "RUNNING" {
					return false
				}
			}
		}
		return j.State == "RUNNING"
	})
}

func (w *world) checkpoints(n int) {
	w.t.Helper()
	w.until("checkpoints", func() bool { return w.view().Checkpoints.Completed >= n })
}

// scriptedTM plays a TaskManager with its workers.
type scriptedTM struct {
	w    *world
	id   string
	stop context.CancelFunc
	over chan struct{}

	mu       sync.Mutex
	log      []string
	job      string // of the last worker started
	workers  map[uint64]bool
	jobs     map[uint64]string         // whose they are
	deployed map[uint64]*weirpb.Deploy // by incarnation
	say      func(*weirpb.FromTaskManager)
	hangUp   context.CancelFunc // of the present stream

	// Changed by tests, under mu.
	reports bool // a new leader is told what runs, and may adopt it
	exited  []*weirpb.WorkerExited
	deaf    bool               // it does not confirm that it is adopted
	fails   string             // why the first subtask has failed; "" = it has not
	ends    bool               // sources end
	silent  bool               // subtasks do not answer commands
	chunks  bool               // acks come in pieces
	refuses stream.BarrierKind // checkpoints of this kind are declined
}

func (w *world) join(id string) *scriptedTM {
	tm := &scriptedTM{w: w, id: id, over: make(chan struct{}), workers: map[uint64]bool{}, jobs: map[uint64]string{}, deployed: map[uint64]*weirpb.Deploy{}}
	ctx, cancel := context.WithCancel(context.Background())
	tm.stop = cancel
	w.tms = append(w.tms, tm)
	go tm.run(ctx)
	synctest.Wait()
	return tm
}

func (tm *scriptedTM) leave() {
	tm.stop()
	<-tm.over
}

// reconnect has the stream end and another begin.
func (tm *scriptedTM) reconnect() {
	tm.set(func() { tm.hangUp() })
}

func (tm *scriptedTM) set(f func()) {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	f()
}

// saw returns how many commands began with prefix.
func (tm *scriptedTM) saw(prefix string) (n int) {
	tm.set(func() {
		for _, line := range tm.log {
			if strings.HasPrefix(line, prefix) {
				n++
			}
		}
	})
	return n
}

// run connects again and again, as an agent does.
func (tm *scriptedTM) run(ctx context.Context) {
	defer close(tm.over)
	for ctx.Err() == nil {
		tm.session(ctx)
		pause(ctx, 50*time.Millisecond)
	}
}

func (tm *scriptedTM) session(ctx context.Context) {
	conn, err := grpc.NewClient("passthrough:///jm", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return tm.w.rpc.DialContext(ctx) }))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := weirpb.NewJobManagerServiceClient(conn).Connect(ctx)
	if err != nil {
		return
	}
	hello := &weirpb.RegisterTaskManager{ProtocolVersion: weirpb.ProtocolVersion, TaskmanagerId: tm.id, Host: "h", Slots: 1, ClusterId: "weir"}
	var sending sync.Mutex
	say := func(m *weirpb.FromTaskManager) {
		sending.Lock()
		defer sending.Unlock()
		_ = s.Send(m) // a broken stream is noticed by Recv
	}
	tm.set(func() {
		for id := range tm.workers {
			r := &weirpb.RunningWorker{JobId: tm.jobs[id]}
			if tm.reports {
				tm.inventory(r, id)
			}
			hello.Workers = append(hello.Workers, r)
		}
		hello.Exited, tm.exited = tm.exited, nil
		tm.say, tm.hangUp = say, cancel
	})
	say(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_Register{Register: hello}})
	go func() {
		for ctx.Err() == nil {
			pause(ctx, time.Second)
			say(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_Heartbeat{Heartbeat: &weirpb.Heartbeat{}}})
		}
	}()
	for {
		m, err := s.Recv()
		if err != nil {
			return
		}
		tm.mu.Lock()
		tm.handle(m)
		tm.mu.Unlock()
	}
}

// inventory says what runs in a worker. With tm.mu held.
func (tm *scriptedTM) inventory(r *weirpb.RunningWorker, id uint64) {
	r.WorkerId, r.Ready, r.Slots, r.DataAddress, r.Pid = id, true, 1, tm.id+":1", 1
	for _, d := range tm.deployed {
		for _, s := range d.Subtasks {
			r.Subtasks = append(r.Subtasks, &weirpb.SubtaskStatus{
				Subtask: s.Subtask, Attempt: d.Attempt, Incarnation: d.Incarnation, State: weirpb.SubtaskStatus_STATE_RUNNING,
			})
			if last := r.Subtasks[len(r.Subtasks)-1]; tm.fails != "" && len(r.Subtasks) == 1 {
				last.State, last.Failure = weirpb.SubtaskStatus_STATE_FAILED, tm.fails
			}
			if tm.ends && s.Subtask.GetVertex() == 0 {
				r.Ended = append(r.Ended, &weirpb.SourceEnded{Subtask: s.Subtask, Attempt: d.Attempt})
			}
		}
	}
}

func (tm *scriptedTM) note(format string, args ...any) {
	tm.log = append(tm.log, fmt.Sprintf(format, args...))
}

func (tm *scriptedTM) handle(m *weirpb.ToTaskManager) {
	switch c := m.Message.(type) {
	case *weirpb.ToTaskManager_Registered:
		tm.note("registered by epoch %d", m.LeaderEpoch)
	case *weirpb.ToTaskManager_StartWorker:
		tm.note("start %d", c.StartWorker.WorkerId)
		tm.job = c.StartWorker.JobId
		tm.workers[c.StartWorker.WorkerId], tm.jobs[c.StartWorker.WorkerId] = true, c.StartWorker.JobId
		tm.say(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_WorkerStarted{WorkerStarted: &weirpb.WorkerStarted{
			JobId: c.StartWorker.JobId, WorkerId: c.StartWorker.WorkerId, DataAddress: tm.id + ":1", Pid: 1}}})
	case *weirpb.ToTaskManager_StopWorker:
		tm.note("stop %d: %s", c.StopWorker.WorkerId, c.StopWorker.Reason)
		for id := range tm.workers {
			if tm.jobs[id] == c.StopWorker.JobId && (c.StopWorker.WorkerId == 0 || c.StopWorker.WorkerId == id) {
				tm.exit(id, c.StopWorker.Reason)
			}
		}
	case *weirpb.ToTaskManager_ToSubtasks:
		if a := c.ToSubtasks.GetAborted(); a != nil {
			tm.note("abort %d to %d", a.FirstId, a.CheckpointId)
		}
		if a := c.ToSubtasks.GetAdopt(); a != nil {
			tm.note("adopt incarnation %d: %d subtasks", a.Incarnation, len(a.Subtasks))
			if !tm.deaf {
				tm.tell(a.Incarnation, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Adopted{Adopted: &weirpb.Adopted{LeaderEpoch: a.LeaderEpoch}}})
			}
		}
		tm.subtasks(c.ToSubtasks)
	}
}

// exit ends a worker. With tm.mu held.
func (tm *scriptedTM) exit(id uint64, reason string) {
	delete(tm.workers, id)
	if len(tm.workers) == 0 {
		clear(tm.deployed)
	}
	tm.say(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_WorkerExited{WorkerExited: &weirpb.WorkerExited{
		JobId: tm.jobs[id], WorkerId: id, Reason: reason}}})
}

// tell sends what a subtask says.
func (tm *scriptedTM) tell(inc uint64, m *weirpb.FromSubtasks) {
	m.JobId, m.Incarnation = tm.job, inc
	tm.say(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_FromSubtasks{FromSubtasks: m}})
}

func (tm *scriptedTM) status(d *weirpb.Deploy, s *weirpb.SubtaskRef, state weirpb.SubtaskStatus_State) {
	tm.tell(d.Incarnation, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Status{Status: &weirpb.SubtaskStatus{
		Subtask: s, Attempt: d.Attempt, Incarnation: d.Incarnation, State: state}}})
}

func (tm *scriptedTM) subtasks(m *weirpb.ToSubtasks) {
	if c := m.GetDeploy(); c != nil {
		tm.note("deploy incarnation %d restored %d", c.Incarnation, c.RestoredCheckpoint)
		if c.Stopped {
			tm.note("deploy stopped")
		}
		tm.deployed[c.Incarnation] = c
		for _, s := range c.Subtasks {
			tm.status(c, s.Subtask, weirpb.SubtaskStatus_STATE_INITIALIZING)
			tm.status(c, s.Subtask, weirpb.SubtaskStatus_STATE_RUNNING)
			ended := len(s.Operators) > 0 && s.Operators[0].Ended
			if s.Subtask.GetVertex() == 0 && (tm.ends || ended) {
				tm.sourceEnded(c, s.Subtask)
			}
		}
		return
	}
	inc := m.GetDrain().GetIncarnation() + m.GetTrigger().GetIncarnation() + m.GetCompleted().GetIncarnation() + m.GetCancel().GetIncarnation()
	d := tm.deployed[inc]
	if d == nil || tm.silent {
		return
	}
	if c := m.GetTrigger(); c != nil {
		tm.note("trigger %v", stream.BarrierKind(c.Kind))
		if tm.refuses == stream.BarrierKind(c.Kind) {
			tm.tell(inc, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Decline{Decline: &weirpb.CheckpointDecline{
				CheckpointId: c.CheckpointId, Subtask: d.Subtasks[0].Subtask, Attempt: d.Attempt, Reason: "disk full"}}})
			return
		}
	}
	for _, s := range d.Subtasks {
		switch c := m.Command.(type) {
		case *weirpb.ToSubtasks_Drain:
			if s.Subtask.GetVertex() == 0 {
				tm.note("drain")
				tm.sourceEnded(d, s.Subtask)
			}
		case *weirpb.ToSubtasks_Trigger:
			tm.ack(d, s.Subtask, c.Trigger)
		case *weirpb.ToSubtasks_Completed:
			tm.note("completed %d terminal %v", c.Completed.CheckpointId, c.Completed.Terminal)
			if c.Completed.Terminal {
				tm.tell(inc, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Committed{Committed: &weirpb.Committed{
					CheckpointId: c.Completed.CheckpointId, Subtask: s.Subtask, Attempt: d.Attempt}}})
				tm.status(d, s.Subtask, weirpb.SubtaskStatus_STATE_FINISHED)
			}
		case *weirpb.ToSubtasks_Cancel:
			tm.note("cancel incarnation %d", inc)
			tm.status(d, s.Subtask, weirpb.SubtaskStatus_STATE_CANCELED)
		}
	}
	if m.GetCancel() != nil {
		delete(tm.deployed, inc)
	}
}

func (tm *scriptedTM) sourceEnded(d *weirpb.Deploy, s *weirpb.SubtaskRef) {
	tm.tell(d.Incarnation, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_SourceEnded{SourceEnded: &weirpb.SourceEnded{Subtask: s, Attempt: d.Attempt}}})
}

// end has the sources that run come to their end.
func (tm *scriptedTM) end() {
	tm.set(func() {
		tm.ends = true
		for _, d := range tm.deployed {
			for _, s := range d.Subtasks {
				if s.Subtask.GetVertex() == 0 {
					tm.sourceEnded(d, s.Subtask)
				}
			}
		}
	})
}

func (tm *scriptedTM) ack(d *weirpb.Deploy, s *weirpb.SubtaskRef, c *weirpb.TriggerCheckpoint) {
	uid := []string{"in", "out"}[s.GetVertex()]
	snapshot := &metapb.SubtaskSnapshot{Index: s.GetSubtask(), Ended: c.Kind == uint32(stream.TerminalBarrier), Watermark: -1 << 63}
	if uid == "out" {
		snapshot.Results = []*metapb.Result{{Name: "records", Value: &metapb.Result_Sum{Sum: 42}}}
	}
	a := &weirpb.CheckpointAck{CheckpointId: c.CheckpointId, Subtask: s, Attempt: d.Attempt, Operators: []*metapb.OperatorSnapshot{
		{Uid: uid, Parallelism: 1, Subtasks: []*metapb.SubtaskSnapshot{snapshot}}}}
	if !tm.chunks {
		tm.tell(d.Incarnation, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Ack{Ack: a}})
		return
	}
	b, err := proto.Marshal(a)
	if err != nil {
		panic(err)
	}
	pieces := slices.Collect(slices.Chunk(b, 5))
	piece := func(inc uint64, i int) {
		tm.tell(inc, &weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_AckChunk{AckChunk: &weirpb.CheckpointAckChunk{
			CheckpointId: c.CheckpointId, Subtask: s, Index: uint32(i), Count: uint32(len(pieces)), Data: pieces[i]}}})
	}
	for i := range pieces {
		piece(d.Incarnation, i)
		piece(d.Incarnation-1, 0) // an attempt that was replaced speaks, too
	}
}

// metadataFiles are the _metadata files of the job's checkpoints, oldest first.
func (w *world) metadataFiles() []string {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.dir, "checkpoints", string(testJob), "chk-*", "_metadata"))
	if err != nil || len(names) == 0 {
		w.t.Fatalf("_metadata files: %v, %v", names, err)
	}
	slices.SortFunc(names, func(a, b string) int { return len(a) - len(b) + strings.Compare(a, b) })
	return names
}
