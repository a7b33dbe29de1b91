package table

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// prefixLen is the length of group and state id at the head of a full key.
const prefixLen = 6

// Load puts an entry of a run into the table, clean. It ignores keys outside the
// store's range and states that were not declared. Handles must not have been
// used.
func (s *Store) Load(key, value []byte) error { return s.load(key, value, false) }

// load is Load; with again, what the table knows of the key stays.
func (s *Store) load(key, value []byte, again bool) error {
	if len(key) < prefixLen {
		return fmt.Errorf("key of %d bytes in a run: %w", len(key), statebackend.ErrCorrupt)
	}
	group := stream.KeyGroup(binary.BigEndian.Uint16(key))
	if !s.opt.Range.Contains(group) {
		return nil
	}
	id := statebackend.StateID(binary.BigEndian.Uint32(key[2:]))
	for _, t := range s.states {
		if t.desc().ID != id {
			continue
		}
		if again && t.resident() && !s.timers.in(s.bundleOfGroup(group)) {
			return nil
		}
		if err := t.load(group, key[prefixLen:], value, again); err != nil {
			return fmt.Errorf("load state %q, key %x: %w", t.desc().Name, key, err)
		}
		return s.err
	}
	return nil
}

// resident reports whether the state is in memory as a whole, once it is loaded.
func (t *tbl[V]) resident() bool { return t.hooks.pinned }

func (t *tbl[V]) opened(b int) {
	if t.hooks.opened != nil {
		t.hooks.opened(b)
	}
}

func (t *tbl[V]) load(group stream.KeyGroup, rest, value []byte, again bool) error {
	payload, err := t.values.Open(value)
	if err != nil {
		return err
	}
	v, b, err := t.hooks.decode(payload)
	if err != nil {
		return fmt.Errorf("decode value: %w: %w", statebackend.ErrCorrupt, err)
	}
	user, key, mix := rest, rest, uint64(0)
	if t.hooks.split != nil {
		if user, key, mix, err = t.hooks.split(t.s.ns[:0], rest); err != nil {
			return fmt.Errorf("take key apart: %w: %w", statebackend.ErrCorrupt, err)
		}
	}
	width := t.s.opt.KeyWidth
	if width > 0 && len(user) != width {
		return fmt.Errorf("key of %d bytes, want %d: %w", len(user), width, statebackend.ErrCorrupt)
	}
	hash := xxh3.Hash(user)
	if groupOf(hash) != group {
		return fmt.Errorf("key of group %d lies in group %d: %w", groupOf(hash), group, statebackend.ErrCorrupt)
	}
	own := hash
	if t.hooks.split != nil {
		own = mixHash(hash, mix)
	}
	t.gen = 0 // the slot where the current key would go may be taken
	g := t.reserve(own, max(1, t.hooks.slots), len(key))
	var word uint64
	if t.words {
		word = wordOf(user)
	}
	at, ok := t.find(g, own, word, key)
	switch {
	case ok && again && t.partial(g, at):
		return t.hooks.tails.complete(g, at, payload, true)
	case ok && again:
		return nil
	case ok:
		return fmt.Errorf("key occurs twice: %w", statebackend.ErrCorrupt)
	}
	at = t.put(g, own, word, key, 0)
	g.slots[at].val = v
	g.slots[at].meta |= flagStored
	t.store(g, at, b)
	if t.hooks.loaded != nil {
		t.hooks.loaded(g, at, user, hash)
	}
	return nil
}

// mixHash is the hash of a slot found by a key and something more: the bits that
// choose group and segment are the key's.
func mixHash(hash, mix uint64) uint64 { return hash&^probeMask | (hash^mix)&probeMask }
