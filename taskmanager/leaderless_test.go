package taskmanager

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/proto/weirpb"
)

// TestNobodyLeads: what a worker says while nobody leads, and that another has ended, is what
// the next leader is told as the agent registers.
func TestNobodyLeads(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p, a := w.ready(1)
		sub, attempt := &weirpb.SubtaskRef{Vertex: 1}, &weirpb.Attempt{Epoch: 5, N: 1}
		w.subtasks(&weirpb.ToSubtasks{Command: &weirpb.ToSubtasks_Deploy{Deploy: &weirpb.Deploy{
			Incarnation: 1, Attempt: attempt, Subtasks: []*weirpb.SubtaskDeployment{{Subtask: sub}}}}})
		synctest.Wait()
		w.jm.lead.Store(&leader{4, "c1"}) // a former one: the agent does not stay
		close(w.stream.to)
		<-w.jm.streams
		say := func(m *weirpb.FromSubtasks) {
			m.JobId, m.Incarnation = jobA, 1
			a.say(t, &weirpb.FromWorker{Message: &weirpb.FromWorker_FromSubtasks{FromSubtasks: m}})
		}
		say(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Status{Status: &weirpb.SubtaskStatus{
			Subtask: sub, Attempt: attempt, Incarnation: 1, State: weirpb.SubtaskStatus_STATE_RUNNING}}})
		say(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_SourceEnded{SourceEnded: &weirpb.SourceEnded{Subtask: sub, Attempt: attempt}}})
		say(&weirpb.FromSubtasks{Event: &weirpb.FromSubtasks_Committed{Committed: &weirpb.Committed{CheckpointId: 7, Subtask: sub, Attempt: attempt}}})
		synctest.Wait()
		w.jm.lead.Store(&leader{6, "c1"})
		w.stream = <-w.jm.streams
		hello := w.stream.hello
		if hello.LeaderlessMs == 0 || len(hello.Workers) != 1 || len(hello.Exited) != 0 {
			t.Fatalf("registration %v", hello)
		}
		r := hello.Workers[0]
		if !r.Ready || r.WorkerId != 1 || r.Slots != 1 || len(r.Subtasks) != 1 || r.Subtasks[0].State != weirpb.SubtaskStatus_STATE_RUNNING ||
			len(r.Ended) != 1 || len(r.Committed) != 1 || r.Committed[0].CheckpointId != 7 {
			t.Errorf("inventory %v", r)
		}
		w.jm.lead.Store(&leader{5, "c1"})
		close(w.stream.to)
		<-w.jm.streams
		p.ended <- Exit{Reason: "signal: killed"}
		synctest.Wait()
		w.jm.lead.Store(&leader{7, "c1"})
		w.stream = <-w.jm.streams
		if x := w.stream.hello.Exited; len(x) != 1 || x[0].WorkerId != 1 || x[0].Reason != "signal: killed" || len(w.stream.hello.Workers) != 0 {
			t.Errorf("registration %v", w.stream.hello)
		}
		w.jm.lead.Store(&leader{8, "c1"})
		close(w.stream.to)
		w.stream = <-w.jm.streams
		if len(w.stream.hello.Exited) != 0 {
			t.Errorf("an exit is told of again: %v", w.stream.hello)
		}
	})
}

// TestFrozenJobManager: one that takes the stream and says nothing is left soon, for another.
func TestFrozenJobManager(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.jm.frozen.Store(true)
		close(w.stream.to)
		<-time.After(10 * registerTimeout) // of the bubble
		w.jm.frozen.Store(false)
		thawed := time.Now()
		w.stream = <-w.jm.streams
		if d := time.Since(thawed); d > registerTimeout+reconnectMost {
			t.Errorf("registered %v after it was possible", d)
		}
	})
}
