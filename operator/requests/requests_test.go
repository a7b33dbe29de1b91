package requests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// desk is an operator without a subtask, whose requests end when the test says so.
type desk struct {
	*Requests[int, string]
	rt    *operator.Runtime
	list  *operator.OperatorList[operator.Request[int]]
	out   []string // results, times and what was passed
	woken int

	mu       sync.Mutex
	answers  map[int]chan error
	asked    []int
	underWay int
	most     int
}

func newDesk(t *testing.T, a operator.Asking, restored ...operator.Request[int]) *desk {
	d := &desk{answers: map[int]chan error{}, rt: &operator.Runtime{Context: t.Context(), Time: operator.NoTime}}
	d.list = operator.PlanSetup("ask", operator.KeyInfo{}).Requests[int]()
	d.list.Set(restored)
	d.Requests = New(Options[int, string]{
		Asking: a, Runtime: d.rt, State: d.list, One: d.one,
		Emit:   func(s string) { d.out = append(d.out, fmt.Sprintf("%s@%d", s, d.rt.Time)) },
		Failed: func(v int, err error) { d.out = append(d.out, fmt.Sprintf("%d failed: %v", v, err)) },
		Wake:   func() { d.mu.Lock(); d.woken++; d.mu.Unlock() },
		Pass: func(e stream.Event) {
			text := "idle"
			if e.Kind == stream.WatermarkEvent {
				text = fmt.Sprintf("w%d", e.Time)
			}
			d.out = append(d.out, text)
		},
	})
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) answer(v int) chan error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answers[v] == nil {
		d.answers[v] = make(chan error)
	}
	return d.answers[v]
}

func (d *desk) one(ctx context.Context, v int) (string, error) {
	d.mu.Lock()
	d.asked = append(d.asked, v)
	d.underWay++
	d.most = max(d.most, d.underWay)
	d.mu.Unlock()
	defer func() { d.mu.Lock(); d.underWay--; d.mu.Unlock() }()
	select {
	case err := <-d.answer(v):
		return fmt.Sprint("r", v), err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// do carries out steps: "5" is a record of that value and time, "w5" a watermark, "idle",
// "+5" its answer, "-5" its failure; the loop looks after each.
func (d *desk) do(t *testing.T, steps string) {
	t.Helper()
	for _, s := range strings.Fields(steps) {
		var n int
		if s != "idle" {
			if _, err := fmt.Sscan(strings.TrimLeft(s, "w+-"), &n); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case s == "idle":
			d.Hold(stream.Event{Kind: stream.IdleEvent})
		case s[0] == 'w':
			d.Hold(stream.Event{Kind: stream.WatermarkEvent, Time: int64(n)})
		case s[0] == '+':
			d.answer(n) <- nil
		case s[0] == '-':
			d.answer(n) <- errors.New("no")
		default:
			d.rt.Time = int64(n)
			d.Receive(n)
		}
		d.look()
	}
}

func (d *desk) look() {
	synctest.Wait()
	for d.Advance() {
	}
	d.rt.Attention.Store(false)
}

// TestOrder: what leaves, and when, by what comes.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name, steps, ordered, unordered string
	}{
		{"as they come", "1 2 3 +2 +1 +3", "r1@1 r2@2 r3@3", "r2@2 r1@1 r3@3"},
		{"not across a watermark", "1 w1 2 +2 +1", "r1@1 w1 r2@2", "r1@1 w1 r2@2"},
		{"within it", "1 2 w2 3 4 +4 +2 +3 +1", "r1@1 r2@2 w2 r3@3 r4@4", "r2@2 r1@1 w2 r3@3 r4@4"},
		{"behind it too", "1 w1 2 3 +1 +3 +2", "r1@1 w1 r2@2 r3@3", "r1@1 w1 r3@3 r2@2"},
		{"nothing waits", "w1 idle w2 1 +1 w3", "w1 idle w2 r1@1 w3", "w1 idle w2 r1@1 w3"},
		{"watermarks in a row are one", "1 w1 w2 idle w3 +1", "r1@1 w2 idle w3", "r1@1 w2 idle w3"},
		{"a failure", "1 2 -2 +1", "r1@1 2 failed: no", "2 failed: no r1@1"},
	} {
		for _, ordered := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, operator.Asking{Ordered: ordered, Capacity: 10, Attempts: 1})
				d.do(t, c.steps)
				want := c.unordered
				if ordered {
					want = c.ordered
				}
				if got := strings.Join(d.out, " "); got != want {
					t.Errorf("%s, ordered %v:\n got %s\nwant %s", c.name, ordered, got, want)
				}
				if d.Pending() {
					t.Errorf("%s: something is left", c.name)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestCapacity: no more requests than that are under way, however many records there
// are, and then the loop is told.
func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, operator.Asking{Capacity: 2, Attempts: 1})
		d.Receive(1)
		if !d.Room() || d.rt.Attention.Load() {
			t.Error("no room for a second")
		}
		d.Receive(2)
		if d.Room() || !d.rt.Attention.Load() {
			t.Error("room for a third")
		}
		d.do(t, "3 w3 4 +1 +2 +3 +4")
		if d.most != 2 || d.Pending() || len(d.out) != 5 {
			t.Errorf("%d at once, out %q", d.most, d.out)
		}
		if d.woken == 0 {
			t.Error("nobody was woken")
		}
	})
}

// TestRetries: repeated with growing pauses, within the timeout.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		ask  operator.Asking
		want string
		n    int
		took time.Duration
	}{
		{operator.Asking{Capacity: 1, Attempts: 1}, "1 failed: no", 1, 0},
		{operator.Asking{Capacity: 1, Attempts: 4, Backoff: time.Second, MaxBackoff: 2 * time.Second}, "1 failed: after 4 attempts: no", 4, 5 * time.Second},
		{operator.Asking{Capacity: 1, Attempts: 9, Backoff: time.Second, MaxBackoff: time.Hour, Timeout: 10 * time.Second}, "1 failed: after 4 attempts: the request took longer than 10s: no", 4, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, c.ask)
			d.o.One = func(context.Context, int) (string, error) {
				d.asked = append(d.asked, 1)
				return "", errors.New("no")
			}
			begun := time.Now()
			d.Receive(1)
			d.asking.Wait()
			d.look()
			if got := strings.Join(d.out, " "); got != c.want || len(d.asked) != c.n || time.Since(begun) != c.took {
				t.Errorf("%q after %d requests and %v, want %q, %d and %v", got, len(d.asked), time.Since(begun), c.want, c.n, c.took)
			}
		})
	}
}

// TestTimeoutAndPanic: a request that hangs, and one that panics, have failed.
func TestTimeoutAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, operator.Asking{Capacity: 1, Attempts: 3, Timeout: time.Second})
		d.Receive(1)
		d.asking.Wait()
		d.look()
		d.o.One = nil
		d.o.Many = func(_ context.Context, v int) ([]string, error) {
			if v == 3 {
				panic("three")
			}
			return []string{"a", "b"}, nil
		}
		d.o.Attempts = 1
		d.do(t, "2 3")
		want := "1 failed: the request took longer than 1s: context deadline exceeded a@2 b@2 3 failed: panic: three"
		if got := strings.Join(d.out, " "); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	})
}

// TestSnapshot: what waits is asked about again, and nothing else.
func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, operator.Asking{Capacity: 2, Ordered: true, Attempts: 1})
		d.do(t, "1 2 w2 3 +2")
		if err := d.Snapshot(1); err != nil {
			t.Fatal(err)
		}
		kept := d.list.Get()
		if want := []operator.Request[int]{{Record: 1, Time: 1}, {Record: 2, Time: 2}, {Record: 3, Time: 3}}; !slices.Equal(kept, want) {
			t.Fatalf("%v, want %v", kept, want)
		}
		d.do(t, "+1 +3")
		if len(d.out) != 4 {
			t.Errorf("after the snapshot: %q", d.out)
		}
		e := newDesk(t, operator.Asking{Capacity: 2, Ordered: true, Attempts: 1}, kept...)
		e.do(t, "4 w4 +1 +2 +3 +4")
		if got := strings.Join(e.out, " "); got != "r1@1 r2@2 r3@3 r4@4 w4" {
			t.Errorf("after the restore: %s", got)
		}
	})
}

// TestClose: requests under way are ended, and their results go nowhere.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, operator.Asking{Capacity: 2, Attempts: 5, Backoff: time.Hour})
		d.do(t, "1 2 -1")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d.look()
		if len(d.out) != 0 {
			t.Errorf("%q", d.out)
		}
	})
}

// TestRandom: each record's result leaves once; with watermarks between, none leaves
// on another side of one than its record came.
func TestRandom(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			d := newDesk(t, operator.Asking{Capacity: 1 + r.IntN(8), Ordered: seed%2 == 0, Attempts: 1})
			open, side, mark := map[int]bool{}, map[int]int{}, 0
			for n := 1; n <= 200 || len(open) > 0; n++ {
				switch d.mu.Lock(); {
				case n <= 200 && r.IntN(10) == 0:
					d.mu.Unlock()
					d.do(t, fmt.Sprint("w", n))
					mark = n
				case n <= 200 && r.IntN(2) == 0:
					d.mu.Unlock()
					d.do(t, fmt.Sprint(n))
					open[n], side[n] = true, mark
				default:
					asked := slices.DeleteFunc(slices.Clone(d.asked), func(v int) bool { return !open[v] })
					d.mu.Unlock()
					if len(asked) > 0 {
						v := asked[r.IntN(len(asked))]
						d.do(t, fmt.Sprint("+", v))
						delete(open, v)
					}
				}
			}
			last, passed := 0, 0
			for _, s := range d.out {
				var v int
				if _, err := fmt.Sscanf(s, "w%d", &v); err == nil {
					passed = v
					continue
				}
				if _, err := fmt.Sscanf(s, "r%d@", &v); err != nil {
					t.Fatal(err)
				}
				// Watermarks with no record between them are one: the latest.
				if before, ok := side[v]; !ok || before > passed || v < passed {
					t.Fatalf("seed %d: the result of %d, which came behind watermark %d, left behind %d: %q", seed, v, before, passed, d.out)
				}
				if delete(side, v); seed%2 == 0 && v < last {
					t.Fatalf("seed %d: %d after %d", seed, v, last)
				}
				last = v
			}
			if len(side) != 0 || d.Pending() {
				t.Errorf("seed %d: left %v", seed, slices.Collect(maps.Keys(side)))
			}
		})
	}
}
