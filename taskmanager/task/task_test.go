package task

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chainRig is source → double → sink in one subtask.
func chainRig(t *testing.T) (*rig, *feed, *events) {
	r, f, log := newRig(t), &feed{}, &events{}
	src := r.source("src", 0, f)
	m := r.add("double", transformKind, 0, mapLink(func(v int) int { return 2 * v }))
	r.from(m, src, forward, nil)
	r.sink("sink", m, forward, 0, nil, log)
	return r, f, log
}

func TestChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, log := chainRig(t)
		r.deploy(0, nil)
		f.put(0, 1, 2, 3)
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		equal(t, "checkpoint 1", listOf(t, r.reports.acked(1)[0], "sink"), 2, 4, 6)
		r.completed(1, false)
		f.put(0, 4)
		f.end()
		synctest.Wait()
		if len(r.reports.ends) != 1 {
			t.Fatalf("%d SourceEnded", len(r.reports.ends))
		}
		r.inject(2, stream.TerminalBarrier)
		a := r.reports.acked(2)[0]
		equal(t, "terminal checkpoint", listOf(t, a, "sink"), 2, 4, 6, 8)
		for _, o := range a.Operators {
			if !o.Subtasks[0].Ended {
				t.Errorf("operator %s is not ended in the terminal checkpoint", o.Uid)
			}
		}
		if res := a.Operators[2].Subtasks[0].Results; len(res) != 1 || res[0].GetSum() != 20 {
			t.Errorf("results %v", res)
		}
		r.completed(2, true)
		r.running.Wait()
		task := r.task("src", 0)
		equal(t, "statuses", r.reports.of(task), "INITIALIZING", "RUNNING", "FINISHED")
		equal(t, "events", log.take(), "open 0", "prepare 1", "snapshot 1 of 3", "commit 1", "end",
			"prepare 2", "snapshot 2 of 4", "commit 2", "close")
		if c := task.Counters(); c.RecordsIn != 4 {
			t.Errorf("records in: %d", c.RecordsIn)
		}
		if n := len(r.reports.committed); n != 2 {
			t.Errorf("%d Committed", n)
		}
	})
}

// A restored subtask commits what its checkpoint prepared, after Open and before the
// first record; an ended operator does not end twice.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, log := chainRig(t)
		r.deploy(0, nil)
		f.put(0, 1, 2)
		synctest.Wait()
		r.inject(1, stream.CheckpointBarrier)
		f.put(0, 3) // lost with the attempt, read again by the next
		synctest.Wait()
		from := r.restoredFrom(1)
		r.stop()
		equal(t, "statuses", r.reports.of(r.task("src", 0)), "INITIALIZING", "RUNNING", "CANCELED")
		log.take()

		r.deploy(1, from)
		equal(t, "events", log.take(), "open 2", "commit 1")
		f.end()
		synctest.Wait()
		r.inject(2, stream.CheckpointBarrier)
		equal(t, "checkpoint 2", listOf(t, r.reports.acked(2)[0], "sink"), 2, 4, 6)
		equal(t, "events", log.take(), "end", "prepare 2", "snapshot 2 of 3")
		from = r.restoredFrom(2)
		r.stop()
		log.take()

		r.deploy(2, from)
		equal(t, "events", log.take(), "open 3", "commit 2") // no second "end"
		if len(r.reports.ends) != 1 {
			t.Errorf("an ended source was restored and reported its end %d times", len(r.reports.ends))
		}
		r.inject(3, stream.TerminalBarrier)
		r.completed(3, true)
		r.running.Wait()
		equal(t, "statuses", r.reports.of(r.task("src", 0)), "INITIALIZING", "RUNNING", "FINISHED")
	})
}

// A drained source ends in the middle of its input, and the job as if that were all.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, _ := chainRig(t)
		r.deploy(0, nil)
		f.put(0, 1, 2)
		synctest.Wait()
		for range 2 { // it may be said twice
			r.task("src", 0).Post(Command{Kind: Drain})
			synctest.Wait()
		}
		f.put(0, 3)
		synctest.Wait()
		if n := len(r.reports.ends); n != 1 {
			t.Fatalf("%d SourceEnded", n)
		}
		r.inject(1, stream.TerminalBarrier)
		equal(t, "terminal checkpoint", listOf(t, r.reports.acked(1)[0], "sink"), 2, 4)
		r.completed(1, true)
		r.running.Wait()
		equal(t, "statuses", r.reports.of(r.task("src", 0)), "INITIALIZING", "RUNNING", "FINISHED")
	})
}

// An enumerator is drained with its readers: splits that nobody has are left.
func TestDrainEnumerator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := enumeratedRig(t, 1000, 1, 10, 2, nil)
		r.deploy(0, nil)
		time.Sleep(20 * time.Millisecond)
		r.each(func(t *Task) {
			if uid := r.graph.VertexUID(t.o.Subtask.Vertex); uid != "sink" {
				t.Post(Command{Kind: Drain})
			}
		})
		if n := r.reports.ended(); n != 2 {
			t.Fatalf("%d SourceEnded, want 2", n)
		}
		r.inject(1, stream.TerminalBarrier)
		if n := len(r.reports.acked(1)); n != len(r.graph.Subtasks()) {
			t.Fatalf("%d acks of the terminal checkpoint; declined: %v", n, r.reports.declines)
		}
		r.completed(1, true)
		r.running.Wait()
	})
}

// Behind a stop barrier nothing is read: here, and after a restart for the commits.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, log := chainRig(t)
		r.deploy(0, nil)
		f.put(0, 1)
		synctest.Wait()
		r.inject(1, stream.StopBarrier)
		f.put(0, 2)
		synctest.Wait()
		if in := r.task("src", 0).Counters().RecordsIn; in != 1 {
			t.Errorf("%d records were read, 1 before the barrier", in)
		}
		from := r.restoredFrom(1)
		r.task("src", 0).Post(Command{Kind: Abort, ID: 1}) // it failed: go on
		synctest.Wait()
		r.inject(2, stream.CheckpointBarrier)
		equal(t, "after the stop failed", listOf(t, r.reports.acked(2)[0], "sink"), 2, 4)
		r.stop()
		log.take()
		r.stopped = true
		r.deploy(1, from)
		r.completed(1, true)
		r.running.Wait()
		equal(t, "events", log.take(), "open 1", "commit 1", "commit 1", "close")
		if in := r.task("src", 0).Counters().RecordsIn; in != 0 {
			t.Errorf("a stopped job reads %d records", in)
		}
	})
}

// After a leader change only the commits of a terminal checkpoint may be missing.
func TestRestoreTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, log := chainRig(t)
		f.end()
		r.deploy(0, nil)
		r.inject(1, stream.TerminalBarrier)
		from := r.restoredFrom(1)
		r.stop()
		log.take()
		r.deploy(1, from)
		r.completed(1, true)
		r.running.Wait()
		equal(t, "events", log.take(), "open 0", "commit 1", "commit 1", "close")
	})
}

// The terminal barrier is for subtasks that have ended.
func TestTerminalTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, _ := chainRig(t)
		r.deploy(0, nil)
		r.inject(1, stream.TerminalBarrier)
		if len(r.reports.acks) != 0 || len(r.reports.declines) != 1 {
			t.Errorf("%d acks, %d declines", len(r.reports.acks), len(r.reports.declines))
		}
		f.end()
		synctest.Wait()
		r.inject(2, stream.TerminalBarrier)
		r.completed(2, true)
		r.running.Wait()
	})
}

// two sources into one sink, one subtask each.
func unionRig(t *testing.T) (r *rig, a, b *feed, log *events) {
	r, a, b, log = newRig(t), &feed{}, &feed{}, &events{}
	sa, sb := r.source("a", 0, a), r.source("b", 0, b)
	k := r.sink("sink", sa, rebalance, 0, intEdge(t), log)
	r.from(k, sb, rebalance, intEdge(t))
	return r, a, b, log
}

func TestAlignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a, b, _ := unionRig(t)
		r.deploy(0, nil)
		barrier := Command{Kind: Inject, Barrier: stream.Barrier{ID: 1, Kind: stream.CheckpointBarrier}}
		a.put(0, 1)
		synctest.Wait()
		r.task("a", 0).Post(barrier)
		synctest.Wait()
		a.put(0, 100) // behind the barrier: waits
		b.put(0, 2)   // before the other's: passes
		synctest.Wait()
		r.task("b", 0).Post(barrier)
		synctest.Wait()
		acks := r.reports.acked(1)
		if len(acks) != 3 {
			t.Fatalf("%d acks", len(acks))
		}
		equal(t, "snapshot", listOf(t, r.ackOf("sink", 1), "sink"), 1, 2)

		r.inject(2, stream.CheckpointBarrier)
		equal(t, "next snapshot", listOf(t, r.ackOf("sink", 2), "sink"), 1, 2, 100)
		one := uint64(len(intEdge(t).Codec.Append(nil, 2))) // came while the other's barrier was waited for
		equal(t, "bytes during alignment", []uint64{r.ackOf("sink", 1).Timings.ProcessedBytes, r.ackOf("sink", 2).Timings.ProcessedBytes}, one, 0)
		r.stop()
	})
}

// An aborted checkpoint releases the channels it blocked, and a late barrier of it
// blocks nothing.
func TestAbort(t *testing.T) {
	for _, how := range []string{"abort here", "abort upstream", "leader lost"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, a, b, _ := unionRig(t)
				r.deploy(0, nil)
				barrier := Command{Kind: Inject, Barrier: stream.Barrier{ID: 1, Kind: stream.CheckpointBarrier}}
				r.task("a", 0).Post(barrier)
				a.put(0, 1)
				synctest.Wait()
				switch how {
				case "abort here":
					r.task("sink", 0).Post(Command{Kind: Abort, ID: 1})
				case "abort upstream":
					r.task("b", 0).Post(Command{Kind: Abort, ID: 1})
				case "leader lost":
					r.task("sink", 0).Post(Command{Kind: LeaderLost})
				}
				synctest.Wait()
				r.task("b", 0).Post(barrier)
				b.put(0, 2)
				synctest.Wait()
				for _, ack := range r.reports.acked(1) {
					if ack.Subtask.Vertex == uint32(r.task("sink", 0).o.Subtask.Vertex) {
						t.Error("the sink acked an aborted checkpoint")
					}
				}
				if len(r.reports.declines) == 0 {
					t.Error("nobody declined")
				}
				r.each(func(t *Task) { t.Post(Command{Kind: LeaderFound}) })
				r.inject(2, stream.CheckpointBarrier)
				equal(t, "next snapshot", listOf(t, r.ackOf("sink", 2), "sink"), 1, 2)
				r.stop()
			})
		})
	}
}

// A barrier that was on its way when the leader was lost holds no channel, whether it may
// overtake or not: who else was to inject it may never have heard of it. Those of the next
// leader are aligned again.
func TestBarrierOfLostLeader(t *testing.T) {
	for _, b := range []stream.Barrier{
		{ID: 1, Kind: stream.CheckpointBarrier}, {ID: 1, Kind: stream.StopBarrier},
		{ID: 1, Kind: stream.CheckpointBarrier, AlignmentTimeout: time.Second}, {ID: 1, Kind: stream.CheckpointBarrier, Unaligned: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, x, y, _ := unionRig(t)
			r.deploy(0, nil)
			synctest.Wait()
			r.task("sink", 0).Post(Command{Kind: LeaderLost})
			r.task("b", 0).Post(Command{Kind: LeaderLost})
			r.task("a", 0).Post(Command{Kind: Inject, Barrier: b}) // it had been told
			synctest.Wait()
			r.task("a", 0).Post(Command{Kind: LeaderLost})
			synctest.Wait()
			r.task("a", 0).Post(Command{Kind: Abort, ID: 1}) // a stop's source goes on
			x.put(0, 1, 2)
			y.put(0, 3)
			synctest.Wait()
			if n := r.task("sink", 0).Counters().RecordsIn; n != 3 {
				t.Errorf("%+v: %d of 3 records have come through", b, n)
			}
			for _, a := range r.reports.acked(1) {
				if int(a.Subtask.Vertex) == int(r.task("sink", 0).o.Subtask.Vertex) {
					t.Errorf("%+v: the sink acks", b)
				}
			}
			r.each(func(t *Task) { t.Post(Command{Kind: LeaderFound}) })
			r.inject(2, stream.CheckpointBarrier)
			if a := r.ackOf("sink", 2); a == nil || len(listOf(t, a, "sink")) != 3 {
				t.Errorf("%+v: the next leader's checkpoint is %v", b, a)
			}
			r.stop()
		})
	}
}

// A subtask whose consumer takes nothing still injects barriers, and can be
// cancelled at once.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, log := newRig(t), &feed{}, &events{}
		src := r.source("src", 0, f)
		r.sink("sink", src, rebalance, 0, intEdge(t), log)
		r.graph = must[*job.Graph](t)(job.NewGraph(r.plan, 1))
		consumer := job.SubtaskID{Vertex: 1}
		r.deploy(0, nil, consumer)
		for range 20 {
			f.put(0, make([]int, 5000)...)
		}
		synctest.Wait()
		task := r.task("src", 0)
		r.inject(1, stream.CheckpointBarrier)
		acks := r.reports.acked(1)
		if len(acks) != 1 {
			t.Fatalf("%d acks under back pressure", len(acks))
		}
		pos := string(acks[0].Operators[0].Subtasks[0].OperatorStates[0].Entries[0])
		if pos == "100000" || pos == "0" {
			t.Errorf("position %s: there was no back pressure", pos)
		}
		if c := task.Counters(); fmt.Sprint(c.RecordsOut) != pos {
			t.Errorf("%d records lie before the barrier, the position is %s", c.RecordsOut, pos)
		}
		r.stop()
		equal(t, "statuses", r.reports.of(task), "INITIALIZING", "RUNNING", "CANCELED")
	})
}

// slow is an operator whose Prepare and end take until told.
type slow struct {
	mapped
	prepare chan struct{}
	steps   int // of the end, 10,000 records each
}

func (s *slow) Prepare(stream.CheckpointID) error {
	<-s.prepare
	return nil
}

func (s *slow) EndOfInputStep() (bool, error) {
	for i := range 10_000 {
		s.out.Emit(i)
	}
	s.steps--
	return s.steps <= 0, nil
}

// slowRig is source → slow, then → sink in another subtask.
func slowRig(t *testing.T, steps int) (*rig, *feed, chan struct{}) {
	r, f, prepare := newRig(t), &feed{}, make(chan struct{})
	src := r.source("src", 0, f)
	op := r.add("slow", transformKind, 0, func(l *Linker) error {
		s := &slow{mapped{l.Runtime(), l.Number(), func(v int) int { return v }, Out[int](l)}, prepare, steps}
		In(l, operator.Receiver[int](s))
		l.Lifecycle(s)
		return nil
	})
	r.from(op, src, forward, nil)
	r.sink("sink", op, rebalance, 0, intEdge(t), &events{})
	return r, f, prepare
}

// The barrier goes on before a slow Prepare begins (B8).
func TestForwardFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, prepare := slowRig(t, 1)
		r.deploy(0, nil)
		f.put(0, 7)
		r.inject(1, stream.CheckpointBarrier)
		if r.ackOf("sink", 1) == nil || r.ackOf("src", 1) != nil {
			t.Error("the sink waits for Prepare of the operator before it")
		}
		close(prepare)
		r.stop()
		if r.ackOf("src", 1) == nil {
			t.Error("no ack after Prepare")
		}
	})
}

// Much may be emitted at the end: in steps, with room for each. Barriers wait for the
// last; they can be cancelled.
func TestSteppedEnd(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("leader lost %t", lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, f, prepare := slowRig(t, 10)
				close(prepare)
				r.graph = must[*job.Graph](t)(job.NewGraph(r.plan, 1))
				sub := job.SubtaskID{Vertex: 1}
				r.deploy(0, nil, sub)
				f.end()
				synctest.Wait()
				task := r.task("src", 0)
				if out := task.Counters().RecordsOut; out == 0 || out >= 100_000 {
					t.Fatalf("%d records emitted without a consumer", out)
				}
				r.inject(1, stream.CheckpointBarrier)
				if len(r.reports.acks) != 0 || r.reports.ended() != 0 {
					t.Fatal("a snapshot was taken in the middle of the end")
				}
				if lost {
					task.Post(Command{Kind: LeaderLost})
					synctest.Wait()
					if len(r.reports.declines) != 1 {
						t.Errorf("%d declines", len(r.reports.declines))
					}
				}
				r.start(sub, 0, nil)
				synctest.Wait()
				if r.reports.ended() != 1 {
					t.Error("the end was not reached")
				}
				a := r.ackOf("sink", 1)
				if (a == nil) != lost {
					t.Fatalf("ack %v", a)
				}
				if a != nil && len(listOf(t, a, "sink")) != 100_000 {
					t.Errorf("%d records before the barrier", len(listOf(t, a, "sink")))
				}
				r.stop()
			})
		})
	}
}

func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f, log := newRig(t), &feed{}, &events{}
		src := r.source("src", 0, f)
		m := r.add("divide", transformKind, 0, mapLink(func(v int) int { return 10 / v }))
		r.from(m, src, forward, nil)
		r.sink("sink", m, forward, 0, nil, log)
		r.deploy(0, nil)
		f.put(0, 1, 2, 0, 3)
		r.running.Wait()
		task := r.task("src", 0)
		equal(t, "statuses", r.reports.of(task), "INITIALIZING", "RUNNING", "FAILED")
		st := r.reports.statuses[2]
		want := `operator "divide", subtask 0 of 1, source at record 4: panic: runtime error: integer divide by zero, at task_test.go:`
		if !strings.HasPrefix(st.Failure, want) || st.FailedUid != "divide" || st.Fatal {
			t.Errorf("failure %q of %q, fatal %t", st.Failure, st.FailedUid, st.Fatal)
		}
		_, stack, _ := strings.Cut(st.FailureDetail, "\n")
		if first, _, _ := strings.Cut(stack, "\n"); !strings.Contains(first, "TestPanic") {
			t.Errorf("the stack begins with %s", first)
		}
		var failure *Failure
		if !errors.As(r.results[task.o.Subtask], &failure) {
			t.Errorf("Run returned %v", r.results[task.o.Subtask])
		}
		if !slices.Contains(log.take(), "close") {
			t.Error("the sink was not closed")
		}
	})
}

// What the program links wrongly, no restart will mend.
func TestLinkFails(t *testing.T) {
	for name, c := range map[string]struct {
		fatal bool
		link  func(l *Linker) error
	}{
		"type": {true, func(l *Linker) error {
			In(l, operator.Receiver[string](operator.Discard[string]{}))
			return nil
		}},
		"undeclared state": {true, func(l *Linker) error {
			l.Setup(operator.KeyInfo{}).Sum("new")
			In(l, operator.Receiver[int](operator.Discard[int]{}))
			return nil
		}},
		"no file":    {false, func(*Linker) error { return errors.New("no such file") }},
		"not a head": {true, func(l *Linker) error { l.Setup(operator.KeyInfoOf(intKey)); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				src := r.source("src", 0, &feed{})
				bad := r.add("bad", sinkKind, 0, c.link)
				r.from(bad, src, forward, nil)
				r.deploy(0, nil)
				r.running.Wait()
				s := r.reports.statuses[1]
				if s.State != weirpb.SubtaskStatus_STATE_FAILED || !strings.Contains(s.Failure, `"bad"`) || s.Fatal != c.fatal {
					t.Errorf("status %v", s)
				}
			})
		})
	}
}

func TestPhases(t *testing.T) {
	for from := range follows {
		for next := initializing; next <= phaseFailed; next++ {
			p := phase(from)
			ok := func() (ok bool) {
				defer func() { ok = recover() == nil }()
				p.to(next)
				return true
			}()
			if ok != slices.Contains(follows[from], next) || ok && p != next {
				t.Errorf("%v → %v: %t", phase(from), next, ok)
			}
			if phase(from).over() && ok {
				t.Errorf("%v is over and goes on to %v", phase(from), next)
			}
		}
	}
}
