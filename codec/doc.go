// Package codec turns the values of user types into bytes and back: records on
// the wire, state in tables and runs, and keys.
//
// It owns two layouts that are persisted for ever (format.go has them in words):
// values, compact and fixed-width little endian, and keys, self-delimiting and
// ordered as the values are. Both are decided once for each type, by reflection,
// into a plan of field offsets; nothing is reflected for each record.
//
// It never keeps what it is given: decoded strings and byte slices are fresh
// memory (one copy for a whole batch), never views of the caller's buffer. Hostile
// input gives an error, never a panic or an allocation beyond a small multiple of
// the input.
//
// Codecs are immutable and may be used from any goroutine.
//
// Read format.go first, then codec.go, then key.go.
package codec
