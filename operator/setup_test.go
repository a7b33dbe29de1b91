package operator

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// running returns the Setup of a subtask whose operator declared declared, started
// from the given snapshot, or from nothing if that is nil.
func running(k KeyInfo, declared []*metapb.State, from *metapb.SubtaskSnapshot) *Setup {
	rt := &Runtime{Log: slog.New(slog.DiscardHandler), Parallelism: 2, Subtask: 1, Restored: from != nil}
	o := SetupOptions{
		UID: "op", Key: k, Runtime: rt, Declared: declared, States: from.GetOperatorStates(), Results: from.GetResults(),
		StateID: func(name string) statebackend.StateID {
			return statebackend.StateID(1 + slices.IndexFunc(declared, func(s *metapb.State) bool { return s.Name == name }))
		},
	}
	if k.Keyed {
		o.Store = table.New(table.Options{Range: stream.RangeOf(1, 2), KeyWidth: k.Width, KeyLen: k.Len, Fail: rt.Fail})
	}
	return NewSetup(o)
}

// job's operator state, as a factory would declare it.
type kept struct {
	sum   *Sum
	text  *Text
	split *OperatorList[string]
	union *OperatorList[int]
}

func declareKept(s *Setup) kept {
	return kept{s.Sum("sum"), s.Text("text"), s.SplitList[string]("split"), s.UnionList[int]("union")}
}

func TestOperatorState(t *testing.T) {
	plan := PlanSetup("op", KeyInfo{})
	declareKept(plan)
	if err := plan.Err(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range plan.Declared() {
		names = append(names, d.Name)
	}
	if !slices.Equal(names, []string{"split", "sum", "text", "union"}) {
		t.Errorf("declared %v", names)
	}

	s := running(KeyInfo{}, plan.Declared(), nil)
	k := declareKept(s)
	k.sum.Add(1 << 63)
	k.sum.Add(1<<63 + 5)
	k.text.Set("0.57")
	k.split.Append("a", "", "b")
	k.union.Set([]int{7})
	snap := &metapb.SubtaskSnapshot{}
	s.Snapshot(snap)

	s = running(KeyInfo{}, plan.Declared(), snap)
	k = declareKept(s)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if k.sum.Value() != 5 || k.text.Value() != "0.57" || !slices.Equal(k.split.Get(), []string{"a", "", "b"}) || !slices.Equal(k.union.Get(), []int{7}) {
		t.Errorf("restored %d, %q, %q, %v", k.sum.Value(), k.text.Value(), k.split.Get(), k.union.Get())
	}
}

// A list whose elements have another type than in the snapshot is refused, not misread.
func TestChangedElement(t *testing.T) {
	declared := func(s *Setup) *Setup { s.SplitList[int64]("split"); return s }
	s := declared(running(KeyInfo{}, declared(PlanSetup("op", KeyInfo{})).Declared(), nil))
	snap := &metapb.SubtaskSnapshot{}
	s.Snapshot(snap)
	changed := func(s *Setup) *Setup { s.SplitList[uint64]("split"); return s }
	snap.OperatorStates[0].Entries = [][]byte{make([]byte, 8)}
	s = changed(running(KeyInfo{}, changed(PlanSetup("op", KeyInfo{})).Declared(), snap))
	if !errors.Is(s.Err(), statebackend.ErrSchema) {
		t.Errorf("error %v", s.Err())
	}
	for name, damage := range map[string]func(*metapb.OperatorState){
		"short": func(st *metapb.OperatorState) { st.Entries[0] = st.Entries[0][:7] },
		"long":  func(st *metapb.OperatorState) { st.Entries[0] = append(st.Entries[0], 0) },
		"kind":  func(st *metapb.OperatorState) { st.Kind = metapb.StateKind_STATE_KIND_UNION_LIST },
	} {
		one := &metapb.SubtaskSnapshot{OperatorStates: []*metapb.OperatorState{{
			Name: "split", Kind: metapb.StateKind_STATE_KIND_SPLIT_LIST, Entries: [][]byte{make([]byte, 8)}, Schema: snap.OperatorStates[0].Schema,
		}}}
		damage(one.OperatorStates[0])
		s = declared(running(KeyInfo{}, declared(PlanSetup("op", KeyInfo{})).Declared(), one))
		if s.Err() == nil {
			t.Errorf("%s: restored", name)
		}
	}
}

func TestMistakes(t *testing.T) {
	key := must(codec.ForKey[int]())
	keyed := KeyInfoOf(key)
	for want, c := range map[string]struct {
		k KeyInfo
		f func(s *Setup)
	}{
		"has no key; use KeyBy":    {KeyInfo{}, func(s *Setup) { s.Value[int]("v") }},
		`declares "v" twice`:       {keyed, func(s *Setup) { s.Value[int]("v"); s.List[int]("v") }},
		"must have 1 to 100 bytes": {keyed, func(s *Setup) { s.Value[int]("") }},
		"are the runtime's":        {keyed, func(s *Setup) { s.Sum("weir.x") }},
		"can't keep state":         {keyed, func(s *Setup) { s.Value[chan int]("v") }},
		"can't keep state \"l\"":   {KeyInfo{}, func(s *Setup) { s.SplitList[func()]("l") }},
		"name of a counter":        {KeyInfo{}, func(s *Setup) { s.Counter(strings.Repeat("x", 101)) }},
	} {
		s := PlanSetup("op", c.k)
		c.f(s)
		if s.Err() == nil || !strings.Contains(s.Err().Error(), want) || !strings.Contains(s.Err().Error(), `"op"`) {
			t.Errorf("%q: error %v", want, s.Err())
		}
	}
	s := running(keyed, nil, nil)
	s.Value[int]("late")
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "when the job was planned") {
		t.Errorf("undeclared: error %v", s.Err())
	}
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func TestKeyCursor(t *testing.T) {
	t.Run("word", func(t *testing.T) {
		testKeyCursor(t, func(i int) int { return i - 50 })
	})
	t.Run("bytes", func(t *testing.T) {
		testKeyCursor(t, func(i int) string { return string(bytes.Repeat([]byte{byte(i)}, i%7+1)) })
	})
}

func testKeyCursor[K comparable](t *testing.T, key func(int) K) {
	c := must(codec.ForKey[K]())
	declare := func(s *Setup) *table.Value[int] {
		s.EventTimers()
		s.Timers()
		return s.Value[int]("v")
	}
	plan := PlanSetup("op", KeyInfoOf(c))
	declare(plan)
	s := running(KeyInfoOf(c), plan.Declared(), nil)
	v := declare(s)
	cur := NewKeyCursor(s, c, true)
	rt := s.Runtime()
	at := time.UnixMilli(5000).Add(time.Nanosecond) // rounded up
	mine := map[K]int{}
	for i := range 100 {
		k := key(i)
		hash := c.Hash(k)
		if owned := stream.RangeOf(1, 2).Contains(stream.GroupOf(hash)); !owned {
			continue
		}
		if !cur.Set(hash, k) {
			t.Fatal(rt.Err())
		}
		v.Set(i)
		mine[k] = i
		cur.Ctx().ProcessingTimerAt(at)
	}
	if err := s.Err(); err != nil || len(mine) == 0 {
		t.Fatal(err, len(mine))
	}
	if _, ok := s.Timers().Due(5000); ok {
		t.Error("a timer is due before its time")
	}
	fired := 0
	for d, ok := s.Timers().Due(5001); ok; d, ok = s.Timers().Due(5001) {
		if err := cur.SetTimer(d, ProcessingTime); err != nil {
			t.Fatal(err)
		}
		k := cur.Ctx().Key()
		if got, ok := v.Get(); !ok || got != mine[k] {
			t.Errorf("key %v has %d in its timer, want %d", k, got, mine[k])
		}
		fired++
	}
	if fired != len(mine) {
		t.Errorf("%d timers fired, want %d", fired, len(mine))
	}

	for i := range 100 { // a key of the other subtask
		k := key(i)
		if hash := c.Hash(k); stream.GroupOf(hash) < 1<<15 {
			if cur.Set(hash, k) {
				t.Error("a key of another subtask was taken")
			}
			if _, err := rt.Err(); !errors.Is(err, ErrKey) || !rt.Attention.Load() {
				t.Errorf("error %v, attention %t", err, rt.Attention.Load())
			}
			break
		}
	}
}

func TestCounter(t *testing.T) {
	s := running(KeyInfo{}, nil, nil)
	var told []*Counter
	s.Runtime().Counters = func(c *Counter) { told = append(told, c) }
	c := s.Counter("seen")
	c.Inc()
	s.Counter("seen").Add(2)
	if len(told) != 1 || told[0] != c || c.Published() != 0 {
		t.Errorf("told %v, published %d", told, c.Published())
	}
	if c.Publish(); c.Published() != 3 {
		t.Errorf("published %d", c.Published())
	}
}
