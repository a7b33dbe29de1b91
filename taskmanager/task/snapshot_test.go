package task

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore/errstore"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/exchange"
)

const manyKeys = 30_000 // several slices of copying, and too many for an inline run

// storedRig counts manyKeys keys in one subtask, on a store with faults.
func storedRig(t *testing.T, faults ...errstore.Fault) (*rig, *feed, *errstore.Store) {
	f := &feed{}
	r, _ := countRig(t, func(r *rig) int { return r.source("src", 1, f) }, 1, manyKeys, 0)
	s := errstore.New(r.store, faults...)
	r.store = s
	return r, f, s
}

// round puts one record of each key in.
func (f *feed) round() {
	all := make([]int, manyKeys)
	for i := range all {
		all[i] = i
	}
	f.put(0, all...)
}

// counted says how often each key was counted, after the end of the job: always the
// same for all of them.
func counted(t *testing.T, r *rig, f *feed, id stream.CheckpointID) int {
	t.Helper()
	f.end()
	synctest.Wait()
	r.inject(id, stream.TerminalBarrier)
	a := r.ackOf("count", id)
	if a == nil {
		t.Fatalf("%v is not acked", id)
	}
	got := listOf(t, a, "sink")
	if len(got) != manyKeys {
		t.Fatalf("%d keys, want %d", len(got), manyKeys)
	}
	n := got[0] % 1000
	for _, v := range got {
		if v%1000 != n {
			t.Fatalf("key %d was counted %d times, another %d", v/1000, v%1000, n)
		}
	}
	r.completed(id, true)
	r.running.Wait()
	return n
}

// A checkpoint whose run can't be stored is declined, and what it held is in the next.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, store := storedRig(t, errstore.Fault{Op: errstore.Commit, Kind: errstore.Full})
		r.deploy(0, nil)
		f.round()
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		if r.ackOf("count", 1) != nil || len(r.reports.declines) != 1 {
			t.Fatalf("ack %v, %d declines on a full disk", r.ackOf("count", 1), len(r.reports.declines))
		}
		if reason := r.reports.declines[0].Reason; !strings.Contains(reason, "no space left") {
			t.Errorf("declined because of %q", reason)
		}
		store.Heal()
		f.round()
		synctest.Wait()
		r.inject(2, stream.CheckpointBarrier)
		from := r.restoredFrom(2)
		r.stop()
		r.deploy(2, from)
		if n := counted(t, r, f, 3); n != 2 {
			t.Errorf("each key was counted %d times, want 2", n)
		}
	})
}

// While a run is being stored records flow, a second checkpoint begins, and both are
// acked with the whole list.
func TestSecondBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, _ := storedRig(t, errstore.Fault{Op: errstore.Commit, Times: 1, Kind: errstore.Slow, Delay: time.Minute})
		r.deploy(0, nil)
		f.round()
		synctest.Wait()
		for id := range stream.CheckpointID(3) {
			r.inject(id+1, stream.CheckpointBarrier)
			f.round()
			synctest.Wait()
		}
		if r.ackOf("count", 1) != nil || r.ackOf("count", 3) != nil {
			t.Fatal("acked before the run was stored")
		}
		if in := r.task("count", 0).Counters().RecordsIn; in != 4*manyKeys {
			t.Errorf("%d records while the run was being stored", in)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for id := range stream.CheckpointID(3) {
			a := r.ackOf("count", id+1)
			if a == nil {
				t.Fatalf("checkpoint %d is not acked", id+1)
			}
			if len(a.Operators[0].Subtasks[0].Runs) == 0 || a.NewBytes == 0 {
				t.Errorf("ack %d lists no run", id+1)
			}
			if tm := a.Timings; id == 0 && (tm.AsyncNs < int64(time.Minute) || tm.SyncNs >= int64(time.Minute)) {
				t.Errorf("timings %v", tm)
			}
		}
		for id := range stream.CheckpointID(2) { // the first is still being copied when the second comes
			r.task("src", 0).Post(Command{Kind: Inject, Barrier: stream.Barrier{ID: id + 4, Kind: stream.CheckpointBarrier}})
		}
		synctest.Wait()
		for id := range stream.CheckpointID(2) {
			if r.ackOf("count", id+4) == nil {
				t.Errorf("checkpoint %d is not acked", id+4)
			}
		}
		from := r.restoredFrom(2)
		r.stop()
		r.deploy(2, from)
		if n := counted(t, r, f, 6); n != 4 {
			t.Errorf("each key was counted %d times, want 4", n)
		}
	})
}

// What the leader has not heard of is not acked to the next one; nor is what was
// aborted. The runs count all the same.
func TestNoAckAfterAbort(t *testing.T) {
	for name, c := range map[string]Command{
		"abort": {Kind: Abort, ID: 1}, "leader lost": {Kind: LeaderLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, f, _ := storedRig(t, errstore.Fault{Op: errstore.Commit, Times: 1, Kind: errstore.Slow, Delay: time.Minute})
				r.deploy(0, nil)
				f.round()
				synctest.Wait()
				r.inject(1, stream.CheckpointBarrier)
				r.task("count", 0).Post(c)
				time.Sleep(time.Minute)
				synctest.Wait()
				if r.ackOf("count", 1) != nil {
					t.Error("acked")
				}
				r.each(func(t *Task) { t.Post(Command{Kind: LeaderFound}) })
				r.inject(2, stream.CheckpointBarrier)
				if a := r.ackOf("count", 2); a == nil || len(a.Operators[0].Subtasks[0].Runs) != 1 {
					t.Errorf("the next ack is %v, want the run of the aborted checkpoint", a)
				}
				r.stop()
			})
		})
	}
}

// A cancel does not wait for a store that hangs.
func TestCancelWhileStoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, _ := storedRig(t, errstore.Fault{Op: errstore.Commit, Kind: errstore.Slow, Delay: 100 * time.Hour})
		r.deploy(0, nil)
		f.round()
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		begin := time.Now()
		r.stop()
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the cancel took %v", d)
		}
		equal(t, "statuses", r.reports.of(r.task("count", 0)), "INITIALIZING", "RUNNING", "CANCELED")
	})
}

// A damaged run fails the attempt before its first record.
func TestDamagedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, store := storedRig(t)
		r.deploy(0, nil)
		f.round()
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		from := r.restoredFrom(1)
		r.stop()
		store.Add(errstore.Fault{Op: errstore.Read, Kind: errstore.Flip})
		r.deploy(1, from)
		equal(t, "statuses", r.reports.of(r.task("count", 0)), "INITIALIZING", "FAILED")
		for _, s := range r.reports.statuses {
			if failed := s.State == weirpb.SubtaskStatus_STATE_FAILED; (s.DamagedCheckpoint == 1) != failed || s.Fatal {
				t.Errorf("status %v", s)
			}
		}
		r.stop()
	})
}

// A peer's loss is blamed on the peer.
func TestPeerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := chainRig(t)
		r.deploy(0, nil)
		task := r.task("src", 0)
		task.Post(Command{Kind: Fail, Err: &exchange.PeerError{Worker: "w7", Err: errors.New("reset")}})
		r.running.Wait()
		if s := r.reports.statuses[2]; s.BlamedWorker != "w7" || s.State != weirpb.SubtaskStatus_STATE_FAILED {
			t.Errorf("status %v", s)
		}
	})
}

// Errors of hooks fail the attempt by the operator's name.
func TestHookFails(t *testing.T) {
	for _, hook := range []string{"open", "prepare", "snapshot", "commit", "end", "panic"} {
		t.Run(hook, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, f := newRig(t), &feed{}
				src := r.source("src", 0, f)
				bad := r.add("bad", transformKind, 0, func(l *Linker) error {
					In(l, operator.Receiver[int](&mapped{l.Runtime(), l.Number(), func(v int) int { return v }, Out[int](l)}))
					l.Lifecycle(&failing{hook})
					return nil
				})
				r.from(bad, src, forward, nil)
				r.sink("sink", bad, forward, 0, nil, &events{})
				r.deploy(0, nil)
				r.inject(1, stream.CheckpointBarrier)
				r.completed(1, false)
				f.end()
				r.running.Wait()
				s := r.reports.statuses[len(r.reports.statuses)-1]
				if s.State != weirpb.SubtaskStatus_STATE_FAILED || s.FailedUid != "bad" || !strings.Contains(s.Failure, "no "+hook) {
					t.Errorf("status %v", s)
				}
				if done := len(r.reports.acks); (hook == "prepare" || hook == "snapshot") && done > 0 {
					t.Error("acked although a hook had failed")
				}
			})
		})
	}
}

type failing struct{ hook string }

func (f *failing) fail(hook string) error {
	if f.hook == hook {
		return fmt.Errorf("no %s", hook)
	}
	return nil
}
func (f *failing) Open() error                        { return f.fail("open") }
func (f *failing) Prepare(stream.CheckpointID) error  { return f.fail("prepare") }
func (f *failing) Snapshot(stream.CheckpointID) error { return f.fail("snapshot") }
func (f *failing) Commit(stream.CheckpointID) error   { return f.fail("commit") }
func (f *failing) EndOfInput() error {
	if f.hook == "panic" {
		panic("no panic")
	}
	return f.fail("end")
}

// slowCounter counts by key; it waits at the gate, once, and takes its time for each record
// from then on.
type slowCounter struct {
	n    *table.Value[int]
	cur  *operator.KeyCursor[int]
	gate chan struct{}
	slow bool
}

func (c *slowCounter) ReceiveKeyed(hash uint64, v int) {
	if !c.cur.Set(hash, v) {
		return
	}
	n, _ := c.n.Get()
	c.n.Set(n + 1)
	switch {
	case v < 0:
		<-c.gate
		c.slow = true
	case c.slow:
		<-time.After(10 * time.Millisecond)
	}
}

// TestCopyingBesideSlowRecords: a batch takes user code five seconds. What a checkpoint has
// frozen is copied out in the time of one batch, not a slice after each.
func TestCopyingBesideSlowRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, gate := newRig(t), &feed{}, make(chan struct{})
		info := operator.KeyInfoOf(intKey)
		from := r.source("src", 1, f)
		op := r.add("count", transformKind, 1, func(l *Linker) error {
			s := l.Setup(info)
			c := &slowCounter{n: s.Value[int]("n"), gate: gate}
			c.cur = operator.NewKeyCursor(s, intKey, false)
			InKeyed(l, operator.KeyedReceiver[int](c))
			return nil
		})
		s := operator.PlanSetup("count", info)
		_ = s.Value[int]("n")
		r.declare(op, s)
		r.from(op, from, hash, keyedEdge(t, func(v int) int { return v }))
		r.deploy(0, nil)
		f.round()
		synctest.Wait()
		f.put(0, -1) // holds the subtask
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		f.put(0, make([]int, 2000)...) // behind the barrier: 20 s of work
		synctest.Wait()
		close(gate)
		time.Sleep(6 * time.Second)
		if r.ackOf("count", 1) == nil {
			t.Error("the checkpoint waits for more than a batch of slow records")
		}
		r.stop()
	})
}
