package jobmanager

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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
	"github.com/weirstream/weir/proto/weirpb"
)

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// rpcService takes TaskManagers. It runs in every JobManager; one that does not
// lead refuses and says who does.
type rpcService struct {
	weirpb.UnimplementedJobManagerServiceServer
	manager *JobManager
}

// taskManager is a registered TaskManager's stream.
type taskManager struct {
	hello  *weirpb.RegisterTaskManager
	since  time.Time
	cancel context.CancelCauseFunc // ends the stream
	heard  atomic.Int64            // when it last said something, ns since 1970

	out *sendqueue.Queue[*weirpb.ToTaskManager]
}

// lastHeard is when it last said something.
func (t *taskManager) lastHeard() time.Time { return time.Unix(0, t.heard.Load()) }

// send queues m; the stream's sender carries it. A TaskManager that does not read is
// lost, as one that is silent.
func (t *taskManager) send(m *weirpb.ToTaskManager) {
	if !t.out.Put(m) {
		t.cancel(sendqueue.ErrBehind)
	}
}

// Connect is the life of a TaskManager's stream.
func (s *rpcService) Connect(stream grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetRegister()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of a TaskManager must be its registration")
	}
	d := s.manager.leader()
	if reason, final := s.refusal(d, hello); reason != "" {
		return stream.Send(&weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_Refused{
			Refused: &weirpb.RegistrationRefused{Reason: reason, Final: final}}})
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	tm := &taskManager{hello: hello, since: time.Now(), cancel: cancel, out: sendqueue.New[*weirpb.ToTaskManager]()}
	tm.send(&weirpb.ToTaskManager{LeaderEpoch: d.epoch(), Message: &weirpb.ToTaskManager_Registered{Registered: &weirpb.Registered{
		ClusterIncarnation: d.cluster.Incarnation, HeartbeatIntervalMs: uint32(s.manager.cfg.HeartbeatInterval / time.Millisecond),
		HeartbeatTimeoutMs: uint32(s.manager.cfg.HeartbeatTimeout / time.Millisecond),
	}}})
	if d.loop.Post(&registered{tm}) != nil {
		return status.Error(codes.Unavailable, "this JobManager no longer leads")
	}
	go s.sendTo(ctx, d, tm, stream)
	err = s.readFrom(ctx, d, tm, stream)
	_ = d.loop.Post(&disconnected{tm, err}) // a closed loop has nobody left to tell
	return nil
}

func (s *rpcService) refusal(d *Dispatcher, hello *weirpb.RegisterTaskManager) (reason string, final bool) {
	switch {
	case d == nil:
		return "it does not lead", false
	case hello.ClusterId != "" && hello.ClusterId != s.manager.cfg.ClusterID:
		return fmt.Sprintf("the TaskManager is of cluster %q, this is cluster %q; start it with --cluster-id %s",
			hello.ClusterId, s.manager.cfg.ClusterID, s.manager.cfg.ClusterID), true
	case !weirpb.Speaks(hello.ProtocolVersion):
		return fmt.Sprintf("the TaskManager (%s) speaks control protocol %d, this JobManager (%s) speaks %d; run matching versions of weir",
			hello.Version, hello.ProtocolVersion, s.manager.cfg.Version, weirpb.ProtocolVersion), true
	case hello.Slots == 0 || hello.TaskmanagerId == "":
		return "the registration names no slots or no id", true
	case !hello.Local && hello.Machine != machine.ID() && isLoopback(hello.Host):
		return fmt.Sprintf("the TaskManager runs on another host and says that it is reached at %s; start it with --host and an address of its own", hello.Host), true
	case s.manager.cfg.Private != "" && !hello.Local && hello.Machine != machine.ID():
		return fmt.Sprintf("the TaskManager runs on another host, and checkpoints lie in %s, a folder of this host alone; "+
			"set high-availability.storageDir or execution.checkpointing.dir to a folder that all hosts share", s.manager.cfg.Private), true
	}
	return "", false
}

// isLoopback reports whether only this very machine can reach host.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *rpcService) sendTo(ctx context.Context, d *Dispatcher, tm *taskManager, stream grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) {
	beat := time.NewTicker(s.manager.cfg.HeartbeatInterval)
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
			tm.send(&weirpb.ToTaskManager{LeaderEpoch: d.epoch(), Message: &weirpb.ToTaskManager_Heartbeat{Heartbeat: &weirpb.Heartbeat{}}})
		case <-d.loop.Done():
			tm.cancel(errors.New("this JobManager no longer leads"))
			return
		case <-ctx.Done():
			return
		}
	}
}

// readFrom posts what the TaskManager says until the stream breaks, or it is
// silent for too long.
func (s *rpcService) readFrom(ctx context.Context, d *Dispatcher, tm *taskManager, stream grpc.BidiStreamingServer[weirpb.FromTaskManager, weirpb.ToTaskManager]) error {
	timeout := s.manager.cfg.HeartbeatTimeout
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
			if m.GetHeartbeat() == nil && d.loop.Post(&said{tm, m}) != nil {
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
func (s *rpcService) FetchObject(r *weirpb.FetchObjectRequest, stream grpc.ServerStreamingServer[weirpb.ObjectChunk]) error {
	f, size, err := s.manager.objects.Get(r.Sha256)
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
