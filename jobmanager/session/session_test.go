package session

import (
	"context"
	"testing"

	"github.com/weirstream/weir/internal/machine"
	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/proto/weirpb"
)

// leading is a leader that is asked nothing.
type leading struct{ Leader }

// TestRegistrationRefused: a TaskManager that names no cluster is taken by any; what
// can't come right by trying again is final.
func TestRegistrationRefused(t *testing.T) {
	s := New(Options{ClusterID: "payments"})
	for _, c := range []struct {
		name           string
		change         func(*weirpb.RegisterTaskManager)
		refused, final bool
	}{
		{"no cluster named", func(*weirpb.RegisterTaskManager) {}, false, false},
		{"the same cluster", func(h *weirpb.RegisterTaskManager) { h.ClusterId = "payments" }, false, false},
		{"another cluster", func(h *weirpb.RegisterTaskManager) { h.ClusterId = "weir" }, true, true},
		{"no slots", func(h *weirpb.RegisterTaskManager) { h.Slots = 0 }, true, true},
		{"no id", func(h *weirpb.RegisterTaskManager) { h.TaskmanagerId = "" }, true, true},
		{"another host on loopback", func(h *weirpb.RegisterTaskManager) { h.Machine = "elsewhere" }, true, true},
	} {
		hello := &weirpb.RegisterTaskManager{ProtocolVersion: weirpb.ProtocolVersion, TaskmanagerId: "tm-1", Slots: 1, Host: "127.0.0.1", Machine: machine.ID()}
		c.change(hello)
		if reason, final := s.refusal(leading{}, hello); (reason != "") != c.refused || final != c.final {
			t.Errorf("%s: refused with %q, final %v; want %v, final %v", c.name, reason, final, c.refused, c.final)
		}
	}
}

// TestQueueIsBounded: a TaskManager that does not read is given up.
func TestQueueIsBounded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	tm := &TaskManager{cancel: cancel, out: sendqueue.New[*weirpb.ToTaskManager]()}
	for range sendqueue.Capacity {
		tm.Send(nil)
	}
	if ctx.Err() != nil {
		t.Fatal("given up too early")
	}
	tm.Send(nil)
	if left, _ := tm.out.Take(); ctx.Err() == nil || len(left) != sendqueue.Capacity {
		t.Error("the queue grows beyond its bound")
	}
}
