package table

// Warm touches the slots where keys with these hashes stand or would stand. The
// table of a million keys does not fit the processor's caches; a record that waits
// for its slot alone costs ~100 ns, while the loads of a loop like this overlap.
func (s *Store) Warm(hashes []uint64) {
	for _, t := range s.states {
		s.warmed ^= t.warm(hashes)
	}
}

// warmFrom is the size of a table, in bytes, from which touching ahead pays: less
// stays in the second-level cache anyway.
const warmFrom = 1 << 20

func (t *tbl[V]) warm(hashes []uint64) (x uint64) {
	if t.mem < warmFrom || t.hooks.apart {
		return 0
	}
	s := t.s
	for _, h := range hashes {
		b := s.bundleOf(h)
		if uint(b) >= uint(len(t.dirs)) {
			continue // not ours: the record will fail the attempt
		}
		if d := &t.dirs[b]; d.segs != nil {
			g := d.segs[h>>dirShift&d.mask]
			x ^= g.slots[h&probeMask&g.mask].meta
		}
	}
	return x
}
