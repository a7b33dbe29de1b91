package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// disk is a cold tier and the runs below it: an ordered map by full key.
type disk struct {
	m    map[string][]byte
	keys []string // of m, sorted; nil after a change

	gets, merges int
	m2           map[string][]byte // only Get finds
}

func (d *disk) Set(k, v []byte) error { d.m[string(k)], d.keys = bytes.Clone(v), nil; return nil }
func (d *disk) Delete(k []byte) error { delete(d.m, string(k)); d.keys = nil; return nil }

func (d *disk) Merge(k, v []byte) error {
	d.merges++
	return d.Set(k, joined(d.m[string(k)], v))
}

// joined is the list that old and the operand add make; old nil: there is none. It is in
// pieces if their schemas differ.
func joined(old, add []byte) []byte {
	if old == nil {
		return bytes.Clone(add)
	}
	type piece struct {
		ordinal byte
		n       uint64
		b       []byte
	}
	var all []piece
	for _, v := range [][]byte{old, add} {
		if v[0] == 2 {
			n, w := binary.Uvarint(v[2:])
			all = append(all, piece{v[1], n, v[2+w:]})
			continue
		}
		for v = v[3:]; len(v) > 0; {
			n, w := binary.Uvarint(v[1:])
			size, x := binary.Uvarint(v[1+w:])
			all = append(all, piece{v[0], n, v[1+w+x:][:size]})
			v = v[1+w+x+int(size):]
		}
	}
	if last := len(all) - 1; all[last].ordinal == all[last-1].ordinal {
		all[last-1].n += all[last].n
		all[last-1].b = slices.Concat(all[last-1].b, all[last].b)
		all = all[:last]
	}
	if len(all) == 1 {
		return append(binary.AppendUvarint([]byte{2, all[0].ordinal}, all[0].n), all[0].b...)
	}
	v := []byte{0x42, 0, byte(len(all))}
	for _, p := range all {
		v = binary.AppendUvarint(append(v, p.ordinal), p.n)
		v = append(binary.AppendUvarint(v, uint64(len(p.b))), p.b...)
	}
	return v
}

func (d *disk) Get(dst, key []byte) ([]byte, bool, error) {
	d.gets++
	v, ok := d.m[string(key)]
	if !ok {
		v, ok = d.m2[string(key)]
	}
	return append(dst, v...), ok, nil
}

func (d *disk) GetMany(keys [][]byte, f func(i int, value []byte, ok bool) error) error {
	for i, k := range keys {
		v, ok, err := d.Get(nil, k)
		if err == nil {
			err = f(i, v, ok)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) Scan(prefix []byte, f func(k, v []byte) bool) error {
	if d.keys == nil {
		d.keys = slices.Sorted(maps.Keys(d.m))
	}
	i, _ := slices.BinarySearch(d.keys, string(prefix))
	for ; i < len(d.keys) && strings.HasPrefix(d.keys[i], string(prefix)); i++ {
		if !f([]byte(d.keys[i]), d.m[d.keys[i]]) {
			return nil
		}
	}
	return nil
}

func (d *disk) Walk(from, to []byte, f func(k, v []byte) bool) error {
	if d.keys == nil {
		d.keys = slices.Sorted(maps.Keys(d.m))
	}
	i, _ := slices.BinarySearch(d.keys, string(from))
	for ; i < len(d.keys) && d.keys[i] < string(to); i++ {
		if !f([]byte(d.keys[i]), d.m[d.keys[i]]) {
			return nil
		}
	}
	return nil
}

// ordered checks that a cut comes in key order while it applies it.
type ordered struct {
	*disk
	t    *testing.T
	last []byte
}

func (o *ordered) check(k []byte) {
	if o.last != nil && bytes.Compare(o.last, k) >= 0 {
		o.t.Fatalf("cut out of order: %x after %x", k, o.last)
	}
	o.last = append(o.last[:0], k...)
}
func (o *ordered) Set(k, v []byte) error { o.check(k); return o.disk.Set(k, v) }
func (o *ordered) Merge(k, v []byte) error {
	o.check(k)
	return o.disk.Merge(k, v)
}
func (o *ordered) Delete(k []byte) error { o.check(k); return o.disk.Delete(k) }

// world is a store with one state of each kind, and what it should hold.
type world struct {
	t     *testing.T
	s     *Store
	num   *Value[int64]
	text  *Value[string]
	list  *List[string]
	dict  *Map[string, int64]
	timer *Timers
	words bool
	m     model
}

type model struct {
	Num   map[int]int64
	Text  map[int]string
	List  map[int][]string
	Dict  map[int]map[string]int64
	Timer map[int]map[int64]bool
}

func newModel() model {
	return model{map[int]int64{}, map[int]string{}, map[int][]string{}, map[int]map[string]int64{}, map[int]map[int64]bool{}}
}

func newWorld(t *testing.T, words bool, cold Cold) *world {
	o := Options{Range: stream.AllKeyGroups, Cold: cold, KeyLen: KeyLenOf(stringKey{}), Fail: func(err error) { t.Fatalf("store failed: %v", err) }}
	if words {
		o.KeyWidth, o.KeyLen = 8, nil
	}
	w := &world{t: t, s: New(o), words: words, m: newModel()}
	var errs [5]error
	w.num, errs[0] = NewValue(w.s, desc(5, "num", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	w.text, errs[1] = NewValue(w.s, desc(1, "text", metapb.StateKind_STATE_KIND_VALUE), stringCodec{})
	w.list, errs[2] = NewList(w.s, desc(3, "list", metapb.StateKind_STATE_KIND_LIST), stringCodec{})
	w.dict, errs[3] = NewMap(w.s, desc(2, "dict", metapb.StateKind_STATE_KIND_MAP), stringKey{}, int64Codec{})
	w.timer, errs[4] = NewTimers(w.s, desc(4, "timer", metapb.StateKind_STATE_KIND_TIMER))
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) key(i int) {
	if w.words {
		w.s.SetWord(wordKey(uint64(i)))
		return
	}
	enc := stringKey{}.Append(nil, fmt.Sprintf("k\x00%d", i))
	w.s.SetKey(xxh3.Hash(enc), enc)
}

func (w *world) op(r *rand.Rand, keys int) {
	k := r.IntN(keys)
	w.key(k)
	m := &w.m
	str := func() string { return strings.Repeat("x", r.IntN(40)) + fmt.Sprint(r.IntN(1000)) }
	switch r.IntN(14) {
	case 0, 1, 2:
		w.num.Update(func(v int64, ok bool) int64 {
			if want, has := m.Num[k]; has != ok || v != want {
				w.t.Fatalf("num of %d = %d, %v; want %d, %v", k, v, ok, want, has)
			}
			m.Num[k] = v + 1
			return v + 1
		})
	case 3:
		w.num.Clear()
		delete(m.Num, k)
	case 4, 5:
		s := str()
		w.text.Set(s)
		m.Text[k] = s
	case 6:
		w.text.Clear()
		delete(m.Text, k)
	case 7, 8:
		s := str()
		w.list.Append(s, "y")
		m.List[k] = append(m.List[k], s, "y")
	case 9:
		if r.IntN(2) == 0 {
			w.list.Clear()
			delete(m.List, k)
		} else {
			w.list.Replace([]string{"a", "b"})
			m.List[k] = []string{"a", "b"}
		}
	case 10, 11:
		s, v := fmt.Sprint(r.IntN(30)), r.Int64()
		w.dict.Set(s, v)
		if m.Dict[k] == nil {
			m.Dict[k] = map[string]int64{}
		}
		m.Dict[k][s] = v
	case 12:
		if r.IntN(6) == 0 {
			w.dict.Clear()
			delete(m.Dict, k)
		} else {
			s := fmt.Sprint(r.IntN(30))
			w.dict.Delete(s)
			delete(m.Dict[k], s)
		}
	case 13:
		at := int64(r.IntN(50)) - 10
		if at == 39 {
			at = math.MaxInt64
		}
		if m.Timer[k] == nil {
			m.Timer[k] = map[int64]bool{}
		}
		if r.IntN(3) == 0 {
			w.timer.Delete(at)
			delete(m.Timer[k], at)
		} else {
			w.timer.Register(at)
			m.Timer[k][at] = true
		}
	}
}

// fire takes all timers out that are due, and checks that each was one (I18).
func (w *world) fire(now int64) {
	last := int64(-1 << 62)
	for {
		d, ok := w.timer.Due(now)
		if !ok {
			break
		}
		k := int(d.Word)
		if !w.words {
			s, _, err := stringKey{}.Decode(d.Enc)
			if err != nil {
				w.t.Fatal(err)
			}
			fmt.Sscanf(s, "k\x00%d", &k)
		}
		if !w.m.Timer[k][d.At] || d.At < last || d.At > now {
			w.t.Fatalf("timer of %d at %d fired at %d after %d: registered %v", k, d.At, now, last, w.m.Timer[k])
		}
		last = d.At
		delete(w.m.Timer[k], d.At)
	}
	for k, ts := range w.m.Timer {
		for at := range ts {
			if at <= now {
				w.t.Fatalf("timer of %d at %d did not fire at %d", k, at, now)
			}
		}
	}
}

// check compares every state of every key with the model.
func (w *world) check(keys int) {
	w.t.Helper()
	for k := range keys {
		w.key(k)
		v, ok := w.num.Get()
		if want, has := w.m.Num[k]; ok != has || v != want {
			w.t.Fatalf("num of %d = %d, %v; want %d, %v", k, v, ok, want, has)
		}
		s, ok := w.text.Get()
		if want, has := w.m.Text[k]; ok != has || s != want {
			w.t.Fatalf("text of %d = %q, %v; want %q, %v", k, s, ok, want, has)
		}
		if got := slices.Collect(w.list.All()); !slices.Equal(got, w.m.List[k]) || w.list.Len() != len(got) {
			w.t.Fatalf("list of %d = %q (%d), want %q", k, got, w.list.Len(), w.m.List[k])
		}
		got := maps.Collect(w.dict.All())
		if !maps.Equal(got, w.m.Dict[k]) || w.dict.Len() != len(got) {
			w.t.Fatalf("map of %d (Len %d): %s", k, w.dict.Len(), cmp.Diff(got, w.m.Dict[k]))
		}
	}
}

// TestModel drives a store with random operations, cuts that succeed or fail while
// operations go on, eviction and restores, against ordered maps (I17, I18, A2).
func TestModel(t *testing.T) {
	for seed := range uint64(10) {
		for _, words := range []bool{true, false} {
			for _, cold := range []bool{false, true} {
				t.Run(fmt.Sprintf("seed=%d/words=%v/cold=%v", seed, words, cold), func(t *testing.T) {
					runModel(t, seed, words, cold)
				})
			}
		}
	}
}

func runModel(t *testing.T, seed uint64, words, cold bool) {
	r := rand.New(rand.NewPCG(seed, 7))
	keys := []int{3, 40, 700}[r.IntN(3)]
	d := &disk{m: map[string][]byte{}}
	var tier Cold
	if cold {
		tier = d
	}
	w := newWorld(t, words, tier)
	var flying *Cut
	now := int64(-20)
	for range 60 {
		for range r.IntN(200) {
			w.op(r, keys)
		}
		switch r.IntN(8) {
		case 0, 1:
			if flying == nil {
				c, err := w.s.Freeze(r.IntN(4) == 0)
				if err != nil {
					t.Fatal(err)
				}
				flying = c
			}
		case 2:
			w.s.CopyFrozen(r.IntN(100))
		case 3:
			if flying != nil && w.s.CopyFrozen(1<<20) {
				if r.IntN(3) == 0 {
					w.s.Failed(flying)
				} else {
					if flying.Full() {
						clear(d.m) // it needs nothing below it
						d.keys = nil
					}
					if err := flying.Encode(&ordered{disk: d, t: t}); err != nil {
						t.Fatal(err)
					}
					w.s.Durable(flying)
				}
				flying = nil
			}
		case 4:
			now += int64(r.IntN(10))
			w.fire(now)
			if r.IntN(8) == 0 { // the end of the input
				w.fire(math.MaxInt64)
			}
		case 5:
			w.check(keys)
		case 6:
			switch {
			case cold && r.IntN(3) == 0:
				for more := true; more && r.IntN(30) > 0; {
					var err error
					if more, err = w.s.LoadSpilled(1 + r.IntN(300)); err != nil {
						t.Fatal(err)
					}
				}
			case cold:
				w.evict(r, d)
			}
		case 7:
			// A snapshot, and a new subtask from it.
			if flying == nil {
				w = w.restored(d, tier)
			}
		}
	}
	w.check(keys)
}

func (w *world) evict(r *rand.Rand, d *disk) {
	for range r.IntN(3) * w.s.Bundles() {
		b := r.IntN(w.s.Bundles())
		if !w.s.Busy() {
			c, _ := w.s.CutBundles(b, r.IntN(50))
			if err := c.Encode(&ordered{disk: d, t: w.t}); err != nil {
				w.t.Fatal(err)
			}
			w.s.Durable(c)
		}
		w.s.DropClean(b)
	}
}

func (w *world) restored(d *disk, tier Cold) *world {
	c, err := w.s.Freeze(false)
	if err != nil {
		w.t.Fatal(err)
	}
	for !w.s.CopyFrozen(1000) {
	}
	if err := c.Encode(&ordered{disk: d, t: w.t}); err != nil {
		w.t.Fatal(err)
	}
	n := newWorld(w.t, w.words, tier)
	n.m = w.m
	for k, v := range d.m {
		if err := n.s.Load([]byte(k), v); err != nil {
			w.t.Fatal(err)
		}
	}
	return n
}

// TestManyKeys crosses growth and splits of segments.
func TestManyKeys(t *testing.T) {
	s := New(Options{Range: stream.RangeOf(0, 512), KeyWidth: 8})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{m: map[string][]byte{}}
	const n = 60_000_000 / 512
	var owned []uint64
	for i := uint64(0); len(owned) < n; i++ {
		h, _ := wordKey(i)
		if s.Owns(h) {
			owned = append(owned, i)
		}
	}
	var flying *Cut
	for round := range int64(3) {
		for j, k := range owned {
			s.SetWord(wordKey(k))
			x, _ := v.Get()
			v.Set(x + 1)
			if j == n/2 {
				if flying, err = s.Freeze(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		for !s.CopyFrozen(1000) {
		}
		if err := flying.Encode(&ordered{disk: d, t: t}); err != nil {
			t.Fatal(err)
		}
		s.Durable(flying)
		for _, k := range owned {
			s.SetWord(wordKey(k))
			if x, ok := v.Get(); !ok || x != round+1 {
				t.Fatalf("key %d = %d, %v in round %d", k, x, ok, round)
			}
		}
	}
	r := newReader(t, s)
	for k, val := range d.m {
		if err := r.s.Load([]byte(k), val); err != nil {
			t.Fatal(err)
		}
	}
	for j, k := range owned {
		r.s.SetWord(wordKey(k))
		want := int64(2)
		if j <= n/2 {
			want = 3
		}
		if x, _ := r.v.Get(); x != want {
			t.Fatalf("key %d (number %d) was %d at the third cut, want %d", k, j, x, want)
		}
	}
}

type reader struct {
	s *Store
	v *Value[int64]
}

func newReader(t *testing.T, like *Store) reader {
	s := New(Options{Range: like.Range(), KeyWidth: 8})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		t.Fatal(err)
	}
	return reader{s, v}
}
