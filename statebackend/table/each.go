package table

import (
	"fmt"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// Key is a key as Each hands it out.
type Key struct {
	Hash uint64
	Word uint64 // if keys are words
	Enc  []byte // if they are bytes; valid during the call
}

// Bundles is the number of bundles that Each is asked for one by one: a caller that
// goes through all keys can pause between them.
func (v *Value[V]) Bundles() int {
	switch {
	case v.inline != nil:
		return v.inline.s.bundles
	case v.coded != nil:
		return v.coded.s.bundles
	}
	unbound(v.name)
	return 0
}

// Each calls f once for each key of bundle b (0 … Bundles−1) that has a value, in
// no particular order. It does not change the current key, and f must not change
// the state. An error of f ends it.
func (v *Value[V]) Each(b int, f func(k Key, x V) error) error {
	if t := v.inline; t != nil {
		return each(t, b,
			func(k Key, g *segment[V], at int) error { return f(k, g.slots[at].val) },
			func(k Key, payload []byte) error { return v.eachCold(k, payload, f) })
	}
	t := v.coded
	if t == nil {
		unbound(v.name)
	}
	return each(t, b,
		func(k Key, g *segment[ref], at int) error {
			x, err := decodeAll(v.c, g.valueOf(&g.slots[at].val))
			if err != nil {
				return fmt.Errorf("decode state %q: %w: %w", v.name, statebackend.ErrCorrupt, err)
			}
			return f(k, x)
		},
		func(k Key, payload []byte) error { return v.eachCold(k, payload, f) })
}

func (v *Value[V]) eachCold(k Key, payload []byte, f func(k Key, x V) error) error {
	x, err := decodeAll(v.c, payload)
	if err != nil {
		return fmt.Errorf("decode state %q from the cold tier: %w: %w", v.name, statebackend.ErrCorrupt, err)
	}
	return f(k, x)
}

// each walks bundle b: the live slots of the table, then what only the cold tier
// has (what the table knows, tombstones too, is newer).
func each[V any](t *tbl[V], b int, hot func(k Key, g *segment[V], at int) error, cold func(k Key, payload []byte) error) (err error) {
	width := t.s.opt.KeyWidth
	t.segments(b, func(g *segment[V]) {
		for at := range g.slots {
			sl := &g.slots[at]
			if err != nil || sl.meta&(flagUsed|flagGone) != flagUsed {
				continue
			}
			var k Key
			if t.words {
				k = Key{Hash: codec.HashWord(sl.key, width), Word: sl.key}
			} else {
				k.Enc = g.keyOf(sl)
				k.Hash = codec.HashBytes(k.Enc)
			}
			err = hot(k, g, at)
		}
	})
	if err != nil || !t.s.spilled[b] {
		return err
	}
	groups := t.s.groupsOf(b)
	for group := int(groups.First); group <= int(groups.Last) && err == nil; group++ {
		prefix := appendPrefix(nil, stream.KeyGroup(group), t.d.ID)
		scanned := t.s.opt.Cold.Scan(prefix, func(key, value []byte) bool {
			k := Key{Enc: key[prefixLen:], Hash: codec.HashBytes(key[prefixLen:])}
			var known bool
			if g := t.segment(k.Hash); g != nil && t.words {
				_, known = g.findWord(k.Hash, wordOf(k.Enc))
			} else if g != nil {
				_, known = g.findBytes(k.Hash, k.Enc, 0)
			}
			if known {
				return true
			}
			if t.words {
				k.Word, k.Enc = wordOf(k.Enc), nil
			}
			var payload []byte
			if payload, err = t.values.Open(value); err != nil {
				err = fmt.Errorf("read state %q from the cold tier: %w", t.d.Name, err)
				return false
			}
			err = cold(k, payload)
			return err == nil
		})
		if scanned != nil && err == nil {
			err = fmt.Errorf("read state %q from the cold tier: %w", t.d.Name, scanned)
		}
	}
	return err
}
