package table

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

// lists is a store with one list state over a disk.
type lists struct {
	t    *testing.T
	s    *Store
	d    *disk
	list *List[string]
}

func newLists(t *testing.T) *lists {
	l := &lists{t: t, d: &disk{m: map[string][]byte{}}}
	l.s = New(Options{Range: stream.AllKeyGroups, KeyWidth: 8, Cold: l.d, Fail: func(err error) { t.Fatal(err) }})
	var err error
	if l.list, err = NewList(l.s, desc(3, "list", metapb.StateKind_STATE_KIND_LIST), stringCodec{}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lists) at(k int) *List[string] {
	l.s.SetWord(wordKey(uint64(k)))
	return l.list
}

func (l *lists) freeze() *Cut {
	c, err := l.s.Freeze(false)
	if err != nil {
		l.t.Fatal(err)
	}
	for !l.s.CopyFrozen(1 << 20) {
	}
	return c
}

// land makes c durable and reports how many bytes it has written.
func (l *lists) land(c *Cut) int {
	var sink nullSink
	for _, to := range []Sink{&sink, &ordered{disk: l.d, t: l.t}} {
		if err := c.Encode(to); err != nil {
			l.t.Fatal(err)
		}
	}
	l.s.Durable(c)
	return sink.bytes
}

// evict leaves nothing in memory.
func (l *lists) evict() {
	for range 2 {
		for b := range l.s.Bundles() {
			c, _ := l.s.CutBundles(b, 1)
			l.land(c)
			l.s.DropClean(b)
		}
	}
	if n := l.s.Entries(); n > 0 {
		l.t.Fatalf("%d entries in memory", n)
	}
}

func (l *lists) check(k int, want ...string) {
	l.t.Helper()
	if got := slices.Collect(l.at(k).All()); !slices.Equal(got, want) || l.list.Len() != len(want) {
		l.t.Fatalf("list of %d = %q (%d), want %q", k, got, l.list.Len(), want)
	}
}

// TestAppendReadsNothing: appends to lists that lie below cost no read, and their cuts and
// evictions write what was appended.
func TestAppendReadsNothing(t *testing.T) {
	const keys = 1000
	l := newLists(t)
	long := strings.Repeat("x", 500)
	for k := range keys {
		l.at(k).Append(long, fmt.Sprint(k))
	}
	l.evict()
	l.d.gets = 0
	for k := range keys {
		l.at(k).Append("a")
	}
	if n := l.land(l.freeze()); n > 30*keys || l.d.merges != keys {
		t.Fatalf("a cut of %d appended elements has %d operands and %d bytes", keys, l.d.merges, n)
	}
	for k := range keys {
		l.at(k).Append("b", "c")
	}
	l.evict()
	if l.d.gets > 0 {
		t.Fatalf("%d reads", l.d.gets)
	}
	for k := range keys {
		l.check(k, long, fmt.Sprint(k), "a", "b", "c")
	}
	if l.d.gets != keys {
		t.Fatalf("%d reads of %d lists", l.d.gets, keys)
	}
}

// TestTailOfCutInFlight: what of a list is below while its cut flies, lands or fails.
func TestTailOfCutInFlight(t *testing.T) {
	for _, read := range []bool{false, true} {
		for _, fails := range []bool{false, true} {
			for _, more := range []bool{false, true} {
				t.Run(fmt.Sprintf("read=%v/fails=%v/more=%v", read, fails, more), func(t *testing.T) {
					l := newLists(t)
					want := []string{"below"}
					l.at(1).Append("below")
					l.evict()
					l.at(1).Append("a")
					want = append(want, "a")
					c := l.freeze()
					if more {
						l.at(1).Append("b") // its cut flies: it becomes whole
						want = append(want, "b")
					}
					if read {
						l.check(1, want...)
					}
					if fails {
						l.s.Failed(c)
					} else {
						l.land(c)
					}
					l.at(1).Append("c")
					want = append(want, "c")
					if read {
						l.check(1, want...)
					}
					l.land(l.freeze())
					l.at(1).Append("d")
					want = append(want, "d")
					l.evict()
					l.check(1, want...)
				})
			}
		}
	}
}

// TestCutWritesTheTail: a cut of a list in memory costs what was appended since the last one,
// and after one that failed the whole list.
func TestCutWritesTheTail(t *testing.T) {
	l := newLists(t)
	want := []string{strings.Repeat("x", 5000)}
	l.at(1).Append(want...)
	if n := l.land(l.freeze()); n < 5000 {
		t.Fatalf("%d bytes", n)
	}
	add := func() {
		want = append(want, fmt.Sprint("e", len(want)))
		l.at(1).Append(want[len(want)-1])
	}
	for range 10 {
		add()
		if n := l.land(l.freeze()); n > 40 {
			t.Fatalf("%d bytes for one element", n)
		}
	}
	add()
	first := l.freeze()
	add()
	second := l.freeze()
	add()
	l.s.Failed(first)
	l.s.Failed(second)
	if n := l.land(l.freeze()); n < 5000 {
		t.Fatalf("%d bytes after cuts that failed", n)
	}
	l.at(1).Replace([]string{strings.Repeat("y", 100)})
	add()
	want = []string{strings.Repeat("y", 100), want[len(want)-1]}
	if n := l.land(l.freeze()); n < 100 {
		t.Fatalf("%d bytes of a list that was replaced", n)
	}
	l.evict()
	l.check(1, want...)
}

// TestFullCutHasNoOperands: a cut that takes the place of all runs must need none.
func TestFullCutHasNoOperands(t *testing.T) {
	l := newLists(t)
	l.at(1).Append(strings.Repeat("x", 100))
	l.land(l.freeze())
	l.at(1).Append("y")
	if c := l.freeze(); c.Full() || l.land(c) > 40 {
		t.Fatal("a cut with an operand says that it needs nothing below")
	}
	l.at(1).Append("z")
	c, err := l.s.Freeze(true)
	if err != nil {
		t.Fatal(err)
	}
	for !l.s.CopyFrozen(1 << 20) {
	}
	if !c.Full() || l.land(c) < 100 {
		t.Fatal("a cut of everything is not full")
	}
}

// TestLoadedListsAreWhole: a list that the walk does not come by, because nothing of it was
// below, is whole when its bundle is loaded, whatever has become of its tail.
func TestLoadedListsAreWhole(t *testing.T) {
	for _, words := range []bool{true, false} {
		d := &disk{m: map[string][]byte{}}
		w := newWorld(t, words, d)
		w.s.MarkSpilled() // for all that is known: nothing is below
		want := map[int][]string{}
		add := func(from, to int) {
			for k := from; k < to; k++ {
				w.key(k)
				w.list.Append(fmt.Sprint(len(want[k])))
				want[k] = append(want[k], fmt.Sprint(len(want[k])))
			}
		}
		add(0, 300) // dirty
		add(300, 600)
		for range 2 {
			c, err := w.s.Freeze(false)
			if err != nil {
				t.Fatal(err)
			}
			for !w.s.CopyFrozen(1 << 20) {
			}
			if err := c.Encode(&ordered{disk: d, t: t}); err != nil {
				t.Fatal(err)
			}
			w.s.Durable(c)
			add(400, 600) // its first tail is below only
		}
		d.m2, d.m = d.m, nil // walks find nothing, single reads do
		d.keys = nil
		for _, load := range []func(int) (bool, error){w.s.LoadTimers, w.s.LoadSpilled} {
			for more := true; more; {
				var err error
				if more, err = load(100); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !w.s.complete() {
			t.Fatal("not all is loaded")
		}
		c, err := w.s.Freeze(true)
		if err != nil {
			t.Fatal(err)
		}
		for !w.s.CopyFrozen(1 << 20) {
		}
		if !c.Full() {
			t.Error("a cut of everything is not full")
		}
		w.s.Durable(c)
		d.m2 = nil
		for k, list := range want {
			w.key(k)
			if got := slices.Collect(w.list.All()); !slices.Equal(got, list) {
				t.Fatalf("list of %d = %q, want %q", k, got, list)
			}
		}
	}
}

// TestAppendsWithoutReadsAreNotReadAhead: to read ahead what is only appended to would be in
// vain.
func TestAppendsWithoutReadsAreNotReadAhead(t *testing.T) {
	const keys = 4000
	l := newLists(t)
	for k := range keys {
		l.at(k).Append("x")
	}
	l.evict()
	l.check(0, "x") // gives credit
	l.d.gets = 0
	for k := 0; k < keys; k += 20 {
		for i := range 20 {
			hash, word := wordKey(uint64(k + i))
			l.s.Ahead(hash, word, nil)
		}
		l.s.FetchAhead()
		for i := range 20 {
			l.at(k + i).Append("y")
		}
	}
	if l.d.gets > 300 {
		t.Fatalf("%d reads for %d appends", l.d.gets, keys)
	}
}

// TestFormatOfOperands is the golden test of what a cut writes of a list that has grown. NB:
// persisted.
func TestFormatOfOperands(t *testing.T) {
	l := newLists(t)
	l.at(7).Append(strings.Repeat("x", 70))
	l.land(l.freeze())
	l.at(7).Append("ab", "c")
	var got lines
	if err := l.freeze().Encode(&got); err != nil {
		t.Fatal(err)
	}
	if want := "f8c0000000030000000000000007 + 0200" + "02" + "026162" + "0163" + "\n"; got.b.String() != want {
		t.Errorf("operand %s, want %s", got.b.String(), want)
	}
}

// TestPieces: elements that programs of several schemas have appended are brought up to date
// one by one.
func TestPieces(t *testing.T) {
	type v1 struct{ Name string }
	type v2 struct {
		Note int8
		Name string
	}
	d := &disk{m: map[string][]byte{}}
	open := func(s *Store) {
		t.Helper()
		s.SetWord(wordKey(1))
		s.MarkSpilled()
	}
	o := Options{Range: stream.AllKeyGroups, KeyWidth: 8, Cold: d, Fail: func(err error) { t.Error(err) }}
	first, second, third := New(o), New(o), New(o)
	a, b, c := listOf[v1](t, first), listOf[v2](t, second), listOf[v1](t, third)
	write := func(s *Store) {
		t.Helper()
		cut, err := s.Freeze(false)
		if err != nil {
			t.Fatal(err)
		}
		for !s.CopyFrozen(10) {
		}
		if err := cut.Encode(&ordered{disk: d, t: t}); err != nil {
			t.Fatal(err)
		}
		s.Durable(cut)
	}
	open(first)
	a.Append(v1{"a"}, v1{"b"})
	write(first)
	if err := second.Evolve(first.Schemas()); err != nil {
		t.Fatal(err)
	}
	open(second)
	b.Append(v2{5, "c"})
	write(second)
	if err := third.Evolve(second.Schemas()); err != nil {
		t.Fatal(err)
	}
	open(third)
	c.Append(v1{"d"})
	write(third)
	if len(d.m) != 1 || d.merges != 3 {
		t.Fatalf("%d entries, %d operands", len(d.m), d.merges)
	}
	for key, v := range d.m {
		if head, _, err := envelope.Decode(v); err != nil || !head.Pieces {
			t.Fatalf("value %x is not in pieces", v)
		}
		// Damage is found, not read.
		for i := range v {
			s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8, Fail: func(error) {}})
			l := listOf[v1](t, s)
			if err := s.Evolve(second.Schemas()); err != nil {
				t.Fatal(err)
			}
			if err := s.Load([]byte(key), v[:i]); err == nil {
				s.SetWord(wordKey(1))
				if got := slices.Collect(l.All()); s.Err() == nil {
					t.Errorf("value cut off at %d reads as %v", i, got)
				}
			}
		}
	}
	if got := slices.Collect(c.All()); !slices.Equal(got, []v1{{"a"}, {"b"}, {"c"}, {"d"}}) {
		t.Errorf("as v1: %v", got)
	}
	fourth := New(o)
	e := listOf[v2](t, fourth)
	if err := fourth.Evolve(second.Schemas()); err != nil {
		t.Fatal(err)
	}
	for key, v := range d.m { // into memory at once
		if err := fourth.Load([]byte(key), v); err != nil {
			t.Fatal(err)
		}
	}
	fourth.SetWord(wordKey(1))
	if got := slices.Collect(e.All()); !slices.Equal(got, []v2{{0, "a"}, {0, "b"}, {5, "c"}, {0, "d"}}) {
		t.Errorf("as v2: %v", got)
	}
}

func listOf[E any](t *testing.T, s *Store) *List[E] {
	t.Helper()
	c, err := codec.For[E]()
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewList(s, statebackend.Descriptor{ID: 3, Name: "list", Kind: metapb.StateKind_STATE_KIND_LIST, ValueSchema: c.Schema()}, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
