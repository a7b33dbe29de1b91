package taskmanager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/internal/sockets"
	"github.com/weirstream/weir/proto/weirpb"
)

// serveAgent opens the door for workers.
func (t *TaskManager) serveAgent() error {
	l := t.cfg.AgentListener
	if l == nil {
		var err error
		if t.sockets, err = sockets.Open(t.cfg.Data); err != nil {
			return err
		}
		if l, err = net.Listen("unix", t.agentAddress()); err != nil {
			return errors.Join(fmt.Errorf("listen for workers: %w", err), t.sockets.Close())
		}
	}
	t.agent = grpc.NewServer(grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(weirpb.MaxMessage), grpc.MaxSendMsgSize(weirpb.MaxMessage))
	weirpb.RegisterAgentServiceServer(t.agent, &agentService{tm: t})
	go func() {
		if err := t.agent.Serve(l); err != nil {
			t.log.Error("the door for workers is closed", "cause", err)
		}
	}()
	return nil
}

func (t *TaskManager) agentAddress() string {
	if t.sockets == nil {
		return ""
	}
	return filepath.Join(t.sockets.Path, "agent")
}

func (t *TaskManager) closeAgent() {
	t.agent.Stop()
	if t.sockets != nil {
		if err := t.sockets.Close(); err != nil {
			t.log.Warn("folder of the agent's socket stays behind", "cause", err)
		}
	}
}

type agentService struct {
	weirpb.UnimplementedAgentServiceServer
	tm *TaskManager
}

// Attach is the life of a worker's control stream.
func (a *agentService) Attach(stream grpc.BidiStreamingServer[weirpb.FromWorker, weirpb.ToWorker]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetAttach()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of a worker must be its attach")
	}
	to := sendqueue.New[*weirpb.ToWorker]()
	answer := make(chan error, 1)
	a.tm.post(&attaching{hello, to, answer})
	select {
	case err := <-answer:
		if err != nil {
			return status.Error(codes.FailedPrecondition, err.Error())
		}
	case <-a.tm.done:
		return status.Error(codes.Unavailable, "the TaskManager is stopping")
	}
	go func() { // ends with the stream: a worker that can't be reached is a worker whose stream has broken
		if err := to.Drain(stream.Context().Done(), stream.Send); err != nil {
			a.tm.log.Debug("send to worker", "worker", hello.WorkerId, "cause", err)
		}
	}()
	defer a.tm.post(&detached{hello.WorkerId, to})
	for {
		m, err := stream.Recv()
		if err != nil {
			to.Close()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		a.tm.post(&fromWorker{hello.WorkerId, to, m})
	}
}

type attaching struct {
	hello  *weirpb.AttachWorker
	to     *sendqueue.Queue[*weirpb.ToWorker]
	answer chan<- error
}

func (e *attaching) handle(t *TaskManager) {
	w := t.workers[e.hello.WorkerId]
	switch {
	case w == nil || w.start.JobId != e.hello.JobId:
		e.answer <- fmt.Errorf("worker %d of job %s is not expected here", e.hello.WorkerId, e.hello.JobId)
		return
	case w.phase != workerStarting:
		e.answer <- fmt.Errorf("worker %d is %v and cannot attach", e.hello.WorkerId, w.phase)
		return
	case !weirpb.Speaks(e.hello.ProtocolVersion):
		w.userError = true
		w.kill(fmt.Sprintf("job binary %s speaks control protocol %d, this TaskManager (%s) speaks %d to %d; build the job with a matching weir",
			e.hello.Version, e.hello.ProtocolVersion, t.cfg.Version, weirpb.OldestProtocol, weirpb.ProtocolVersion))
		e.answer <- errors.New(w.reason)
		return
	}
	e.answer <- nil
	w.phase, w.to, w.attached = workerBuilding, e.to, e.hello
	w.send(&weirpb.ToWorker{LeaderEpoch: t.epoch, Message: &weirpb.ToWorker_Accepted{Accepted: &weirpb.WorkerAccepted{
		Start: w.start, DataDir: w.data, MemoryBytes: uint64(w.memory()),
	}}})
}

// detached: a worker's control stream has ended. Its process ends by itself, or is
// made to.
type detached struct {
	id uint64
	to *sendqueue.Queue[*weirpb.ToWorker]
}

func (e *detached) handle(t *TaskManager) {
	if w := t.workers[e.id]; w != nil && w.to == e.to {
		time.AfterFunc(stopGrace, func() { t.post(&graceOver{w, "its control stream has ended and it has not"}) })
	}
}

type fromWorker struct {
	id uint64
	to *sendqueue.Queue[*weirpb.ToWorker]
	m  *weirpb.FromWorker
}

func (e *fromWorker) handle(t *TaskManager) {
	w := t.workers[e.id]
	if w == nil || w.to != e.to {
		return // of a worker that is gone
	}
	switch m := e.m.Message.(type) {
	case *weirpb.FromWorker_Attach: // the program has been built
		w.built(m.Attach)
	case *weirpb.FromWorker_FromSubtasks:
		w.note(m.FromSubtasks)
		t.send(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_FromSubtasks{FromSubtasks: m.FromSubtasks}})
	}
}

// note keeps what the next leader has to know.
func (w *worker) note(m *weirpb.FromSubtasks) {
	switch e := m.Event.(type) {
	case *weirpb.FromSubtasks_Status:
		w.said(e.Status)
	case *weirpb.FromSubtasks_SourceEnded:
		w.ends[keyOf(e.SourceEnded.Subtask)] = e.SourceEnded
	case *weirpb.FromSubtasks_Committed:
		w.commits[keyOf(e.Committed.Subtask)] = e.Committed
	}
}

// said notes a status, unless it is of an attempt that was replaced.
func (w *worker) said(s *weirpb.SubtaskStatus) {
	if last := w.statuses[keyOf(s.Subtask)]; last == nil || s.Incarnation >= last.Incarnation {
		w.statuses[keyOf(s.Subtask)] = s
	}
}

// built compares the plan that the worker built with the submitted one.
func (w *worker) built(a *weirpb.AttachWorker) {
	if w.phase != workerBuilding {
		return
	}
	if a.PlanDifference != "" || !bytes.Equal(a.PlanSha256, w.start.PlanSha256) {
		w.userError = true
		w.kill(fmt.Sprintf("the program builds another plan here than at submission: %s; build must depend on nothing but its arguments and Env.Param", a.PlanDifference))
		return
	}
	w.phase, w.attached = workerReady, a
	w.tm.send(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_WorkerStarted{WorkerStarted: &weirpb.WorkerStarted{
		JobId: w.start.JobId, Pid: a.Pid, DataAddress: a.DataAddress, WorkerId: w.start.WorkerId, UnixAddress: a.UnixAddress,
	}}})
}
