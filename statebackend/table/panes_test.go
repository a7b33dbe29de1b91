package table

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// panesUnderTest is a store with one of each.
type panesUnderTest struct {
	s      *Store
	inline *Panes[int64]
	coded  *Panes[string]
	lists  *PaneList[string]
}

func newPanesUnderTest(t *testing.T, width int, cold Cold) *panesUnderTest {
	t.Helper()
	keys, _ := codec.ForKey[string]()
	p := &panesUnderTest{s: New(Options{Range: stream.AllKeyGroups, KeyWidth: width, KeyLen: KeyLenOf(keys), Cold: cold, Fail: func(err error) { t.Error(err) }})}
	times, _ := codec.ForKey[int64]()
	d := func(id statebackend.StateID, schema codec.Schema) statebackend.Descriptor {
		return statebackend.Descriptor{ID: id, Name: fmt.Sprint(id), Kind: metapb.StateKind_STATE_KIND_MAP, NamespaceSchema: times.Schema(), ValueSchema: schema}
	}
	numbers, _ := codec.For[int64]()
	texts, _ := codec.For[string]()
	many, _ := codec.For[[]string]()
	var err error
	if p.inline, err = NewPanes(p.s, d(1, numbers.Schema()), numbers); err != nil {
		t.Fatal(err)
	}
	if p.coded, err = NewPanes(p.s, d(2, texts.Schema()), texts); err != nil {
		t.Fatal(err)
	}
	if p.lists, err = NewPaneList(p.s, d(3, many.Schema()), texts, many); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPanes compares panes with maps, over random operations, cuts and restores; with a
// cold tier entries are evicted in between.
func TestPanes(t *testing.T) {
	for _, width := range []int{0, 8} {
		for _, evicts := range []bool{false, true} {
			t.Run(fmt.Sprintf("width=%d/evicts=%t", width, evicts), func(t *testing.T) { testPanes(t, width, evicts) })
		}
	}
}

func testPanes(t *testing.T, width int, evicts bool) {
	type place struct {
		key int
		ns  int64
	}
	random := rand.New(rand.NewPCG(1, uint64(width)))
	d := &disk{m: map[string][]byte{}}
	var cold Cold
	if evicts {
		cold = d
	}
	p := newPanesUnderTest(t, width, cold)
	numbers, texts, lists := map[place]int64{}, map[place]string{}, map[place][]string{}
	times := []int64{math.MinInt64, -1000, -1, 0, 1, 1000, math.MaxInt64}
	for step := range 60_000 {
		at := place{random.IntN(50), times[random.IntN(len(times))]}
		if random.IntN(4) == 0 {
			at.ns = int64(random.IntN(200))
		}
		setKey(p.s, width, at.key)
		text := fmt.Sprint(step, at)
		switch random.IntN(9) {
		case 0:
			p.inline.Set(at.ns, int64(step))
			numbers[at] = int64(step)
		case 1:
			p.coded.Set(at.ns, text)
			texts[at] = text
		case 2:
			p.lists.Append(at.ns, text)
			lists[at] = append(lists[at], text)
		case 3:
			p.inline.Clear(at.ns)
			p.coded.Clear(at.ns)
			p.lists.Clear(at.ns)
			delete(numbers, at)
			delete(texts, at)
			delete(lists, at)
		case 4:
			to := place{at.key, times[random.IntN(len(times))]}
			if to != at {
				p.lists.Move(to.ns, at.ns)
				if l := append(slices.Clone(lists[to]), lists[at]...); len(l) > 0 {
					lists[to] = l
				}
				delete(lists, at)
			}
		case 5:
			some := slices.Clone(lists[at])[:len(lists[at])/2]
			p.lists.Set(at.ns, some)
			if lists[at] = some; len(some) == 0 {
				delete(lists, at)
			}
		default:
			n, ok := p.inline.Get(at.ns)
			if want, has := numbers[at]; n != want || ok != has {
				t.Fatalf("step %d: %v has number %d %t, want %d %t", step, at, n, ok, want, has)
			}
			s, ok := p.coded.Get(at.ns)
			if want, has := texts[at]; s != want || ok != has {
				t.Fatalf("step %d: %v has text %q %t, want %q %t", step, at, s, ok, want, has)
			}
			if l := p.lists.Get(nil, at.ns); !slices.Equal(l, lists[at]) {
				t.Fatalf("step %d: %v has list %q, want %q", step, at, l, lists[at])
			}
		}
		if step%5000 == 4999 {
			cut, err := p.s.Freeze(false)
			if err != nil {
				t.Fatal(err)
			}
			for !p.s.CopyFrozen(100) {
			}
			if err := cut.Encode(d); err != nil {
				t.Fatal(err)
			}
			p.s.Durable(cut)
			for b := range 2 * p.s.Bundles() {
				if evicts {
					p.s.DropClean(b % p.s.Bundles())
				}
			}
			if step%10_000 != 9999 {
				continue
			}
			q := newPanesUnderTest(t, width, cold)
			if err := q.s.Evolve(nil); err != nil {
				t.Fatal(err)
			}
			if evicts {
				q.s.MarkSpilled()
			} else {
				for k, v := range d.m {
					if err := q.s.Load([]byte(k), v); err != nil {
						t.Fatal(err)
					}
				}
			}
			p = q
		}
	}
}

// TestListInPlace compares View and Resize with a slice.
func TestListInPlace(t *testing.T) {
	c, _ := codec.For[int64]()
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8})
	l, err := NewList(s, statebackend.Descriptor{ID: 1, Name: "l", Kind: metapb.StateKind_STATE_KIND_LIST, ValueSchema: c.Schema()}, c)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int][]int64{}
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 20_000 {
		key := random.IntN(20)
		setKey(s, 8, key)
		n := random.IntN(12)
		b := l.Resize(n, 8)
		have := want[key][:min(n, len(want[key]))]
		for len(have) < n {
			have = append(have, 0)
		}
		for i := range have {
			if i >= len(want[key]) || random.IntN(3) == 0 {
				have[i] = int64(step)
				copy(b[i*8:], c.Append(nil, have[i]))
			}
		}
		want[key] = slices.Clone(have)
		if got := slices.Collect(l.All()); !slices.Equal(got, have) || l.Len() != n || len(l.View()) != 8*n {
			t.Fatalf("step %d: %v (%d, %d bytes), want %v", step, got, l.Len(), len(l.View()), have)
		}
	}
}

// setKey makes key i the current one, of a store with keys of 8 bytes or of any.
func setKey(s *Store, width, i int) {
	if width > 0 {
		c, _ := codec.ForKey[int64]()
		s.SetWord(c.Hash(int64(i)), c.Word(int64(i)))
		return
	}
	c, _ := codec.ForKey[string]()
	k := fmt.Sprint("key ", i)
	s.SetKey(c.Hash(k), c.Append(nil, k))
}
