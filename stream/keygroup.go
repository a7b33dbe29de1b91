package stream

import "fmt"

// KeyGroups is the number of key groups of every job. It is part of every
// snapshot and never changes: there is no max parallelism to choose.
const KeyGroups = 1 << 16

// HashName names the hash that places keys, as every _metadata records it.
const HashName = "xxh3-64/seed0"

// KeyGroup is the unit in which keyed state is assigned to subtasks: the top 16
// bits of the hash of the encoded key. Tables index by the low bits, because the
// top ones are nearly constant inside a subtask.
type KeyGroup uint16

// GroupOf returns the key group of a key whose encoded form hashes to hash.
func GroupOf(hash uint64) KeyGroup { return KeyGroup(hash >> 48) }

// KeyGroupRange is a contiguous range of key groups, both ends included
// (65,536 does not fit an exclusive uint16 end).
type KeyGroupRange struct {
	First, Last KeyGroup
}

// AllKeyGroups is the range of a subtask that runs alone.
var AllKeyGroups = KeyGroupRange{0, KeyGroups - 1}

// SubtaskOf returns the subtask, of parallelism many, that owns group g:
// floor(g·parallelism / 65,536). It is the inverse of RangeOf.
func SubtaskOf(g KeyGroup, parallelism int) int {
	return int(uint64(g) * uint64(parallelism) >> 16)
}

// RangeOf returns the key groups owned by subtask, of parallelism many.
// Parallelism lies in [1, KeyGroups].
func RangeOf(subtask, parallelism int) KeyGroupRange {
	if parallelism < 1 || parallelism > KeyGroups || subtask < 0 || subtask >= parallelism {
		panic(fmt.Sprintf("weir: BUG: key-group range of subtask %d of %d", subtask, parallelism))
	}
	first := (subtask*KeyGroups + parallelism - 1) / parallelism
	next := ((subtask+1)*KeyGroups + parallelism - 1) / parallelism
	return KeyGroupRange{KeyGroup(first), KeyGroup(next - 1)}
}

// Contains reports whether g lies in r.
func (r KeyGroupRange) Contains(g KeyGroup) bool { return g >= r.First && g <= r.Last }

// Size is the number of key groups in r.
func (r KeyGroupRange) Size() int { return int(r.Last) - int(r.First) + 1 }

// Intersect returns the groups that r and o share; ok is false when there are none.
func (r KeyGroupRange) Intersect(o KeyGroupRange) (shared KeyGroupRange, ok bool) {
	shared = KeyGroupRange{max(r.First, o.First), min(r.Last, o.Last)}
	return shared, shared.First <= shared.Last
}

// String returns "[first,last]".
func (r KeyGroupRange) String() string { return fmt.Sprintf("[%d,%d]", r.First, r.Last) }
