package operator

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
)

// BroadcastMap is operator state that is the same in every subtask: a map that changes
// only by broadcast records, which all subtasks get in the same order. While others are
// processed it can be read and not changed. It stays in memory; a checkpoint has it once.
type BroadcastMap[K comparable, V any] struct {
	s    *Setup
	keys codec.Key[K]
	list *OperatorList[BroadcastEntry[K, V]]
	m    map[K]V
	// order is the keys in the order of their encodings; nil after a change.
	order []K
}

// BroadcastEntry is an element of a BroadcastMap as a snapshot has it.
type BroadcastEntry[K comparable, V any] struct {
	Key   K
	Value V
}

// BroadcastMap declares broadcast state.
func (s *Setup) BroadcastMap[K comparable, V any](name string) *BroadcastMap[K, V] {
	b := &BroadcastMap[K, V]{s: s, m: map[K]V{}}
	keys, err := codec.ForKey[K]()
	if err != nil {
		s.fail(fmt.Errorf("operator %q can't keep state %q: %w", s.o.UID, name, err))
		return b
	}
	b.keys, b.list = keys, listOf[BroadcastEntry[K, V]](s, name, metapb.StateKind_STATE_KIND_BROADCAST)
	for _, e := range b.list.items {
		b.m[e.Key] = e.Value
	}
	b.list.items = nil
	for i, l := range s.lists {
		if l == operatorState(b.list) {
			s.lists[i] = b
		}
	}
	return b
}

// Get is the value of k.
func (b *BroadcastMap[K, V]) Get(k K) (v V, ok bool) {
	v, ok = b.m[k]
	return v, ok
}

// Len is the number of keys.
func (b *BroadcastMap[K, V]) Len() int { return len(b.m) }

// All yields keys and values, in the same order in every subtask. The map must not be
// changed meanwhile.
func (b *BroadcastMap[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range b.sorted() {
			if !yield(k, b.m[k]) {
				return
			}
		}
	}
}

// Set gives k a value.
func (b *BroadcastMap[K, V]) Set(k K, v V) {
	if !b.change("Set") {
		return
	}
	if _, was := b.m[k]; !was {
		b.order = nil
	}
	b.m[k] = v
}

// Delete removes k.
func (b *BroadcastMap[K, V]) Delete(k K) {
	if b.change("Delete") {
		delete(b.m, k)
		b.order = nil
	}
}

// change reports whether the map may be changed now.
func (b *BroadcastMap[K, V]) change(what string) bool {
	if !b.s.broadcasting {
		b.s.o.Runtime.Fail(fmt.Errorf("operator %q: %s of broadcast state %q while a record is processed that only this subtask gets: "+
			"it would differ from the other subtasks'; change it in OnBroadcast", b.s.o.UID, what, b.list.name))
	}
	return b.s.broadcasting
}

func (b *BroadcastMap[K, V]) sorted() []K {
	if b.order == nil && len(b.m) > 0 {
		encoded := make(map[K][]byte, len(b.m))
		for k := range b.m {
			encoded[k] = b.keys.Append(nil, k)
			b.order = append(b.order, k)
		}
		slices.SortFunc(b.order, func(x, y K) int { return bytes.Compare(encoded[x], encoded[y]) })
	}
	return b.order
}

// snapshot implements operatorState. One subtask speaks for all.
func (b *BroadcastMap[K, V]) snapshot() *metapb.OperatorState {
	if b.s.o.Runtime.Subtask == 0 {
		for k, v := range b.All() {
			b.list.items = append(b.list.items, BroadcastEntry[K, V]{k, v})
		}
	}
	st := b.list.snapshot()
	b.list.items = nil
	return st
}

// Broadcasting says whether a broadcast record is being processed. For the runtime.
func (s *Setup) Broadcasting(on bool) { s.broadcasting = on }
