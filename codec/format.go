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
//	map[K]V            length as uvarint, then pairs sorted by the encoded key
//	*T                 1 byte: 0 nil, 1 followed by the value
//	struct             its fields in order of declaration; embedded structs in place
//
// Keys (Key), self-delimiting, compared as bytes they order as the values do:
//
//	bool               1 byte
//	uintN              N/8 bytes, big endian
//	intN               the same with the sign bit flipped
//	float32, float64   big endian bits; negative: all flipped, else the sign bit;
//	                   −0 is 0, and every NaN is the one quiet NaN
//	string, []byte     each 00 becomes 00 FF; the end is 00 01
//	time.Time          as int64 seconds, then uint32 nanoseconds
//	[N]T, struct       part by part
//
// A key's hash is xxh3-64 (seed 0) of these bytes.

// FormatVersion is the first byte of every Schema.
const FormatVersion = 1
