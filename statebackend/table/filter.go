package table

import "github.com/weirstream/weir/statebackend"

// belowHash is what a filter knows a slot by: its hash, as far as slots keep it, and the
// state.
func belowHash(meta uint64, id statebackend.StateID) uint64 {
	x := meta&hashMask ^ uint64(id)*0xD6E8FEB86659FD93
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	return x ^ x>>32
}

// keyHash is that of a user's key which has a map: the bits that its entries share.
func keyHash(hash uint64, id statebackend.StateID) uint64 { return belowHash(hash&^probeMask, ^id) }

// mayBeBelow reports whether the cold tier may have an entry with that slot hash that g
// has not.
func (t *tbl[V]) mayBeBelow(g *segment[V], hash uint64) bool {
	s := t.s
	if !s.spilled[g.bundle] {
		return false
	}
	f := s.below[g.bundle]
	return f == nil || f.Has(belowHash(hash, t.d.ID))
}

// mayHaveBelow reports whether the cold tier may have entries of the map of the key with
// that hash.
func (t *tbl[V]) mayHaveBelow(g *segment[V], hash uint64) bool {
	s := t.s
	if !s.spilled[g.bundle] {
		return false
	}
	f := s.below[g.bundle]
	return f == nil || f.Has(keyHash(hash, t.d.ID))
}

// noteBelow notes an entry that leaves memory for the cold tier.
func (t *tbl[V]) noteBelow(b int, meta uint64) {
	f := t.s.below[b]
	if f == nil {
		return
	}
	t.s.memory += f.Add(belowHash(meta, t.d.ID))
	if t.hooks.split != nil {
		t.s.memory += f.Add(keyHash(meta, t.d.ID))
	}
}

// forgetBelow lets a filter go: the cold tier holds nothing more of its bundle.
func (s *Store) forgetBelow(b int) {
	if f := s.below[b]; f != nil {
		s.memory -= f.Bytes()
		s.below[b] = nil
	}
}
