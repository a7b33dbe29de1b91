package worker

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/taskmanager/task"
)

// reporter carries what the subtasks of one incarnation say.
type reporter struct {
	w           *Worker
	incarnation job.Incarnation
}

var _ task.Reporter = reporter{}

func (w *Worker) reporter(i job.Incarnation) reporter { return reporter{w, i} }

func (r reporter) send(m *weirpb.FromSubtasks) {
	m.JobId, m.Incarnation = string(r.w.o.JobID), uint64(r.incarnation)
	if !r.w.out.Put(&weirpb.FromWorker{Message: &weirpb.FromWorker_FromSubtasks{FromSubtasks: m}}) {
		r.w.cancel(fmt.Errorf("send to the agent: %w", sendqueue.ErrBehind))
	}
}

// Status implements task.Reporter.
func (r reporter) Status(s *weirpb.SubtaskStatus) {
	r.send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Status{Status: s}})
}

// ackChunk is the size in bytes above which an ack travels in pieces, and the size
// of a piece: far below what gRPC takes, so that heartbeats come between them.
const ackChunk = 1 << 20

// Ack implements task.Reporter.
func (r reporter) Ack(a *weirpb.CheckpointAck) {
	size := proto.Size(a)
	if size <= ackChunk {
		r.send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Ack{Ack: a}})
		return
	}
	b, err := proto.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: marshal ack of checkpoint %d: %v", a.CheckpointId, err))
	}
	count := (len(b) + ackChunk - 1) / ackChunk
	for i := range count {
		r.send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_AckChunk{AckChunk: &weirpb.CheckpointAckChunk{
			CheckpointId: a.CheckpointId, Subtask: a.Subtask, Index: uint32(i), Count: uint32(count),
			Data: b[i*ackChunk : min((i+1)*ackChunk, len(b))],
		}}})
	}
}

// Decline implements task.Reporter.
func (r reporter) Decline(d *weirpb.CheckpointDecline) {
	r.send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Decline{Decline: d}})
}

// Committed implements task.Reporter.
func (r reporter) Committed(c *weirpb.Committed) {
	r.send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Committed{Committed: c}})
}

// SourceEnded implements task.Reporter.
func (r reporter) SourceEnded(e *weirpb.SourceEnded) {
	r.send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_SourceEnded{SourceEnded: e}})
}

func (w *Worker) reportCounters() {
	for _, d := range w.deployments {
		for _, t := range d.tasks {
			w.reporter(d.incarnation).send(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Counters{Counters: t.Counters()}})
		}
	}
}
