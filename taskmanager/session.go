package taskmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/proto/weirpb"
)

// session is one stream to a JobManager, from Connect to its end.
type session struct {
	client weirpb.JobManagerServiceClient
	out    *sendqueue.Queue[*weirpb.FromTaskManager]
	epoch  uint64
	// cluster is the incarnation of the JobManager's cluster: epochs compare only inside
	// one.
	cluster string
	cancel  context.CancelCauseFunc
	silent  atomic.Bool // it ended because the JobManager said nothing
	// The JobManager's heartbeat.interval and heartbeat.timeout, which hold for both sides.
	beat, silence time.Duration
}

// Bounds of the wait between two tries to reach a JobManager. The first retry is
// quick because a standby often takes over within a lease.
const (
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = time.Second
)

// connectForEver keeps a stream to the leading JobManager, whichever that is. It
// logs changes, not tries.
func (t *TaskManager) connectForEver(ctx context.Context) {
	wait := reconnectFirst
	said := map[string]string{} // by address
	for i := 0; ctx.Err() == nil; i++ {
		address := t.cfg.JobManagers[i%len(t.cfg.JobManagers)]
		registered, err := t.runSession(ctx, address)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrRefused) {
			t.post(&refused{err})
			return
		}
		if registered {
			wait = reconnectFirst
			clear(said)
		}
		if what := err.Error(); what != said[address] {
			t.log.Warn("no JobManager; trying again until there is one", "address", address, "cause", err)
			said[address] = what
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		if (i+1)%len(t.cfg.JobManagers) == 0 {
			wait = min(2*wait, reconnectMost)
		}
	}
}

// runSession connects, registers and reads until the stream ends.
func (t *TaskManager) runSession(ctx context.Context, address string) (registered bool, err error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(weirpb.MaxMessage), grpc.MaxCallSendMsgSize(weirpb.MaxMessage)),
	}
	if t.cfg.Dial != nil {
		options = append(options, grpc.WithContextDialer(t.cfg.Dial))
	}
	conn, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		return false, fmt.Errorf("connect to JobManager %s: %w", address, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(registerTimeout, func() { cancel(fmt.Errorf("it does not answer in %v", registerTimeout)) })
	defer late.Stop()
	s := &session{client: weirpb.NewJobManagerServiceClient(conn), out: sendqueue.New[*weirpb.FromTaskManager](), cancel: cancel}
	stream, err := s.client.Connect(ctx)
	if err != nil {
		return false, fmt.Errorf("connect to JobManager %s: %w", address, cmp.Or(context.Cause(ctx), err))
	}
	inventory := make(chan *weirpb.RegisterTaskManager, 1)
	t.post(&registering{s, inventory})
	defer t.post(&sessionClosed{s})
	select {
	case r := <-inventory:
		err = stream.Send(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_Register{Register: r}})
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && !errors.Is(err, io.EOF) { // after io.EOF Recv tells why
		return false, fmt.Errorf("register with JobManager %s: %w", address, err)
	}
	first, err := stream.Recv()
	if err != nil {
		return false, fmt.Errorf("register with JobManager %s: %w", address, cmp.Or(context.Cause(ctx), err))
	}
	late.Stop()
	if r := first.GetRefused(); r != nil {
		if r.Final {
			return false, fmt.Errorf("%w %s: %s", ErrRefused, address, r.Reason)
		}
		return false, fmt.Errorf("JobManager %s refuses this TaskManager: %s", address, r.Reason)
	}
	if first.GetRegistered() == nil {
		return false, fmt.Errorf("JobManager %s answers registration with %T", address, first.Message)
	}
	s.epoch, s.cluster = first.LeaderEpoch, first.GetRegistered().ClusterIncarnation
	s.beat = cmp.Or(time.Duration(first.GetRegistered().HeartbeatIntervalMs)*time.Millisecond, heartbeatInterval)
	s.silence = cmp.Or(time.Duration(first.GetRegistered().HeartbeatTimeoutMs)*time.Millisecond, sessionSilence)
	go func() {
		if err := s.out.Drain(ctx.Done(), stream.Send); err != nil {
			cancel(fmt.Errorf("send to JobManager: %w", err))
		}
	}()
	taken := make(chan bool, 1)
	t.post(&sessionOpened{s, address, taken})
	err = t.readSession(stream, s)
	select {
	case registered = <-taken:
	default: // the agent is stopping
	}
	return registered, err
}

// ErrRefused: the leading JobManager will not have this TaskManager, as it is, now or
// later.
var ErrRefused = errors.New("this TaskManager is refused by JobManager")

// refused ends the TaskManager: it can be of no use as it is.
type refused struct{ err error }

func (e *refused) handle(t *TaskManager) {
	t.refusal = e.err
	t.stop("the JobManager refuses the TaskManager")
}

// What holds where the JobManager names no times.
const (
	heartbeatInterval = time.Second
	sessionSilence    = 5 * time.Second // that a JobManager may say nothing
)

// registerTimeout is how long a JobManager may take to answer a registration. One that is
// frozen takes connections all the same, and another may lead by now.
const registerTimeout = 2 * time.Second

func (t *TaskManager) readSession(stream grpc.BidiStreamingClient[weirpb.FromTaskManager, weirpb.ToTaskManager], s *session) error {
	silence := time.AfterFunc(s.silence, func() {
		s.silent.Store(true)
		s.cancel(fmt.Errorf("JobManager silent for %v", s.silence))
	})
	defer silence.Stop()
	for {
		m, err := stream.Recv()
		if err != nil {
			if cause := context.Cause(stream.Context()); cause != nil && !errors.Is(cause, context.Canceled) {
				err = cause
			}
			return fmt.Errorf("stream from JobManager: %w", err)
		}
		silence.Reset(s.silence)
		if m.GetHeartbeat() == nil {
			t.post(&fromJobManager{s, m})
		}
	}
}

// registering asks the loop for what runs here. What is said from then on is said to that
// JobManager, too.
type registering struct {
	s     *session
	reply chan<- *weirpb.RegisterTaskManager
}

func (e *registering) handle(t *TaskManager) {
	t.joining = e.s
	e.reply <- t.inventory()
}

type sessionOpened struct {
	s       *session
	address string
	taken   chan<- bool // whether it is the session from now on
}

func (e *sessionOpened) handle(t *TaskManager) {
	switch {
	case t.cluster != "" && t.cluster != e.s.cluster:
		// The cluster's records are new: nobody there knows what runs here, and its epochs
		// start low.
		t.log.Error("the JobManager belongs to another incarnation of the cluster; workers of the former one end", "address", e.address)
		for _, w := range t.workers {
			w.kill("its cluster was set up anew")
		}
	case e.s.epoch < t.epoch:
		e.s.cancel(fmt.Errorf("JobManager %s has epoch %d, a newer one has %d", e.address, e.s.epoch, t.epoch))
		e.taken <- false
		return
	}
	e.taken <- true
	t.cluster, t.epoch, t.session = e.s.cluster, e.s.epoch, e.s
	t.joining, t.exited = nil, nil
	t.heartbeat.Reset(e.s.beat)
	t.log.Info("registered with JobManager", "address", e.address, "epoch", e.s.epoch, "slots", t.cfg.Slots)
}

type sessionClosed struct{ s *session }

func (e *sessionClosed) handle(t *TaskManager) {
	e.s.out.Close()
	if t.joining == e.s {
		t.joining = nil
	}
	if t.session != e.s {
		return
	}
	t.session, t.leftAt = nil, time.Now()
	if e.s.silent.Load() {
		t.leftAt = t.leftAt.Add(-e.s.silence)
	}
	for _, w := range t.workers {
		w.leaderLost()
	}
}

type fromJobManager struct {
	s *session
	m *weirpb.ToTaskManager
}

func (e *fromJobManager) handle(t *TaskManager) {
	if e.m.LeaderEpoch < t.epoch || e.s != t.session { // I2
		t.refused++
		t.log.Warn("refused a command of a former leader", "epoch", e.m.LeaderEpoch, "newest", t.epoch)
		return
	}
	switch m := e.m.Message.(type) {
	case *weirpb.ToTaskManager_StartWorker:
		t.startWorker(m.StartWorker)
	case *weirpb.ToTaskManager_StopWorker:
		t.stopWorkers(m.StopWorker)
	case *weirpb.ToTaskManager_WorkerSlots:
		t.resizeWorker(m.WorkerSlots)
	case *weirpb.ToTaskManager_ToSubtasks:
		t.relay(e.m.LeaderEpoch, m.ToSubtasks)
	default:
		t.log.Warn("unknown message from JobManager; is it newer than this TaskManager?", "type", fmt.Sprintf("%T", m))
	}
}
