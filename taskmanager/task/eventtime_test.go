package task

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// stamps gives a record its value as its time, and stands at the greatest.
type stamps struct {
	mapped
	at, from int64
}

func (s *stamps) Receive(v int) {
	s.rt.Time, s.at = int64(v), max(s.at, int64(v))
	s.mapped.Receive(v)
}

func (s *stamps) Resume(at int64) { s.at, s.from = at, at }

func (s *stamps) Tick(_ time.Time, splits []operator.ActiveSplit, _ bool) operator.Tick {
	return operator.Tick{Watermark: s.at, Idle: len(splits) == 1 && splits[0].Waiting && s.at%10 == 7}
}

// alarm sets a timer at each record's time and emits the times of those that fire.
type alarm struct {
	cur  *operator.KeyCursor[int]
	out  *operator.Collector[int]
	rt   *operator.Runtime
	fire func(at int) // called by each timer, or nil
}

func (a *alarm) ReceiveKeyed(hash uint64, v int) {
	if a.cur.Set(hash, v) {
		a.cur.Ctx().TimerAtMillis(int64(v))
	}
}

func (a *alarm) onTimer(t table.Timer, d operator.TimeDomain) error {
	if err := a.cur.SetTimer(t, d); err != nil {
		return err
	}
	if a.fire != nil {
		a.fire(int(t.At))
	}
	if at := a.rt.Time; at != t.At || a.rt.Watermark < at {
		return fmt.Errorf("timer of %d at %d, watermark %d", t.At, at, a.rt.Watermark)
	}
	a.out.Emit(int(t.At))
	return nil
}

// alarmRig is sources → times → alarm by key → sink.
func alarmRig(t testing.TB, f *feed, sources int) (*rig, *alarm, *events) {
	r, log, a := newRig(t), &events{}, &alarm{}
	src := r.source("src", sources, f)
	stamped := r.add("times", transformKind, sources, func(l *Linker) error {
		s := &stamps{mapped: mapped{l.Runtime(), l.Number(), func(v int) int { return v }, Out[int](l)}}
		In(l, operator.Receiver[int](s))
		l.Lifecycle(s)
		return nil
	})
	r.from(stamped, src, forward, nil)
	info := operator.KeyInfoOf(intKey)
	op := r.add("alarm", transformKind, 1, func(l *Linker) error {
		s := l.Setup(info)
		s.Timers()
		s.EventTimers()
		l.OnTimer(a.onTimer)
		a.cur, a.out, a.rt = operator.NewKeyCursor(s, intKey, true), Out[int](l), l.Runtime()
		InKeyed(l, operator.KeyedReceiver[int](a))
		return nil
	})
	s := operator.PlanSetup("alarm", info)
	s.Timers()
	s.EventTimers()
	r.declare(op, s)
	e := keyedEdge(t, func(v int) int { return v })
	e.HasTimes = true
	r.from(op, stamped, hash, e)
	r.sink("sink", op, forward, 1, nil, log)
	return r, a, log
}

// A checkpoint falls between the timers of one watermark; after a restore those that are
// left fire, once, before any record.
func TestBarrierWhileTimersFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20 * timerSlice
		f := &feed{}
		r, a, _ := alarmRig(t, f, 1)
		begun := make(chan struct{})
		halfway := make(chan struct{})
		a.fire = func(at int) {
			if at == n/2 {
				close(begun)
				<-halfway
			}
		}
		r.deploy(0, nil)
		var want []int
		for i := range n {
			want = append(want, i+1)
		}
		f.put(0, want...)
		<-begun // the watermark has come, half of the timers have fired
		r.inject(1, stream.CheckpointBarrier)
		synctest.Wait()
		close(halfway)
		synctest.Wait()
		ack := r.ackOf("alarm", 1)
		if ack == nil {
			t.Fatal("no ack")
		}
		fired := listOf(t, ack, "sink")
		if len(fired) < n/2 || len(fired) > n/2+2*timerSlice {
			t.Errorf("%d of %d timers had fired when the barrier was let through, at %d", len(fired), n, n/2)
		}
		if at := ack.Operators[0].Subtasks[0].Watermark; at != n {
			t.Errorf("the snapshot is at watermark %d, want %d", at, n)
		}
		from := r.restoredFrom(1)
		r.stop()
		a.fire = nil
		r.deploy(1, from)
		f.put(0, 5) // late: it fires at the next watermark
		synctest.Wait()
		r.inject(2, stream.CheckpointBarrier)
		if got := listOf(t, r.ackOf("alarm", 2), "sink"); !slices.Equal(got, want) {
			t.Errorf("%d timers have fired, want %d, each once and in order", len(got), len(want))
		}
		f.put(0, n+3)
		time.Sleep(time.Second)
		synctest.Wait()
		r.inject(3, stream.CheckpointBarrier)
		equal(t, "after the next watermark", listOf(t, r.ackOf("alarm", 3), "sink")[n:], 5, n+3)
		r.stop()
	})
}

// The least of the sources counts; one that is idle does not; at the end all timers fire.
func TestWatermarksOfChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &feed{}
		r, _, _ := alarmRig(t, f, 2)
		r.deploy(0, nil)
		id := stream.CheckpointID(0)
		check := func(what string, watermark int64, want ...int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			id++
			r.inject(id, stream.CheckpointBarrier)
			ack := r.ackOf("alarm", id)
			equal(t, what, listOf(t, ack, "sink"), want...)
			if at := ack.Operators[0].Subtasks[0].Watermark; at != watermark {
				t.Errorf("%s: watermark %d, want %d", what, at, watermark)
			}
		}
		f.put(0, 10, 20, 30)
		check("one source has said nothing", math.MinInt64)
		f.put(1, 22, 12)
		check("the least", 22, 10, 12, 20, 22)
		f.put(1, 27) // idle, says stamps
		check("idle", 30, 10, 12, 20, 22, 27, 30)
		from := r.restoredFrom(id)
		r.stop()
		r.deploy(id, from)
		check("restored", 30, 10, 12, 20, 22, 27, 30)
		f.put(1, 28)
		f.put(0, 45)
		check("active, and behind", 45, 10, 12, 20, 22, 27, 30, 28, 45)
		f.put(0, 99)
		f.end()
		for r.reports.ended() < 2 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		id++
		r.inject(id, stream.TerminalBarrier)
		equal(t, "at the end", listOf(t, r.ackOf("alarm", id), "sink"), 10, 12, 20, 22, 27, 30, 28, 45, 99)
		r.stop()
	})
}

// A stopped job fires nothing more.
func TestStopBetweenTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4 * timerSlice
		f := &feed{}
		r, a, _ := alarmRig(t, f, 1)
		begun, more := make(chan struct{}), make(chan struct{})
		calls := 0
		a.fire = func(at int) {
			if calls++; at == 1 {
				close(begun)
				<-more
			}
		}
		r.deploy(0, nil)
		var want []int
		for i := range n {
			want = append(want, i+1)
		}
		f.put(0, want...)
		<-begun
		r.inject(1, stream.StopBarrier)
		close(more)
		time.Sleep(time.Second)
		synctest.Wait()
		fired := len(listOf(t, r.ackOf("alarm", 1), "sink"))
		if fired == n {
			t.Fatal("the barrier came behind all timers: nothing is shown")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if calls != fired {
			t.Errorf("%d timers have fired, %d of them before the barrier", calls, fired)
		}
		r.each(func(t *Task) { t.Post(Command{Kind: Abort, ID: 1}) }) // it goes on
		time.Sleep(time.Second)
		synctest.Wait()
		r.inject(2, stream.CheckpointBarrier)
		if got := listOf(t, r.ackOf("alarm", 2), "sink"); !slices.Equal(got, want) {
			t.Errorf("%d timers have fired, want %d", len(got), n)
		}
		r.stop()
	})
}
