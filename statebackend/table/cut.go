package table

import (
	"cmp"
	"errors"
	"slices"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// Cut is what one freeze caught: the entries changed since the one before, copied
// out raw. While it is being copied it belongs to the mailbox goroutine; then any
// one goroutine may call Encode.
type Cut struct {
	s     *Store
	seq   uint64
	tag   uint64 // 1..7, in slots that this cut copied
	parts []part // by state, in order of state id
	done  bool   // all entries are copied
	all   bool   // every entry is in it, so that none may be an operand
	full  bool   // it holds every entry there is
	want  int    // how many those are; -1: the cold tier may have more
}

// Sink takes the entries of a cut in key order.
type Sink interface {
	Set(key, value []byte) error
	// Merge is of a list whose elements come behind those in older runs.
	Merge(key, value []byte) error
	Delete(key []byte) error
}

// part is what a cut holds of one state.
type part interface {
	id() statebackend.StateID
	len() int
	live() int     // without tombstones
	operands() int // entries that need what older runs hold
	bytes() int64
	// bundle sorts the entries of bundle b and returns an iterator over them.
	bundle(b int) emitter
}

// emitter hands out the sorted entries of one state and bundle.
type emitter interface {
	// group is that of the next entry; ok is false at the end.
	group() (g stream.KeyGroup, ok bool)
	// emit writes the entries of group g, if those come next.
	emit(g stream.KeyGroup, e *encoder) error
}

// encoder holds the buffers of Encode.
type encoder struct {
	sink       Sink
	key, value []byte
}

// Len is the number of entries, tombstones included.
func (c *Cut) Len() int {
	n := 0
	for _, p := range c.parts {
		n += p.len()
	}
	return n
}

// Full reports whether the cut holds every entry that the store had: it needs no
// older run below it. Known when it is copied.
func (c *Cut) Full() bool { return c.full }

// Copied reports whether every entry has been copied out. Mailbox goroutine.
func (c *Cut) Copied() bool { return c.done }

// Encode writes the entries to sink, sorted: by group, state id, key. The cut must
// have been copied to its end.
func (c *Cut) Encode(sink Sink) error {
	if !c.done {
		panic("weir: BUG: cut encoded before it was copied")
	}
	e := &encoder{sink: sink}
	var live []emitter
	for b := range c.s.bundles {
		live = live[:0]
		for _, p := range c.parts {
			if em := p.bundle(b); em != nil {
				live = append(live, em)
			}
		}
		for {
			next, any := stream.KeyGroup(0), false
			for _, em := range live {
				if g, ok := em.group(); ok && (!any || g < next) {
					next, any = g, true
				}
			}
			if !any {
				break
			}
			for _, em := range live {
				if err := em.emit(next, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *Cut) bytes() (n int64) {
	for _, p := range c.parts {
		n += p.bytes()
	}
	return n
}

// Copies is the bytes that the cuts take which are neither durable nor failed.
func (s *Store) Copies() (n int64) {
	if s.flying == 0 {
		return 0
	}
	for _, c := range s.cuts {
		if c != nil {
			n += c.bytes()
		}
	}
	return n
}

const maxFlying = 6 // cuts neither durable nor failed; slot tags tell 7 apart

// errTooManyCuts: tags of cuts would be confused.
var errTooManyCuts = errors.New("too many cuts are being written")

// inFlight reports whether the slot's newest copy is in a cut that is neither
// durable nor failed. It may err on the side of yes.
func (s *Store) inFlight(meta uint64) bool { return s.flying>>(meta&tagMask>>tagShift)&1 != 0 }

// Freeze begins a cut: what is dirty now is in it, what is changed from here on is
// not. An unfinished copying is finished first. With full, what is clean is in it
// too, unless the cold tier holds more.
func (s *Store) Freeze(full bool) (*Cut, error) {
	for !s.CopyFrozen(1 << 20) {
	}
	s.seq++
	tag := s.seq%7 + 1
	if s.flying>>tag&1 != 0 || flyingCount(s.flying) >= maxFlying {
		s.seq--
		return nil, errTooManyCuts
	}
	s.flying |= 1 << tag
	c := &Cut{s: s, seq: s.seq, tag: tag, want: -1}
	if s.complete() {
		c.want = s.Entries()
	}
	c.all = full && c.want >= 0
	for _, t := range s.states {
		c.parts = append(c.parts, t.freeze(c.all))
	}
	s.cut, s.cuts[tag] = c, c
	return c, nil
}

// finish ends the copying: Encode may begin.
func (c *Cut) finish() {
	slices.SortFunc(c.parts, func(a, b part) int { return cmp.Compare(a.id(), b.id()) })
	live, operands := 0, 0
	for _, p := range c.parts {
		live += p.live()
		operands += p.operands()
	}
	c.full = live == c.want && operands == 0
	c.done = true
}

func flyingCount(m uint8) (n int) {
	for ; m != 0; m &= m - 1 {
		n++
	}
	return n
}

// CopyFrozen copies at most limit more entries of the cut out and reports whether
// none is left. 4,096 entries take about 50 µs.
func (s *Store) CopyFrozen(limit int) (done bool) {
	if s.cut == nil {
		return true
	}
	for _, t := range s.states {
		for limit > 0 {
			n, done := t.copyFrozen(limit)
			limit -= n
			if done {
				break
			}
		}
		if limit <= 0 {
			return false
		}
	}
	s.cut.finish()
	s.cut = nil
	return true
}

// Copying reports whether a cut has not been copied to its end.
func (s *Store) Copying() bool { return s.cut != nil }

// flies reports whether the cut with that number, of which cut are the low bits, is neither
// durable nor failed.
func (s *Store) flies(cut uint32) bool {
	if s.flying == 0 {
		return false
	}
	for _, c := range s.cuts {
		if c != nil && uint32(c.seq) == cut {
			return true
		}
	}
	return false
}

// Durable says that the cut's run is durable (and, with a cold tier, can be read
// through it): its entries are clean. Mailbox goroutine.
func (s *Store) Durable(c *Cut) { s.land(c) }

func (s *Store) land(c *Cut) {
	s.flying &^= 1 << c.tag
	s.cuts[c.tag] = nil
}

// Failed says that the cut's run will not be: its keys, deleted ones too, are dirty
// again. Mailbox goroutine.
func (s *Store) Failed(c *Cut) {
	if s.cut == c {
		for !s.CopyFrozen(1 << 20) {
		}
	}
	for _, p := range c.parts {
		for _, t := range s.states {
			if t.desc().ID == p.id() {
				t.requeue(p)
			}
		}
	}
	s.land(c)
}
