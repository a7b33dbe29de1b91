// Package table is the pointer-free table that serves keyed state, its dirty list
// and its cut.
//
// A Store holds the keyed states of one subtask. Each state has, for each bundle
// (a power-of-two block of key groups, 64 to 128 in a subtask), a directory of
// segments: open-addressing tables of at most 64 Ki slots that split when full.
// Slots hold no pointers, so the garbage collector never scans them; keys of bytes
// and encoded values lie in a byte slab of the segment. Nothing is allocated for a
// key group, and a bundle without entries costs 32 bytes.
//
// A cut: Freeze swaps each dirty segment's bitmaps (µs); CopyFrozen copies the
// frozen slots out raw in slices, and a slot about to change first; Cut.Encode
// sorts and encodes the copy in another goroutine. Until the cut is Durable its
// entries are neither evicted nor, if tombstones, dropped; Failed puts its keys
// back on the dirty list.
//
// To a list that is not in memory is appended without reading it: its slot has the tail
// only, and a cut writes that as an operand (list.go). A cut of a list that is in memory
// leaves out what runs hold already.
//
// A filter in memory says of a spilled bundle which keys the cold tier may have, as long
// as that is known: a key that was never evicted costs no read. Ahead and FetchAhead read
// the cold keys of the next records together.
//
// LoadSpilled brings a bundle's entries back from the cold tier in slices; what it
// relies on stands in reload.go.
//
// Goroutines: only the subtask's mailbox goroutine reads or writes a Store and its
// handles (Value, List, Map, Timers). Cut.Encode works on a copy and may run
// anywhere; codecs must therefore be safe for concurrent use.
//
// It does no I/O, knows no clock and starts no goroutine.
//
// Invariants: A2 (eviction never overtakes a cut), A5 (one goroutine), A7 (keys
// are prefix-free), I17 (restore ∘ snapshot = identity), I18 (a timer fires once).
//
// Handles do not return errors: the first one is kept (Store.Err) and told to
// Options.Fail, which stops the loop before the next record.
//
// Keys in a run: group (2 bytes, big endian), state id (4 bytes, big endian), key,
// namespace (a map's key); of a timer: group, state id, time (8 bytes, big endian,
// sign bit flipped), key. Values: see package envelope; those of older schemas: package evolution.
//
// Read store.go first, then segment.go, tbl.go, copied.go, cut.go and list.go.
package table
