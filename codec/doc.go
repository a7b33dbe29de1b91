// Package codec turns the values of user types into bytes and back: records on
// the wire, state in tables and runs, and keys.
//
// It owns two layouts that are persisted for ever (format.go has them in words):
// values, compact and fixed-width little endian, and keys, self-delimiting and
// ordered as the values are. Both are decided once for each type, by reflection,
// into a plan of field offsets; nothing is reflected for each record.
//
// It never keeps what it is given: decoded strings and byte slices are fresh
// memory (one copy for all strings of a batch), never views of the caller's buffer.
// Hostile input gives an error, never a panic or an allocation beyond a multiple of
// the input that depends on the type only. What types and layouts turn into as programs change is decided
// from two schemas alone (Compatible), and done value by value (Codec.From): fields of
// structs go by their names, numbers may get wider, named types have versions and
// functions that read older ones (Struct, Up), or codecs of the user's own (Custom, Old).
//
// Supported are bool, integers, floats, string, []byte, time.Time, pointers to protocol
// buffers, and arrays, slices, maps, pointers and structs of supported types, named or not. An unexported
// field is an error unless tagged weir:"-": dropping state silently loses data.
// Keys are scalars, string, []byte, time.Time, and arrays and structs of keys.
//
// It starts no goroutine. Codecs are immutable and may be used from any.
//
// Invariants: equal keys are equal bytes and have equal hashes, in every process
// and for ever; no encoded key begins another; the layouts of format.go never change
// without another FormatVersion (testdata/golden.v1.txt holds them).
//
// Read format.go first, then codec.go (the interface), plan.go and walk.go (values),
// key.go and keyplan.go (keys), hash.go; schema.go, layout.go, evolve.go and move.go
// (evolution), types.go (named types).
package codec
