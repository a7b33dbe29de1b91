package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is what a loop handled, in order.
type record struct {
	sync.Mutex
	events []string
}

func (r *record) add(e string) {
	r.Lock()
	defer r.Unlock()
	r.events = append(r.events, e)
}

func (r *record) expect(t *testing.T, want ...string) {
	t.Helper()
	r.Lock()
	defer r.Unlock()
	if !slices.Equal(r.events, want) {
		t.Errorf("got %q, want %q", r.events, want)
	}
}

// start runs a loop that records what it handles.
func start(t *testing.T, o Options[string]) (*Loop[string], *record) {
	t.Helper()
	l, handled := New(o), &record{}
	go l.Run(t.Context(), handled.add)
	return l, handled
}

func TestOrderOfEachSender(t *testing.T) {
	const senders, each = 8, 2000 // more than the 1,024 after which the queue is moved
	l := New(Options[[2]int]{})
	next := [senders]int{}
	seen := 0
	go l.Run(t.Context(), func(e [2]int) {
		if e[1] != next[e[0]] {
			t.Errorf("sender %d: event %d, want %d", e[0], e[1], next[e[0]])
		}
		next[e[0]]++
		if seen++; seen == senders*each {
			l.Close()
		}
	})
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				if err := l.Post([2]int{s, i}); err != nil {
					t.Errorf("post: %v", err)
				}
			}
		})
	}
	wg.Wait()
	<-l.Done()
	if seen != senders*each {
		t.Errorf("handled %d events, want %d", seen, senders*each)
	}
}

func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		l := New(Options[int]{Capacity: 2})
		go l.Run(t.Context(), func(int) { <-gate })
		if err := l.Post(0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // 0 is being handled, the mailbox is empty
		for i, want := range []error{nil, nil, ErrFull} {
			if err := l.Post(i); !errors.Is(err, want) {
				t.Errorf("post %d: %v, want %v", i, err, want)
			}
		}
		l.Go("asked for", func(context.Context) int { return 9 })
		synctest.Wait()
		if s := l.Stats(); s.Waiting != 3 || s.Refused != 1 {
			t.Errorf("%d waiting, %d refused; want 3 (a result always finds room) and 1", s.Waiting, s.Refused)
		}
		close(gate)
		synctest.Wait()
		if s := l.Stats(); s.Handled != 4 {
			t.Errorf("handled %d, want 4", s.Handled)
		}
		l.Stop()
	})
}

func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, handled := start(t, Options[string]{})
		l.After(2*time.Second, "two")
		l.After(time.Second, "one")
		never := l.After(time.Second, "stopped")
		never.Stop()
		never.Stop()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		handled.expect(t, "one")
		time.Sleep(time.Second)
		synctest.Wait()
		handled.expect(t, "one", "two")
		l.After(time.Second, "late")
		l.Stop()
		time.Sleep(2 * time.Second)
		handled.expect(t, "one", "two")
		l.After(time.Second, "later").Stop() // on a closed loop: harmless
	})
}

// A timer whose event already waits in the mailbox is still stopped by its owner.
func TestStopOfFiredTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := &record{}
		var timer *Timer
		l := New(Options[string]{})
		go l.Run(t.Context(), func(e string) {
			handled.add(e)
			if e == "first" {
				time.Sleep(2 * time.Second) // the timer fires meanwhile
				if w := l.Stats().Waiting; w != 1 {
					t.Errorf("%d events wait, want the timer's", w)
				}
				timer.Stop()
			}
		})
		timer = l.After(time.Second, "timer")
		if err := l.Post("first"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		handled.expect(t, "first")
		l.Stop()
	})
}

func TestGoReturnsAsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, handled := start(t, Options[string]{})
		l.Go("upload", func(context.Context) string { time.Sleep(time.Second); return "uploaded" })
		l.Go("upload", func(context.Context) string { time.Sleep(2 * time.Second); return "again" })
		synctest.Wait()
		if n := l.Stats().Goroutines["upload"]; n != 2 {
			t.Errorf("%d uploads run, want 2", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		handled.expect(t, "uploaded", "again")
		if g := l.Stats().Goroutines; len(g) != 0 {
			t.Errorf("still counted: %v", g)
		}
		l.Stop()
	})
}

// Stop cancels running work, waits for it, and hands everything unhandled to Drop.
func TestStopDropsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := &record{}
		returned := false
		gate := make(chan struct{})
		l := New(Options[string]{Drop: dropped.add})
		go l.Run(t.Context(), func(string) { <-gate })
		for _, e := range []string{"handled", "command"} {
			if err := l.Post(e); err != nil {
				t.Fatal(err)
			}
		}
		l.Go("rpc", func(ctx context.Context) string {
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return "result of rpc"
		})
		synctest.Wait()
		go func() { time.Sleep(100 * time.Millisecond); close(gate) }()
		l.Stop()
		if !returned {
			t.Error("Stop returned before the goroutine did")
		}
		dropped.expect(t, "command", "result of rpc")
		if err := l.Post("x"); !errors.Is(err, ErrClosed) {
			t.Errorf("post after Stop: %v", err)
		}
		if l.Go("x", func(context.Context) string { t.Error("ran"); return "" }) {
			t.Error("Go after Stop was accepted")
		}
		l.Stop()
	})
}

func TestCloseByOwnerAndByContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := New(Options[int]{})
		for i := range 3 {
			_ = l.Post(i)
		}
		go l.Run(t.Context(), func(int) { n++; l.Close() })
		<-l.Done()
		if n != 1 {
			t.Errorf("handled %d events, want none after the one that closed", n)
		}

		ctx, cancel := context.WithCancel(t.Context())
		l = New(Options[int]{})
		go l.Run(ctx, func(int) {})
		cancel()
		<-l.Done()

		l = New(Options[int]{}) // closed before it runs
		l.Close()
		l.Run(t.Context(), func(int) { t.Error("handled") })
		<-l.Done()
	})
}

func TestSaturation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options[time.Duration]{})
		go l.Run(t.Context(), func(d time.Duration) { time.Sleep(d) })
		got := &record{}
		for _, busy := range []time.Duration{0, meterWindow / 4, 3 * meterWindow / 4, meterWindow} {
			if err := l.Post(busy); err != nil {
				t.Fatal(err)
			}
			time.Sleep(meterWindow)
			synctest.Wait()
			got.add(fmt.Sprintf("%.2f", l.Stats().Saturation))
		}
		got.expect(t, "0.00", "0.25", "0.75", "1.00")
		l.Stop()
	})
}

// A hand-turned clock, as a simulator would give.
type turned struct {
	now     time.Time
	pending []func()
}

func (c *turned) Now() time.Time { return c.now }
func (c *turned) AfterFunc(_ time.Duration, f func()) func() bool {
	c.pending = append(c.pending, f)
	return func() bool { return true }
}

func TestOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &turned{now: time.Unix(7, 0)}
		l, handled := start(t, Options[string]{Clock: c})
		l.After(time.Hour, "tick")
		if !l.Now().Equal(c.now) {
			t.Errorf("now %v, want %v", l.Now(), c.now)
		}
		go c.pending[0]()
		synctest.Wait()
		handled.expect(t, "tick")
		l.Stop()
	})
}
