package table

import "github.com/weirstream/weir/statebackend"

// filter is a set of hashes that may say yes to one that is not in it, in 1 of 80 cases. It
// grows by layers, each twice as large as the one before; nothing is taken out.
//
// A layer is a blocked Bloom filter: a hash sets and looks at filterProbes bits of one
// block of 64 bytes, so that a look costs one cache miss a layer.
type filter struct {
	layers []filterLayer
}

type filterLayer struct {
	blocks [][8]uint64
	room   int // hashes that it may still take
}

const (
	filterProbes = 6
	// blockRoom hashes go into a block of 512 bits: 10 bits each.
	blockRoom = 51
	// firstBlocks of the first layer are 1 KiB.
	firstBlocks = 16
)

// add puts h into the set and returns by how many bytes the filter grew.
func (f *filter) add(h uint64) (grew int64) {
	if f.has(h) {
		return 0
	}
	n := len(f.layers)
	if n == 0 || f.layers[n-1].room == 0 {
		blocks := firstBlocks << n
		f.layers = append(f.layers, filterLayer{make([][8]uint64, blocks), blocks * blockRoom})
		grew = int64(blocks) * 64
		n++
	}
	l := &f.layers[n-1]
	l.room--
	b := l.block(h)
	for i := range filterProbes {
		bit := h >> (9 * i) & 511
		b[bit>>6] |= 1 << (bit & 63)
	}
	return grew
}

// has reports whether h may be in the set.
func (f *filter) has(h uint64) bool {
	for i := range f.layers {
		b := f.layers[i].block(h)
		hit := true
		for i := range filterProbes {
			bit := h >> (9 * i) & 511
			hit = hit && b[bit>>6]&(1<<(bit&63)) != 0
		}
		if hit {
			return true
		}
	}
	return false
}

// block is chosen by bits that say little of those that are set in it.
func (l *filterLayer) block(h uint64) *[8]uint64 {
	return &l.blocks[(h*0x9E3779B97F4A7C15)>>32&uint64(len(l.blocks)-1)]
}

func (f *filter) bytes() (n int64) {
	for i := range f.layers {
		n += int64(len(f.layers[i].blocks)) * 64
	}
	return n
}

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
	return f == nil || f.has(belowHash(hash, t.d.ID))
}

// mayHaveBelow reports whether the cold tier may have entries of the map of the key with
// that hash.
func (t *tbl[V]) mayHaveBelow(g *segment[V], hash uint64) bool {
	s := t.s
	if !s.spilled[g.bundle] {
		return false
	}
	f := s.below[g.bundle]
	return f == nil || f.has(keyHash(hash, t.d.ID))
}

// noteBelow notes an entry that leaves memory for the cold tier.
func (t *tbl[V]) noteBelow(b int, meta uint64) {
	f := t.s.below[b]
	if f == nil {
		return
	}
	t.s.memory += f.add(belowHash(meta, t.d.ID))
	if t.hooks.split != nil {
		t.s.memory += f.add(keyHash(meta, t.d.ID))
	}
}

// forgetBelow lets a filter go: the cold tier holds nothing more of its bundle.
func (s *Store) forgetBelow(b int) {
	if f := s.below[b]; f != nil {
		s.memory -= f.bytes()
		s.below[b] = nil
	}
}
