package table

import (
	"bytes"
	"fmt"
	"slices"
)

// ahead are the entries of keys that come soon and that only the cold tier has: read
// together, in order, they cost less than one at a time.
//
// A state takes part as long as it has credit: one whose entries are read by few records
// would have many read in vain. A read that a record had to wait for gives credit; one
// entry of each slice is looked at afterwards: whether a record came for it.
type ahead struct {
	items []aheadItem
	buf   []byte   // keys of the items, and their full keys
	keys  [][]byte // full keys, sorted
}

type aheadItem struct {
	t          state
	hash, word uint64
	enc, end   int // the key in buf, of a store with keys of bytes
	full       int // end of the full key, which begins at end
}

const (
	// creditDemand is what a read that a record waited for gives: a slice of records.
	creditDemand = 32
	creditMost   = 64
)

// sample is an entry that FetchAhead has read.
type sample struct {
	hash, word uint64
	enc        []byte
	valid      bool
}

// Spilled reports whether anything lies only in the cold tier.
func (s *Store) Spilled() bool { return s.evicts && !s.complete() }

// Ahead says that a record with this key comes soon. word is for keys that are words, enc
// for others.
func (s *Store) Ahead(hash, word uint64, enc []byte) {
	if !s.Owns(hash) || !s.spilled[s.bundleOf(hash)] {
		return
	}
	a := &s.ahead
	for _, t := range s.states {
		if !t.lookAhead(hash, word, enc) {
			continue
		}
		from := len(a.buf)
		a.buf = append(a.buf, enc...)
		end := len(a.buf)
		a.buf = appendPrefix(a.buf, groupOf(hash), t.desc().ID)
		if s.opt.KeyWidth > 0 {
			a.buf = appendWord(a.buf, word, s.opt.KeyWidth)
		} else {
			a.buf = append(a.buf, enc...)
		}
		a.items = append(a.items, aheadItem{t, hash, word, from, end, len(a.buf)})
	}
}

// FetchAhead brings what Ahead has named into memory.
func (s *Store) FetchAhead() {
	a := &s.ahead
	if len(a.items) == 0 {
		return
	}
	full := func(i aheadItem) []byte { return a.buf[i.end:i.full] }
	slices.SortFunc(a.items, func(x, y aheadItem) int { return bytes.Compare(full(x), full(y)) })
	a.items = slices.CompactFunc(a.items, func(x, y aheadItem) bool { return bytes.Equal(full(x), full(y)) })
	for _, i := range a.items {
		a.keys = append(a.keys, full(i))
	}
	err := s.opt.Cold.GetMany(a.keys, func(n int, value []byte, ok bool) error {
		i := a.items[n]
		if err := i.t.arrived(i.hash, i.word, a.buf[i.enc:i.end], value, ok); err != nil {
			return fmt.Errorf("state %q: %w", i.t.desc().Name, err)
		}
		return nil
	})
	if err != nil {
		s.fail(fmt.Errorf("read ahead from the cold tier: %w", err))
	}
	clear(a.items)
	clear(a.keys)
	a.items, a.keys, a.buf = a.items[:0], a.keys[:0], a.buf[:0]
}

// lookAhead reports whether the entry of a key is to be read ahead.
func (t *tbl[V]) lookAhead(hash, word uint64, enc []byte) bool {
	if t.hooks.split != nil {
		return false // a map's keys are not known
	}
	if t.judge(); t.credit <= 0 {
		return false
	}
	g := t.segmentFor(hash)
	if at, known := t.find(g, hash, word, enc); known && !t.partial(g, at) || !t.mayBeBelow(g, hash) {
		return false
	}
	t.credit--
	return true
}

// judge gives or takes credit by what became of the sample.
func (t *tbl[V]) judge() {
	p := &t.sample
	if !p.valid {
		return
	}
	p.valid = false
	g := t.segmentFor(p.hash)
	if at, known := t.find(g, p.hash, p.word, p.enc); known && g.slots[at].meta&flagRef != 0 && !t.unread(g, at) {
		t.credit = creditMost
	} else {
		t.credit /= 2
	}
}

// unread reports whether slot at was brought and is not needed: what came was no read.
func (t *tbl[V]) unread(g *segment[V], at int) bool {
	return t.hooks.tails != nil && t.hooks.tails.unread(&g.slots[at].val)
}

func (t *tbl[V]) find(g *segment[V], hash, word uint64, enc []byte) (at int, known bool) {
	if t.words {
		return g.findWord(hash, word)
	}
	return g.findBytes(hash, enc, 0)
}

// arrived puts an entry that was read ahead into the table. One that does not exist
// becomes a tombstone that nobody has to write: its record need not ask again.
func (t *tbl[V]) arrived(hash, word uint64, enc, value []byte, ok bool) error {
	g := t.segmentFor(hash)
	at, known := t.find(g, hash, word, enc)
	if known && !t.partial(g, at) {
		return nil
	}
	var payload, b []byte
	var v V
	var err error
	if ok {
		if payload, err = t.values.Open(value); err != nil {
			return err
		}
	}
	if known {
		return t.hooks.tails.complete(g, at, payload, ok)
	}
	if ok {
		if v, b, err = t.hooks.decode(payload); err != nil {
			return err
		}
	}
	t.gen = 0
	sl := t.createAt(hash, word, enc, 0)
	sl.val = v
	sl.meta |= flagStored
	if ok {
		t.store(t.seg, t.at, b)
	} else {
		t.bury(sl)
	}
	if p := &t.sample; !p.valid {
		*p = sample{hash, word, append(p.enc[:0], enc...), true}
	}
	return nil
}
