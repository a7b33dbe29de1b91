package bloom

// Set is a set of hashes that may say yes to one that is not in it, in 1 of 80 cases. It
// grows by layers, each twice as large as the one before; nothing is taken out.
//
// A layer is a blocked Bloom filter: a hash sets and looks at probes bits of one
// block of 64 bytes, so that a look costs one cache miss a layer.
type Set struct {
	layers []layer
}

type layer struct {
	blocks [][8]uint64
	room   int // hashes that it may still take
}

const (
	probes = 6
	// blockRoom hashes go into a block of 512 bits: 10 bits each.
	blockRoom = 51
	// firstBlocks of the first layer are 1 KiB.
	firstBlocks = 16
)

// Add puts h into the set and returns by how many bytes that grew.
func (f *Set) Add(h uint64) (grew int64) {
	if f.Has(h) {
		return 0
	}
	n := len(f.layers)
	if n == 0 || f.layers[n-1].room == 0 {
		blocks := firstBlocks << n
		f.layers = append(f.layers, layer{make([][8]uint64, blocks), blocks * blockRoom})
		grew = int64(blocks) * 64
		n++
	}
	l := &f.layers[n-1]
	l.room--
	b := l.block(h)
	for i := range probes {
		bit := h >> (9 * i) & 511
		b[bit>>6] |= 1 << (bit & 63)
	}
	return grew
}

// Has reports whether h may be in the set.
func (f *Set) Has(h uint64) bool {
	for i := range f.layers {
		b := f.layers[i].block(h)
		hit := true
		for i := range probes {
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
func (l *layer) block(h uint64) *[8]uint64 {
	return &l.blocks[(h*0x9E3779B97F4A7C15)>>32&uint64(len(l.blocks)-1)]
}

// Bytes is what the set takes.
func (f *Set) Bytes() (n int64) {
	for i := range f.layers {
		n += int64(len(f.layers[i].blocks)) * 64
	}
	return n
}
