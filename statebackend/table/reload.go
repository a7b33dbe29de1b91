package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// loading is how far LoadSpilled has come. What it relies on:
//
//   - A key that the table does not know has its newest version below. So what the
//     table knows stays, tombstones too.
//   - A tombstone leaves the table only after its cut was ingested, and each Walk sees
//     all that was ingested: a key deleted meanwhile does not come back.
//   - What a partial value lacks is below, and comes by, or is asked for in the end: of a
//     bundle that is no longer spilled every value is whole.
//   - An entry evicted behind the position makes the bundle begin anew (DropClean), or
//     it would count as one that does not exist.
type loading struct {
	bundle int
	begun  bool
	next   []byte // full key to go on from, if begun
}

// loadBytes ends a slice of LoadSpilled early: large values take time to copy.
const loadBytes = 64 << 10

// walkCost is what the begin of a walk takes, in entries: ~10 µs.
const walkCost = 30

// timersBelow are the bundles whose timers the cold tier has and memory has not, and how
// far LoadTimers has come. It relies on what loading does. A timer that is registered
// meanwhile may be there twice, and one that is deleted leaves a tombstone.
type timersBelow struct {
	bundles []bool // nil: none
	left    int    // bundles
	state   int    // in Store.states
	group   int    // -1: the bundle has not begun
	next    []byte // full key to go on from; empty: from the group's first
}

func (l *timersBelow) in(b int) bool { return l.left > 0 && l.bundles[b] }

// mark says that the timers of all bundles are below.
func (l *timersBelow) mark(s *Store) {
	*l = timersBelow{group: -1}
	if slices.ContainsFunc(s.states, state.resident) {
		l.bundles, l.left = slices.Repeat([]bool{true}, s.bundles), s.bundles
	}
}

// TimersLoaded reports whether all timers are in memory. Until then the earliest may not
// be known: a watermark must not pass.
func (s *Store) TimersLoaded() bool { return s.timers.left == 0 }

// LoadTimers brings timers of the next bundles into memory, up to about limit of them.
// more says that some are left.
func (s *Store) LoadTimers(limit int) (more bool, err error) {
	l := &s.timers
	for limit > 0 && l.left > 0 {
		b := slices.Index(l.bundles, true)
		groups := s.groupsOf(b)
		if l.group < 0 {
			l.group, l.state, l.next = int(groups.First), 0, l.next[:0]
		}
		switch {
		case l.group > int(groups.Last):
			l.bundles[b], l.group = false, -1
			l.left--
			for _, t := range s.states {
				t.opened(b)
			}
		case l.state == len(s.states):
			l.group, l.state = l.group+1, 0
		case !s.states[l.state].resident():
			l.state++
		default:
			n, err := s.loadTimersOf(stream.KeyGroup(l.group), s.states[l.state].desc().ID, limit)
			if err != nil {
				return false, fmt.Errorf("load timers of key group %d from the cold tier: %w", l.group, err)
			}
			limit -= n + seekCost
		}
	}
	return l.left > 0, nil
}

// seekCost is what the search for a group's timers takes, in entries: ~3 µs.
const seekCost = 10

// loadTimersOf loads up to limit timers of a group, from where the last call ended.
func (s *Store) loadTimersOf(group stream.KeyGroup, id statebackend.StateID, limit int) (n int, err error) {
	l := &s.timers
	from := l.next
	if len(from) == 0 {
		from = appendPrefix(nil, group, id)
	}
	rest := false
	walk := s.opt.Cold.Walk(from, appendPrefix(nil, group, id+1), func(key, value []byte) bool {
		if n >= limit {
			l.next, rest = append(l.next[:0], key...), true
			return false
		}
		n++
		err = s.load(key, value, true)
		return err == nil
	})
	if err == nil {
		err = walk
	}
	if err == nil && !rest {
		l.next = l.next[:0]
		l.state++
	}
	return n, err
}

// LoadSpilled brings entries of spilled bundles back, clean: up to limit of them, or
// 64 KiB. A bundle of which all is in memory asks the cold tier no more. more says
// that there are others.
func (s *Store) LoadSpilled(limit int) (more bool, err error) {
	l := &s.loading
	for size := 0; limit > 0 && size < loadBytes; limit -= walkCost {
		for n := 0; n < s.bundles && !s.spilled[l.bundle]; n++ {
			l.bundle, l.begun = (l.bundle+1)%s.bundles, false
		}
		if !s.spilled[l.bundle] {
			return false, nil
		}
		n, bytes, err := s.loadBundle(limit, loadBytes-size)
		if err != nil {
			return false, fmt.Errorf("load key groups %v from the cold tier: %w", s.groupsOf(l.bundle), err)
		}
		limit -= n
		size += bytes
	}
	return true, nil
}

// loadBundle loads up to limit entries of the bundle that is being loaded.
func (s *Store) loadBundle(limit, limitBytes int) (n, size int, err error) {
	l := &s.loading
	groups := s.groupsOf(l.bundle)
	if !l.begun {
		l.begun, l.next = true, binary.BigEndian.AppendUint16(l.next[:0], uint16(groups.First))
	}
	rest := false
	walk := s.opt.Cold.Walk(l.next, endOf(groups.Last), func(key, value []byte) bool {
		if n >= limit || size >= limitBytes {
			l.next, rest = append(l.next[:0], key...), true
			return false
		}
		n++
		size += len(key) + len(value)
		err = s.load(key, value, true)
		return err == nil
	})
	if err == nil {
		err = walk
	}
	if err != nil || rest {
		return n, size, err
	}
	// Of a partial value that the walk did not come by nothing was below then; its own
	// operands may be by now. There are few: of keys that came meanwhile.
	l.next = append(l.next[:0], endOf(groups.Last)...)
	most := limit/walkCost + 1
	for _, t := range s.states {
		if t.completeBelow(l.bundle, most) == most {
			return limit, size, s.err
		}
	}
	if s.err == nil {
		s.spilled[l.bundle], l.begun = false, false
		s.forgetBelow(l.bundle)
	}
	return n, size, s.err
}

// completeBelow completes up to limit partial values of bundle b, and returns how many.
func (t *tbl[V]) completeBelow(b, limit int) (n int) {
	if t.hooks.tails == nil {
		return 0
	}
	t.segments(b, func(g *segment[V]) {
		for at := range g.slots {
			sl := &g.slots[at]
			if n == limit || sl.meta&(flagUsed|flagGone) != flagUsed || !t.partial(g, at) {
				continue
			}
			var key []byte
			if t.words {
				key = appendWord(t.s.ns[:0], sl.key, t.s.opt.KeyWidth)
			} else {
				key = g.keyOf(sl)
			}
			payload, ok := t.readCold(groupOf(sl.meta), key)
			if t.s.err != nil {
				return
			}
			if err := t.hooks.tails.complete(g, at, payload, ok); err != nil {
				t.s.fail(fmt.Errorf("load state %q from the cold tier: %w", t.d.Name, err))
				return
			}
			n++
		}
	})
	return n
}

// endOf is above every key of group g and not above any of the next.
func endOf(g stream.KeyGroup) []byte {
	if g == stream.AllKeyGroups.Last {
		return bytes.Repeat([]byte{0xff}, prefixLen) // state id 2³²-1 is never given out
	}
	return binary.BigEndian.AppendUint16(nil, uint16(g)+1)
}
