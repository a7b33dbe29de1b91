package table

import (
	"testing"

	"github.com/weirstream/weir/stream"
)

// counting is a disk that counts what it is asked for, one key at a time and together.
type counting struct {
	*disk
	single, together int
}

func (c *counting) Get(dst, key []byte) ([]byte, bool, error) {
	c.single++
	return c.disk.Get(dst, key)
}

func (c *counting) GetMany(keys [][]byte, f func(i int, value []byte, ok bool) error) error {
	c.together += len(keys)
	return c.disk.GetMany(keys, f)
}

// coldStore has keys even numbers in the cold tier, as their own values, and nothing in
// memory. A second state is there that nobody uses.
func coldStore(t *testing.T, keys int) (*Store, *counting, *Value[int64]) {
	c := &counting{disk: &disk{m: map[string][]byte{}}}
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8, Cold: c, Fail: func(err error) { t.Fatal(err) }})
	v, err := NewValue(s, desc(1, "num", 1), int64Codec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewValue(s, desc(2, "idle", 1), int64Codec{}); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		s.SetWord(wordKey(uint64(2 * i)))
		v.Set(int64(2 * i))
	}
	for range 2 {
		for b := range s.Bundles() {
			cut, _ := s.CutBundles(b, 1)
			if err := cut.Encode(&ordered{disk: c.disk, t: t}); err != nil {
				t.Fatal(err)
			}
			s.Durable(cut)
			s.DropClean(b)
		}
	}
	if s.Entries() > 0 || !s.Spilled() {
		t.Fatalf("%d entries in memory", s.Entries())
	}
	return s, c, v
}

// TestMissCostsNoRead: a key that was never evicted is not asked for below.
func TestMissCostsNoRead(t *testing.T) {
	const keys = 20_000
	s, c, v := coldStore(t, keys)
	for i := range uint64(keys) {
		s.SetWord(wordKey(2*i + 1))
		if x, ok := v.Get(); ok {
			t.Fatalf("key %d is %d", 2*i+1, x)
		}
		v.Clear()
	}
	if c.single > keys/20 {
		t.Errorf("%d reads for %d keys that are not there", c.single, keys)
	}
	c.single = 0
	for i := range uint64(keys) {
		s.SetWord(wordKey(2 * i))
		if x, ok := v.Get(); !ok || x != int64(2*i) {
			t.Fatalf("key %d is %d, %v", 2*i, x, ok)
		}
	}
	if c.single != keys {
		t.Errorf("%d reads for %d keys that are there", c.single, keys)
	}
	// What is restored by attaching is not known.
	s.MarkSpilled()
	s.forgetBelow(0)
	for b := range s.below {
		s.forgetBelow(b)
	}
	c.single = 0
	s.SetWord(wordKey(1))
	if _, ok := v.Get(); ok || c.single != 1 {
		t.Errorf("%d reads for a key of which nothing is known, found: %v", c.single, ok)
	}
}

// TestReadAhead: records whose keys were named ahead wait for few reads, also those of
// keys that are not there; a state that no record reads is not read for long.
func TestReadAhead(t *testing.T) {
	const keys = 4000
	s, c, v := coldStore(t, keys)
	for b := range s.below {
		s.forgetBelow(b) // so that misses ask too
	}
	idle := s.states[1].(*tbl[int64])
	idle.credit = creditMost
	for from := uint64(0); from < 2*keys; from += 32 {
		for k := from; k < from+32; k++ {
			h, w := wordKey(k)
			s.Ahead(h, w, nil)
			s.Ahead(h, w, nil) // a key may come twice
		}
		s.FetchAhead()
		for k := from; k < from+32; k++ {
			s.SetWord(wordKey(k))
			if x, ok := v.Get(); ok != (k%2 == 0) || ok && x != int64(k) {
				t.Fatalf("key %d is %d, %v", k, x, ok)
			}
			v.Set(int64(k) + 1)
			if x, _ := v.Get(); x != int64(k)+1 {
				t.Fatalf("key %d is %d after it was set", k, x)
			}
		}
	}
	if c.single > 2*keys/50 || c.together < keys {
		t.Errorf("%d reads one at a time, %d together, of %d", c.single, c.together, 2*keys)
	}
	if idle.credit > 0 || c.together > 2*keys+4*creditMost {
		t.Errorf("a state that nobody reads has credit %d; %d reads", idle.credit, c.together)
	}
	if s.Entries() != 2*keys {
		t.Errorf("%d entries, want %d", s.Entries(), 2*keys)
	}
}
