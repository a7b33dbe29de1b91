package joining_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/operator/joining"
	"github.com/weirstream/weir/weirtest"
)

const ms = time.Millisecond

// rec is a record with a value of no fixed width; num one of a fixed width.
type rec struct {
	Key  int
	At   int64
	Name string
}

type num struct {
	Key int
	At  int64
	N   int64
}

type either = weirtest.Either[rec, num]

// step is a record or a watermark.
type step struct {
	either
	watermark *int64
}

func (s step) String() string {
	switch {
	case s.watermark != nil:
		return fmt.Sprint("watermark ", *s.watermark)
	case s.IsRight:
		return fmt.Sprint("right ", s.Right)
	}
	return fmt.Sprint("left ", s.Left)
}

// steps are random: records of both streams around a time that moves on, from before 1970,
// some of them late, and watermarks behind it.
func steps(seed uint64, n, keys int) (all []step) {
	r := rand.New(rand.NewPCG(seed, 2))
	now, watermark := int64(-300), int64(-400)
	for i := range n {
		if r.IntN(7) == 0 {
			watermark = max(watermark, now-int64(r.IntN(60)))
			at := watermark
			all = append(all, step{watermark: &at})
			continue
		}
		now += int64(r.IntN(9))
		at := now - int64(r.IntN(40))
		if r.IntN(12) == 0 {
			at -= int64(r.IntN(150))
		}
		if r.IntN(2) == 0 {
			all = append(all, step{either: weirtest.Left[num](rec{r.IntN(keys), at, fmt.Sprint("r", i)})})
		} else {
			all = append(all, step{either: weirtest.Right[rec](num{r.IntN(keys), at, int64(i)})})
		}
	}
	return all
}

// line is a result, with the event time that it has.
func line(s *weir.Setup) func(l rec, r num, met bool) string {
	return func(l rec, r num, met bool) string { return text(s.Runtime().Time, l, r, met) }
}

func text(at int64, l rec, r num, met bool) string {
	if !met {
		return fmt.Sprintf("%d: %v alone", at, l)
	}
	return fmt.Sprintf("%d: %v %v", at, l, r)
}

// model is the joins by their definition. It forgets nothing.
type model interface {
	left(l rec) []string
	right(r num) []string
	advance(at int64) []string
}

type intervalModel struct {
	low, high int64
	outer     bool
	watermark int64
	lefts     []*leftModel
	rights    []num
	late      int
}

type leftModel struct {
	rec
	done bool // it has met one, or been emitted alone
}

func (m *intervalModel) meets(l rec, r num) bool {
	return l.Key == r.Key && r.At-l.At >= m.low && r.At-l.At <= m.high
}

func (m *intervalModel) left(l rec) (out []string) {
	if l.At <= m.watermark {
		m.late++
		return nil
	}
	kept := &leftModel{rec: l}
	for _, r := range m.rights {
		if m.meets(l, r) {
			kept.done = true
			out = append(out, text(max(l.At, r.At), l, r, true))
		}
	}
	m.lefts = append(m.lefts, kept)
	return append(out, m.alone()...)
}

func (m *intervalModel) right(r num) (out []string) {
	if r.At <= m.watermark {
		m.late++
		return nil
	}
	for _, l := range m.lefts {
		if m.meets(l.rec, r) {
			l.done = true
			out = append(out, text(max(l.At, r.At), l.rec, r, true))
		}
	}
	m.rights = append(m.rights, r)
	return out
}

func (m *intervalModel) advance(at int64) []string {
	m.watermark = max(m.watermark, at)
	return m.alone()
}

func (m *intervalModel) alone() (out []string) {
	for _, l := range m.lefts {
		if m.outer && !l.done && l.At+m.high <= m.watermark {
			l.done = true
			out = append(out, text(max(l.At, l.At+m.high), l.rec, num{}, false))
		}
	}
	return out
}

type temporalModel struct {
	outer     bool
	watermark int64
	waiting   []rec
	versions  []num // in the order in which they came
	late      int
}

func (m *temporalModel) left(l rec) []string {
	if l.At <= m.watermark {
		m.late++
		return nil
	}
	m.waiting = append(m.waiting, l)
	return nil
}

func (m *temporalModel) right(r num) []string {
	m.versions = append(m.versions, r)
	return nil
}

func (m *temporalModel) advance(at int64) (out []string) {
	m.watermark = max(m.watermark, at)
	m.waiting = slices.DeleteFunc(m.waiting, func(l rec) bool {
		if l.At > m.watermark {
			return false
		}
		var valid num
		met := false
		for _, v := range m.versions {
			if v.Key == l.Key && v.At <= l.At && (!met || v.At >= valid.At) {
				valid, met = v, true
			}
		}
		if met || m.outer {
			out = append(out, text(l.At, l, valid, met))
		}
		return true
	})
	return out
}

func modelOutput(m model, all []step) (want [][]string) {
	note := func(out []string) {
		slices.Sort(out)
		want = append(want, out)
	}
	for _, s := range all {
		switch {
		case s.watermark != nil:
			note(m.advance(*s.watermark))
		case s.IsRight:
			note(m.right(s.Right))
		default:
			note(m.left(s.Left))
		}
	}
	note(m.advance(math.MaxInt64 / 2))
	return want
}

type harness = weirtest.Harness[either, string]

// disturbances happen to an operator after each step.
var disturbances = map[string]func(h *harness, step int){
	"undisturbed": func(*harness, int) {},
	"restored":    func(h *harness, _ int) { h.Restore(h.Snapshot()) },
	"rescaled":    func(h *harness, step int) { h.RestoreAt(1+step*7%4, h.Snapshot()) },
}

type processor = interface {
	weir.CoProcessor[int, rec, num, string]
	OnTimer(c *weir.Ctx[int], out *weir.Collector[string]) error
}

// run compares what each step emits with what the model says, however the operator is
// disturbed, and that nothing is left in the end but kept entries of state.
func run(t *testing.T, factory func(*weir.Setup) processor, all []step, want [][]string, kept string) {
	for how, disturb := range disturbances {
		t.Run(how, func(t *testing.T) {
			h := weirtest.Connected(t, factory, func(r rec) int { return r.Key }, func(n num) int { return n.Key })
			check := func(i int, what any) {
				got := h.Output()
				slices.Sort(got)
				if !slices.Equal(got, want[i]) {
					t.Fatalf("step %d (%v):\n got %q\nwant %q", i, what, got, want[i])
				}
			}
			for i, s := range all {
				switch {
				case s.watermark != nil:
					h.Watermark(time.UnixMilli(*s.watermark))
				case s.IsRight:
					h.Push(time.UnixMilli(s.Right.At), s.either)
				default:
					h.Push(time.UnixMilli(s.Left.At), s.either)
				}
				check(i, s)
				disturb(h, i)
			}
			h.EndOfInput()
			check(len(all), "the end")
			if s := h.Snapshot().String(); kept != "" && !containsSuffix(s, ": "+kept+" entries of keyed state") {
				t.Errorf("state is left: %s, want %s entries", s, kept)
			}
		})
	}
}

func containsSuffix(s, end string) bool { return len(s) >= len(end) && s[len(s)-len(end):] == end }

// TestIntervalModel compares interval joins, through restores and rescales after each step,
// with their definition. That what is kept goes when it can meet nothing is seen at the end.
func TestIntervalModel(t *testing.T) {
	for name, b := range map[string][2]time.Duration{
		"around": {-20 * ms, 20 * ms}, "after": {5 * ms, 90 * ms}, "before": {-70 * ms, -10 * ms}, "near": {-ms, ms}, "wide": {-300 * ms, 200 * ms},
	} {
		bounds, err := joining.NewBounds(b[0], b[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, outer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/outer=%v", name, outer), func(t *testing.T) {
				all := steps(uint64(len(name)), 250, 3)
				m := &intervalModel{low: bounds.Low, high: bounds.High, outer: outer, watermark: math.MinInt64}
				want := modelOutput(m, all)
				if m.late == 0 || len(slices.Concat(want...)) < 3 {
					t.Fatalf("%d late records, %d results", m.late, len(slices.Concat(want...)))
				}
				run(t, func(s *weir.Setup) processor {
					return joining.NewInterval[int](s, bounds, outer, line(s), nil)
				}, all, want, "0")
			})
		}
	}
}

// TestTemporalModel is TestIntervalModel for joins with versions, none of which comes late.
func TestTemporalModel(t *testing.T) {
	for _, outer := range []bool{false, true} {
		t.Run(fmt.Sprintf("outer=%v", outer), func(t *testing.T) {
			const keys = 3
			watermark := int64(math.MinInt64)
			all := slices.DeleteFunc(steps(11, 300, keys), func(s step) bool {
				if s.watermark != nil {
					watermark = *s.watermark
				}
				return s.IsRight && s.Right.At <= watermark
			})
			m := &temporalModel{outer: outer, watermark: math.MinInt64}
			want := modelOutput(m, all)
			if m.late == 0 || len(slices.Concat(want...)) < 50 {
				t.Fatalf("%d late records, %d results", m.late, len(slices.Concat(want...)))
			}
			run(t, func(s *weir.Setup) processor {
				return joining.NewTemporal[int](s, outer, line(s), nil)
			}, all, want, fmt.Sprint(keys)) // the newest version of each key
		})
	}
}

// TestEndsOfTime: times at the ends of int64 meet as others do.
func TestEndsOfTime(t *testing.T) {
	bounds, err := joining.NewBounds(math.MinInt64/1_000_000*ms, math.MaxInt64/1_000_000*ms) // as long as can be
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []joining.Bounds{{}, bounds} {
		h := weirtest.Connected(t, func(s *weir.Setup) processor {
			return joining.NewInterval[int](s, b, true, line(s), nil)
		}, func(r rec) int { return r.Key }, func(n num) int { return n.Key })
		for i, at := range []int64{math.MinInt64 + 1, 0, math.MaxInt64} {
			h.Push(time.UnixMilli(at), weirtest.Left[num](rec{1, at, fmt.Sprint(i)}))
			h.Restore(h.Snapshot())
			h.Push(time.UnixMilli(at), weirtest.Right[rec](num{1, at, int64(i)}))
			h.Restore(h.Snapshot())
		}
		h.EndOfInput()
		if got := h.Output(); len(got) != 3 || strings.Contains(strings.Join(got, " "), "alone") {
			t.Errorf("%v: results %q", b, got)
		}
	}
}

// TestLateVersions: a version that comes late is valid for what comes after it, unless a newer
// one is.
func TestLateVersions(t *testing.T) {
	for how, disturb := range disturbances {
		h := weirtest.Connected(t, func(s *weir.Setup) processor {
			return joining.NewTemporal[int](s, false, line(s), nil)
		}, func(r rec) int { return r.Key }, func(n num) int { return n.Key })
		version := func(at, n int64) { h.Push(time.UnixMilli(at), weirtest.Right[rec](num{1, at, n})) }
		for i, do := range []func(){
			func() { version(10, 1) },
			func() { version(20, 2) },
			func() { h.Watermark(time.UnixMilli(30)) },
			func() { version(15, 3) }, // older than the current one
			func() { h.Push(time.UnixMilli(40), weirtest.Left[num](rec{1, 40, "a"})) },
			func() { h.Watermark(time.UnixMilli(40)) },
			func() { version(25, 4) }, // newer
			func() { h.Push(time.UnixMilli(50), weirtest.Left[num](rec{1, 50, "b"})) },
			func() { h.Watermark(time.UnixMilli(50)) },
		} {
			do()
			disturb(h, i)
		}
		want := []string{
			text(40, rec{1, 40, "a"}, num{1, 20, 2}, true),
			text(50, rec{1, 50, "b"}, num{1, 25, 4}, true),
		}
		if got := h.Output(); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", how, got, want)
		}
	}
}

// TestNoTime: a record without event time is refused.
func TestNoTime(t *testing.T) {
	h := weirtest.Connected(t, func(s *weir.Setup) processor {
		return joining.NewInterval[int](s, joining.Bounds{}, false, line(s), nil)
	}, func(r rec) int { return r.Key }, func(n num) int { return n.Key })
	if err := h.TryPush(operator.EventTime(operator.NoTime), weirtest.Left[num](rec{Key: 1})); !errors.Is(err, joining.ErrNoTime) {
		t.Errorf("error %v", err)
	}
}
