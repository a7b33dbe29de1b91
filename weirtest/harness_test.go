package weirtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
	"github.com/weirstream/weir/stream"
)

type order struct {
	User  string
	Cents int64
}

// idle reports what a user has spent once there was no order for an hour.
type idle struct {
	total *weir.Value[int64]
	items *weir.List[int64]
	days  *weir.Map[string, int64]
	all   *weir.Sum
}

func newIdle(s *weir.Setup) *idle {
	return &idle{s.Value[int64]("total"), s.List[int64]("items"), s.Map[string, int64]("days"), s.Sum("all")}
}

func (f *idle) Process(c *weir.Ctx[string], o order, out *weir.Collector[string]) error {
	if o.Cents < 0 {
		return fmt.Errorf("negative order of %s", c.Key())
	}
	sum, _ := f.total.Get()
	f.total.Set(sum + o.Cents)
	f.items.Append(o.Cents)
	f.days.Set(c.ProcessingTime().Format(time.DateOnly), o.Cents)
	f.all.Add(uint64(o.Cents))
	c.ProcessingTimerAt(c.ProcessingTime().Add(time.Hour))
	return nil
}

func (f *idle) OnTimer(c *weir.Ctx[string], out *weir.Collector[string]) error {
	sum, _ := f.total.Get()
	out.Emit(fmt.Sprintf("%s %d in %d orders on %d days at %s", c.Key(), sum, f.items.Len(), f.days.Len(), c.ProcessingTime().UTC().Format("15:04")))
	f.total.Clear()
	f.items.Clear()
	return nil
}

func (f *idle) EndOfInput(out *weir.Collector[string]) error {
	out.Emit("end")
	return nil
}

func user(o order) string { return o.User }

// TestKeyed runs the same story with no failure, and with one after every step.
func TestKeyed(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			h := Keyed(t, newIdle, user)
			step := func() {
				if crash {
					h.Restore(h.Snapshot())
				}
			}
			h.Push(Start, order{"ann", 2000})
			step()
			h.Advance(30 * time.Minute)
			h.Push(Start, order{"bob", 1})
			step()
			h.Push(Start, order{"ann", 500})
			step()
			h.Advance(29 * time.Minute)
			if got := h.Output(); len(got) > 0 {
				t.Errorf("too early: %q", got)
			}
			h.Advance(25 * time.Hour)
			step()
			h.EndOfInput()
			step()
			h.EndOfInput()
			got := h.Output()
			slices.Sort(got[1 : len(got)-1]) // ann and bob have timers at the same time
			want := []string{
				"ann 2500 in 2 orders on 1 days at 01:00",
				"ann 0 in 0 orders on 1 days at 01:30", "bob 1 in 1 orders on 1 days at 01:30", "end",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if got := h.Results()["all"]; got != uint64(2501) {
				t.Errorf("result %v", got)
			}
		})
	}
}

func TestRestoreForgetsWhatCameAfter(t *testing.T) {
	h := Keyed(t, newIdle, user)
	h.Push(Start, order{"ann", 1})
	s := h.Snapshot()
	h.Push(Start, order{"ann", 10})
	h.Push(Start, order{"bob", 10})
	h.Restore(s)
	h.Push(Start, order{"ann", 100})
	h.Advance(time.Hour)
	if d := cmp.Diff([]string{"ann 101 in 2 orders on 1 days at 01:00"}, h.Output()); d != "" {
		t.Error(d)
	}
}

func TestTryPush(t *testing.T) {
	h := Keyed(t, newIdle, user)
	if err := h.TryPush(Start, order{"ann", -1}); err == nil || err.Error() != "negative order of ann" {
		t.Errorf("error %v", err)
	}
}

// pairs emits records two at a time; what is left waits in a split list.
type pairs struct {
	list *weir.OperatorList[int]
	wait []int
}

func newPairs(s *weir.Setup) *pairs { return &pairs{list: s.SplitList[int]("waiting")} }

func (p *pairs) Open() error { p.wait = slices.Clone(p.list.Get()); return nil }

func (p *pairs) Snapshot(stream.CheckpointID) error { p.list.Set(slices.Clone(p.wait)); return nil }

func (p *pairs) Process(v int, out *weir.Collector[[2]int]) error {
	if p.wait = append(p.wait, v); len(p.wait) == 2 {
		out.Emit([2]int(p.wait))
		p.wait = nil
	}
	return nil
}

func TestStream(t *testing.T) {
	h := Stream(t, newPairs)
	h.Push(Start, 1)
	h.Restore(h.Snapshot())
	h.Push(Start, 2)
	h.Restore(h.Snapshot())
	h.Push(Start, 3)
	h.Push(Start, 4)
	if d := cmp.Diff([][2]int{{1, 2}, {3, 4}}, h.Output()); d != "" {
		t.Error(d)
	}
}

// shelf publishes at commits what was written before the snapshot.
type shelf struct{ published *[]string }

func (s shelf) NewWriter(setup *weir.Setup) (weir.Writer[string], error) {
	return &shelfWriter{shelf: s, pending: setup.SplitList[string]("pending")}, nil
}

type shelfWriter struct {
	shelf
	pending *weir.OperatorList[string]
	fresh   []string
}

func (w *shelfWriter) Write(v string) error { w.fresh = append(w.fresh, v); return nil }

func (w *shelfWriter) Prepare(stream.CheckpointID) error {
	w.pending.Append(w.fresh...)
	w.fresh = nil
	return nil
}

func (w *shelfWriter) Commit(stream.CheckpointID) error {
	*w.published = append(*w.published, w.pending.Get()...)
	w.pending.Set(nil)
	return nil
}

func TestSink(t *testing.T) {
	var published []string
	h := Sink[string](t, shelf{&published})
	h.Push(Start, "a")
	s := h.Snapshot()
	h.Push(Start, "lost")
	h.Restore(s) // commits a
	h.Push(Start, "b")
	s = h.Snapshot()
	h.Complete(s)
	h.Complete(s)
	if d := cmp.Diff([]string{"a", "b"}, published); d != "" {
		t.Error(d)
	}
}

// TestRestoreAtOtherParallelism: keys, timers, lists, results and the end of input go on
// whatever the number of subtasks.
func TestRestoreAtOtherParallelism(t *testing.T) {
	users := []string{"ann", "bob", "cleo", "dan", "eve", "fay", "gus", "hal"}
	h := Keyed(t, newIdle, user)
	for _, n := range []int{1, 3, 2, 5} {
		h.RestoreAt(n, h.Snapshot())
		for _, u := range users {
			h.Push(Start, order{u, 1})
		}
	}
	h.RestoreAt(4, h.Snapshot())
	h.Advance(time.Hour)
	h.RestoreAt(2, h.Snapshot())
	h.EndOfInput()
	got := h.Output()
	slices.Sort(got)
	var want []string
	for _, u := range users {
		want = append(want, u+" 4 in 4 orders on 1 days at 01:00")
	}
	want = append(want, "end", "end") // once in each subtask
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := h.Results()["all"]; got != uint64(4*len(users)) {
		t.Errorf("result %v", got)
	}
	h.Restore(h.Snapshot())
	if h.EndOfInput(); len(h.Output()) > 0 {
		t.Error("the end of input came twice")
	}
}

// TestSinkOverRestores: a file sink gives each start names of its own.
func TestSinkOverRestores(t *testing.T) {
	dir := t.TempDir()
	h := Sink(t, file.LineSink(dir))
	var want []string
	for i, n := range []int{1, 3, 1, 2, 2} {
		line := fmt.Sprint("line", i)
		h.Push(Start, line)
		want = append(want, line)
		s := h.Snapshot()
		h.Push(Start, "lost")
		h.RestoreAt(n, s)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Fields(string(b))...)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// spentV1 and spent are two versions of an operator: the second keeps more of each user.
type (
	spentV1State struct{ Cents int32 }
	spentState   struct {
		Total int64 `weir:"was=Cents"`
		Last  string
	}
	spentV1 struct {
		sum  *weir.Value[spentV1State]
		seen *weir.OperatorList[spentV1State]
	}
	spent struct {
		sum  *weir.Value[spentState]
		seen *weir.OperatorList[spentState]
	}
)

func newSpentV1(s *weir.Setup) *spentV1 {
	return &spentV1{s.Value[spentV1State]("sum"), s.SplitList[spentV1State]("seen")}
}

func (p *spentV1) Process(_ *weir.Ctx[string], o order, _ *weir.Collector[string]) error {
	s, _ := p.sum.Get()
	s.Cents += int32(o.Cents)
	p.sum.Set(s)
	p.seen.Append(spentV1State{int32(o.Cents)})
	return nil
}

func newSpent(s *weir.Setup) *spent {
	return &spent{s.Value[spentState]("sum"), s.SplitList[spentState]("seen")}
}

func (p *spent) Process(c *weir.Ctx[string], o order, out *weir.Collector[string]) error {
	s, _ := p.sum.Get()
	s.Total += o.Cents
	out.Emit(fmt.Sprintf("%s %d, last %q, %d seen", c.Key(), s.Total, s.Last, len(p.seen.Get())))
	s.Last = fmt.Sprint(o.Cents)
	p.sum.Set(s)
	return nil
}

// TestUpgradedOperator: a snapshot of the old version starts the new one.
func TestUpgradedOperator(t *testing.T) {
	old := Keyed(t, newSpentV1, user)
	for _, u := range []string{"ann", "bob", "ann"} {
		old.Push(Start, order{u, 5})
	}
	h := Keyed(t, newSpent, user)
	h.Restore(old.Snapshot())
	h.Push(Start, order{"ann", 1})
	h.RestoreAt(2, h.Snapshot()) // bob's is still as it was
	h.Push(Start, order{"bob", 1})
	h.Push(Start, order{"ann", 2})
	want := []string{`ann 11, last "", 3 seen`, `bob 6, last "", `, `ann 13, last "1", `}
	got := h.Output()
	for i := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}
