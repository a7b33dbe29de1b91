package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirstream/weir/internal/machine"
	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/jobmanager/objects"
	"github.com/weirstream/weir/proto/weirpb"
)

// Leader is who takes TaskManagers. Its methods may be called from any goroutine and do
// not wait; those that report false say that it leads no longer.
type Leader interface {
	Epoch() uint64
	// ClusterIncarnation tells clusters apart: epochs compare only inside one.
	ClusterIncarnation() string
	Registered(*TaskManager) bool
	Said(*TaskManager, *weirpb.FromTaskManager) bool
	Disconnected(tm *TaskManager, cause error)
	// Done is closed when it leads no longer.
	Done() <-chan struct{}
}

// Options of a Service.
type Options struct {
	ClusterID, Version string
	// Private is the folder for checkpoints where it is this host's alone; "" = shared.
	Private           string
	HeartbeatInterval time.Duration // of both sides
	HeartbeatTimeout  time.Duration // how long a TaskManager may be silent
	Objects           *objects.Store
	// Leader is the leader of this process; nil while it does not lead.
	Leader func() Leader
}

// Service takes TaskManagers. It runs in every JobManager; one that does not lead
// refuses, and the TaskManager tries the next.
type Service struct {
	weirpb.UnimplementedJobManagerServiceServer
	o Options
}

// New returns a Service for a gRPC server.
func New(o Options) *Service { return &Service{o: o} }

// TaskManager is a registered TaskManager's stream.
type TaskManager struct {
	Hello  *weirpb.RegisterTaskManager
	Since  time.Time
	cancel context.CancelCauseFunc // ends the stream
	heard  atomic.Int64            // when it last said something, ns since 1970
	denied atomic.Uint64           // commands of former leaders that it has refused

	out *sendqueue.Queue[*weirpb.ToTaskManager]
}

// ID names the TaskManager's process.
func (t *TaskManager) ID() string { return t.Hello.TaskmanagerId }

// LastHeard is when it last said something.
func (t *TaskManager) LastHeard() time.Time { return time.Unix(0, t.heard.Load()) }

// Refused is how many commands of former leaders it has refused, ever (I2).
func (t *TaskManager) Refused() uint64 { return t.denied.Load() }

// Send queues m; the stream's sender carries it. A TaskManager that does not read is
// lost, as one that is silent.
func (t *TaskManager) Send(m *weirpb.ToTaskManager) {
	if !t.out.Put(m) {
		t.cancel(sendqueue.ErrBehind)
	}
}

// End ends the stream.
func (t *TaskManager) End(cause error) { t.cancel(cause) }

// Connect is the life of a TaskManager's stream.
func (s *Service) Connect(stream grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetRegister()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of a TaskManager must be its registration")
	}
	l := s.o.Leader()
	if reason, final := s.refusal(l, hello); reason != "" {
		return stream.Send(&weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_Refused{
			Refused: &weirpb.RegistrationRefused{Reason: reason, Final: final}}})
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	tm := &TaskManager{Hello: hello, Since: time.Now(), cancel: cancel, out: sendqueue.New[*weirpb.ToTaskManager]()}
	tm.Send(&weirpb.ToTaskManager{LeaderEpoch: l.Epoch(), Message: &weirpb.ToTaskManager_Registered{Registered: &weirpb.Registered{
		ClusterIncarnation: l.ClusterIncarnation(), HeartbeatIntervalMs: uint32(s.o.HeartbeatInterval / time.Millisecond),
		HeartbeatTimeoutMs: uint32(s.o.HeartbeatTimeout / time.Millisecond),
	}}})
	if !l.Registered(tm) {
		return status.Error(codes.Unavailable, "this JobManager no longer leads")
	}
	go s.sendTo(ctx, l, tm, stream)
	l.Disconnected(tm, s.readFrom(ctx, l, tm, stream))
	return nil
}

func (s *Service) refusal(l Leader, hello *weirpb.RegisterTaskManager) (reason string, final bool) {
	switch {
	case l == nil:
		return "it does not lead", false
	case hello.ClusterId != "" && hello.ClusterId != s.o.ClusterID:
		return fmt.Sprintf("the TaskManager is of cluster %q, this is cluster %q; start it with --cluster-id %s",
			hello.ClusterId, s.o.ClusterID, s.o.ClusterID), true
	case !weirpb.Speaks(hello.ProtocolVersion):
		return fmt.Sprintf("the TaskManager (%s) speaks control protocol %d, this JobManager (%s) speaks %d; run matching versions of weir",
			hello.Version, hello.ProtocolVersion, s.o.Version, weirpb.ProtocolVersion), true
	case hello.Slots == 0 || hello.TaskmanagerId == "":
		return "the registration names no slots or no id", true
	case !hello.Local && hello.Machine != machine.ID() && isLoopback(hello.Host):
		return fmt.Sprintf("the TaskManager runs on another host and says that it is reached at %s; start it with --host and an address of its own", hello.Host), true
	case s.o.Private != "" && !hello.Local && hello.Machine != machine.ID():
		return fmt.Sprintf("the TaskManager runs on another host, and checkpoints lie in %s, a folder of this host alone; "+
			"set high-availability.storageDir or execution.checkpointing.dir to a folder that all hosts share", s.o.Private), true
	}
	return "", false
}

// isLoopback reports whether only this very machine can reach host.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *Service) sendTo(ctx context.Context, l Leader, tm *TaskManager, stream grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) {
	beat := time.NewTicker(s.o.HeartbeatInterval)
	defer beat.Stop()
	for {
		messages, _ := tm.out.Take()
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				tm.cancel(fmt.Errorf("send to TaskManager: %w", err))
				return
			}
		}
		select {
		case <-tm.out.Ready():
		case <-beat.C:
			tm.Send(&weirpb.ToTaskManager{LeaderEpoch: l.Epoch(), Message: &weirpb.ToTaskManager_Heartbeat{Heartbeat: &weirpb.Heartbeat{}}})
		case <-l.Done():
			tm.cancel(errors.New("this JobManager no longer leads"))
			return
		case <-ctx.Done():
			return
		}
	}
}

// readFrom posts what the TaskManager says until the stream breaks, or it is
// silent for too long.
func (s *Service) readFrom(ctx context.Context, l Leader, tm *TaskManager, stream grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) error {
	timeout := s.o.HeartbeatTimeout
	silence := time.AfterFunc(timeout, func() { tm.cancel(fmt.Errorf("no heartbeat for %v", timeout)) })
	defer silence.Stop()
	messages := make(chan *weirpb.FromTaskManager)
	broken := make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case m := <-messages:
			silence.Reset(timeout)
			tm.heard.Store(time.Now().UnixNano())
			if beat := m.GetHeartbeat(); beat != nil {
				tm.denied.Store(beat.Refused)
			} else if !l.Said(tm, m) {
				return errors.New("this JobManager no longer leads")
			}
		case err := <-broken:
			switch {
			case errors.Is(err, io.EOF):
				return errors.New("it closed the stream")
			case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.Canceled):
				return context.Cause(ctx)
			case status.Code(err) == codes.Canceled || status.Code(err) == codes.Unavailable:
				return errors.New("its connection broke")
			}
			return err
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return errors.New("its connection broke") // gRPC cancels the stream's context first
		}
	}
}

// chunkSize of FetchObject: large enough to be quick, far below weirpb.MaxMessage.
const chunkSize = 256 << 10

// FetchObject implements the service.
func (s *Service) FetchObject(r *weirpb.FetchObjectRequest, stream grpc.ServerStreamingServer[weirpb.ObjectChunk]) error {
	f, size, err := s.o.Objects.Get(r.Sha256)
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	defer f.Close()
	buf := make([]byte, chunkSize)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&weirpb.ObjectChunk{Data: buf[:n], TotalSize: uint64(size)}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return status.Error(codes.Internal, fmt.Sprintf("read object %x: %v", r.Sha256, err))
		}
	}
}
