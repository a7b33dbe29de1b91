package history

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

var at = time.UnixMilli(1_000_000).UTC()

// seen is a history of checkpoint 1 completed, 2 failed, 3 under way.
func seen() *History {
	h := &History{}
	for id := range stream.CheckpointID(3) {
		h.Record(coordinator.CheckpointTriggeredInfo{ID: id + 1, Kind: stream.CheckpointBarrier, At: at.Add(time.Duration(id) * time.Second), Subtasks: 4})
	}
	h.Record(coordinator.CheckpointCompletedInfo{ID: 1, Duration: 30 * time.Millisecond, StateBytes: 700, NewBytes: 70, Subtasks: 4})
	h.Record(coordinator.CheckpointFailedInfo{ID: 2, Acks: 3, Reason: "disk full"})
	return h
}

func TestHistory(t *testing.T) {
	var j api.Job
	seen().Fill(&j, []*metapb.CheckpointPointer{{CheckpointId: 1, Path: "/c/chk-1"}})
	c := j.Checkpoints
	if c.Completed != 1 || c.Failed != 1 || c.InProgress != 1 || len(c.History) != 3 {
		t.Fatalf("%+v", c)
	}
	if c.History[0].ID != 3 || c.History[0].Status != api.CheckpointInProgress {
		t.Errorf("newest first: %+v", c.History[0])
	}
	if f := c.History[1]; f.Status != api.CheckpointFailed || f.Acked != 3 || f.Failure == "" {
		t.Errorf("failed: %+v", f)
	}
	if f := c.History[2]; f.Path != "/c/chk-1" || f.Bytes != 700 || f.NewBytes != 70 || f.DurationMS != 30 {
		t.Errorf("completed: %+v", f)
	}
}

// TestStatisticsOutliveALeader: what is put on record with a pointer is what the next
// leader tells, without what was under way.
func TestStatisticsOutliveALeader(t *testing.T) {
	h := seen()
	h.Restored()
	p := &metapb.CheckpointPointer{CheckpointId: 3, Kind: uint32(stream.CheckpointBarrier), Path: "/c/chk-3", StateBytes: 900, NewBytes: 90, Subtasks: 4, DurationMs: 20, CompletedAtMs: at.UnixMilli() + 2020}
	var next History
	next.Load(&ha.JobState{Statistics: h.Statistics(p)})
	var j api.Job
	next.Fill(&j, nil)
	c := j.Checkpoints
	if c.Completed != 2 || c.Failed != 1 || c.Restored != 1 || c.InProgress != 0 || len(c.History) != 3 {
		t.Fatalf("%+v", c)
	}
	h.Record(coordinator.CheckpointCompletedInfo{ID: 3, Duration: 20 * time.Millisecond, StateBytes: 900, NewBytes: 90, Subtasks: 4})
	var before api.Job
	h.Fill(&before, []*metapb.CheckpointPointer{p})
	before.Checkpoints.History[2].Path = "" // of no pointer any more
	if !reflect.DeepEqual(before.Checkpoints.History[0], c.History[0]) {
		t.Errorf("told before:\n%+v\ntold by the next leader:\n%+v", before.Checkpoints.History[0], c.History[0])
	}
}

// TestHistoryIsBounded keeps the newest.
func TestHistoryIsBounded(t *testing.T) {
	h := &History{}
	for id := range stream.CheckpointID(3 * checkpointHistory) {
		h.Record(coordinator.CheckpointTriggeredInfo{ID: id + 1, At: at})
		h.Record(coordinator.CheckpointCompletedInfo{ID: id + 1})
	}
	s := h.Statistics(&metapb.CheckpointPointer{CheckpointId: 3*checkpointHistory + 1})
	if n := len(s.History); n != checkpointHistory || s.History[n-1].CheckpointId != 3*checkpointHistory+1 || s.Completed != 3*checkpointHistory+1 {
		t.Errorf("%d entries, the last of checkpoint %d, %d completed", n, s.History[n-1].CheckpointId, s.Completed)
	}
}

// TestEnded: a job that ended under an earlier leader, with what was deleted at its end.
func TestEnded(t *testing.T) {
	h := seen()
	s := &ha.JobState{
		Record:     &metapb.JobRecord{JobId: "0123456789abcdef0123456789abcdef", Name: "orders", SubmittedAtMs: at.UnixMilli()},
		Statistics: h.Statistics(&metapb.CheckpointPointer{CheckpointId: 3, Path: "/c/chk-3"}),
		Result:     &metapb.JobResult{State: api.StateFailed, EndedAtMs: at.UnixMilli() + 5000, DurationMs: 4000, Failure: "poison"},
	}
	j := Ended(s, at.Add(time.Hour))
	if j.State != api.StateFailed || j.DurationMS != 4000 || j.EndedAt == nil || j.LastFailure == nil || j.LastFailure.Cause != "poison" {
		t.Errorf("%+v", j)
	}
	if c := j.LastCheckpoint; c == nil || c.ID != 3 || !c.Discarded || c.Path != "" {
		t.Errorf("its last checkpoint was deleted with it: %+v", c)
	}
}

// TestFailures: whose they are, and which of them is told first.
func TestFailures(t *testing.T) {
	g, err := job.NewGraph(&metapb.Plan{Name: "orders", Operators: []*metapb.Operator{{Uid: "count", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE}}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	var h History
	h.Fail(execgraph.RegionFailed{Failure: execgraph.Failure{Time: at, Subtask: &job.SubtaskID{Index: 1}, TaskManager: "tm-1", Cause: "boom", Detail: "stack\n"}}, g)
	h.Fail(execgraph.RegionFailed{Failure: execgraph.Failure{Time: at, TaskManager: "tm-1", Cause: "lost", Detail: strings.Repeat("€", failureBytes)}, GivenUp: true}, g)
	h.Fail(execgraph.RegionFailed{Failure: execgraph.Failure{Time: at, Cause: "killed"}}, g)
	var j api.Job
	h.Fill(&j, nil)
	var next History
	next.Load(&ha.JobState{Failures: h.Failures()})
	var later api.Job
	if next.Fill(&later, nil); !reflect.DeepEqual(later, j) {
		t.Errorf("the next leader tells\n%+v\nnot\n%+v", later, j)
	}
	var told []string
	for _, f := range j.Failures {
		if len(f.Cause) > failureBytes || !utf8.ValidString(f.Cause) {
			t.Errorf("%d bytes, valid %v", len(f.Cause), utf8.ValidString(f.Cause))
		}
		told = append(told, f.Task+": "+f.Cause[:min(len(f.Cause), 10)])
	}
	if want := []string{": killed", "all subtasks on tm-1: lost\n€", "count[1]: boom\nstack"}; len(told) != 3 || told[0] != want[0] || !strings.HasPrefix(told[1], want[1]) || told[2] != want[2] {
		t.Errorf("%q", told)
	}
	if j.LastFailure == nil || !j.LastFailure.Fatal {
		t.Errorf("what ended the job comes first: %+v", j.LastFailure)
	}
}

// TestCauseOnce: the details of a subtask's failure repeat its cause, then have the stack.
func TestCauseOnce(t *testing.T) {
	for _, c := range []struct{ detail, want string }{
		{"", "it broke"}, {"it broke", "it broke"}, {"it broke\nmain.go:7", "it broke\nmain.go:7"}, {"chk-1: torn\nchk-2: torn", "it broke\nchk-1: torn\nchk-2: torn"},
	} {
		if got := Cause(execgraph.Failure{Cause: "it broke", Detail: c.detail}); got != c.want {
			t.Errorf("%q gives %q, want %q", c.detail, got, c.want)
		}
	}
}
