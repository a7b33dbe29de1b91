package codec

// The layouts, version 1. NB: persisted; a change needs a new version.
//
// Values (Codec):
//
//	bool               1 byte, 0 or 1
//	intN, uintN        N/8 bytes, little endian; int and uint are 8 bytes
//	float32, float64   IEEE bits, little endian
//	string, []byte     length as uvarint, then the bytes; a nil slice is length 0
//	time.Time          8 bytes seconds since year 1 UTC + 4 bytes nanoseconds;
//	                   the instant is kept, location and monotonic clock are not
//	[N]T               N values
//	[]T                length as uvarint, then the values; nil is length 0
//	map[K]V            length as uvarint, then pairs key, value sorted by the bytes
//	                   of the key; nil is length 0. Of keys that are equal once
//	                   decoded (one instant in two locations) the last stays
//	*T                 1 byte: 0 nil, 1 followed by the value
//	struct             its fields in order of declaration, without padding; embedded
//	                   structs in place; fields tagged weir:"-" and named _ left out
//
// A uvarint has no padding: its last byte is 0 only if it is the only one. Named
// types are laid out as what they are made of.
//
// Keys (Key), self-delimiting, compared as bytes they order as the values do:
//
//	bool               1 byte, 0 or 1
//	uintN              N/8 bytes, big endian
//	intN               the same with the sign bit flipped
//	float32, float64   big endian bits; negative: all flipped, else the sign bit;
//	                   −0 is 0, and every NaN is the one quiet NaN
//	string, []byte     each 00 becomes 00 FF; the end is 00 01
//	time.Time          as int64 seconds, then uint32 nanoseconds
//	[N]T, struct       part by part, embedded structs in place; fields named _ left out
//
// A decoder refuses every other byte string, so equal keys are equal bytes. A key's
// hash is xxh3-64 (seed 0) of these bytes. A key whose every encoding has W ≤ 8 bytes
// is also a word: the encoding as a big-endian integer, right-aligned, the other
// 8 − W bytes 0; words order as keys do.
//
// Schema (of values and keys):
//
//	byte               FormatVersion
//	byte               1 value, 2 key
//	text               name of the Go type without its package, for people
//	uvarint            version of a layout that is not described as below, else 0
//	text               description; a text is its length as uvarint, then UTF-8
//
// Description, by which layouts are compared:
//
//	bool int8 … uint64 float32 float64 string bytes time    (int is int64, uint uint64)
//	[N]T  []T  map[K]V  *T
//	struct{Name T;Name T}      fields of embedded structs in place; each name once
//	struct{Name<Old,Older> T}  the field had other names: what a reader says
//	@name/V(T)                 a type that the program has named (Struct), version V; its
//	                           values are as T says
//	@name/V(custom)            the same with a codec of the user's own (Custom): its bytes
//	                           behind their length as uvarint
//	@name/V(T<U(T)><W(T)>)     it reads the versions U and W too: what a reader says
//	proto(name){N kind;N kind} a pointer to a protocol buffer: 1 byte 0 nil, 1 followed by
//	                           its length as uvarint and its own encoding. Fields by
//	                           number; kind is package protobuf's or a message's name,
//	                           "repeated " before it, of a map "repeated map K to V"
//
// Layouts are the same if they are without what only readers say.

// FormatVersion is the first byte of every Schema.
const FormatVersion = 1
