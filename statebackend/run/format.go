package run

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

// The format of a run, version 2. NB: persisted; nothing here may change, only be
// added under a new version. Version 1 is read, too: it has no operands, no lists in pieces
// and no count of operands in its property.
//
// A run's files are SSTables of Pebble's table format 7 (columnar blocks, block
// checksums crc32c, footer checksum, comparer "leveldb.BytewiseComparator": the order
// of bytes), without value blocks, blob references or range keys, with a Bloom filter of
// the keys ("rocksdb.BuiltinBloomFilter") or none, which this package ignores, every
// sequence number 0, so that Pebble's Ingest takes them as they are. The name of the
// merger in them is MergerName. Blocks are compressed with snappy or not at all; a reader takes whatever the table format
// knows.
//
// A key is
//
//	bytes 0-1  key group, big endian
//	bytes 2-5  state id, big endian
//	…          key, self-delimiting and order-preserving; then a map's namespace.
//	           Of a timer: time (8 bytes, big endian, sign bit flipped), key
//
// and this package sees only the key group. Kinds: SET (a value), DELETE (a
// tombstone, no value), MERGE (an operand of appends: a list's value whose elements come
// behind those of older runs), range deletion [start, end) (hides only older runs).
// The points of a run lie above its range deletions. How operands are joined stands in
// operand.go.
//
// A value begins with an envelope: package statebackend/envelope has its layout, which is of the
// same version.
//
// The table property "weir.run" (Pebble puts one byte of its own before it) is
//
//	byte       format version: 2
//	string     id of the run (string: uvarint length, bytes)
//	uvarint    number of the file in the run, from 0
//	string     name of the hash that key groups come from: "xxh3-64/seed0"
//	2 × 2      first and last key group of the file, big endian
//	uvarint    points in the file
//	uvarint    operands among them (not in version 1)
//	uvarint    range deletions in the file
//	uvarint    schemas in the run's table, then of each: uvarint state id, string schema
//
// Digests, in _metadata, are xxh3-128 with seed 0, 16 bytes big endian: of the whole
// file, and of its tail, which begins behind the last data block. They find damage
// and mistakes, not an attacker: xxh3-128 takes 1 ns for 18 bytes, SHA-256 ten times
// as long.

// FormatVersion is what Writer writes.
const FormatVersion = 2

const (
	propertyName = "weir.run"
	// keyPrefix is the length of key group and state id.
	keyPrefix = 6
	// DigestSize is the length of a digest in bytes.
	DigestSize = 16
)

// Kind is the kind of an entry.
type Kind uint8

// The kinds of entries.
const (
	KindSet    Kind = 1 // Key has Value
	KindDelete Kind = 2 // Key has no value; hides older ones
	KindClear  Kind = 3 // of Key to Value (exclusive) older runs hold nothing
	KindMerge  Kind = 4 // Value, a list's, comes behind what older runs say of Key
)

// Entry is one entry of a run. Its bytes belong to who handed it out and are valid
// until the next call there.
type Entry struct {
	Key   []byte
	Value []byte // of a KindClear: the end, exclusive
	Kind  Kind
}

// Schema is one entry of a run's schema table.
type Schema struct {
	State statebackend.StateID
	Bytes []byte
}

// Group is the key group of a key.
func Group(key []byte) stream.KeyGroup { return stream.KeyGroup(binary.BigEndian.Uint16(key)) }

// GroupStart is the smallest key of group g.
func GroupStart(g stream.KeyGroup) []byte {
	return binary.BigEndian.AppendUint16(nil, uint16(g))
}

// lastEnd is above every key of the last group.
var lastEnd = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// GroupEnd is above every key of group g and not above any of the next. State id
// 2³²-1 is never given out.
func GroupEnd(g stream.KeyGroup) []byte {
	if g == math.MaxUint16 {
		return lastEnd
	}
	return GroupStart(g + 1)
}

// lastGroup is the last group of the keys below end.
func lastGroup(end []byte) stream.KeyGroup {
	if g := Group(end); len(end) > 2 || g == 0 {
		return g
	} else {
		return g - 1
	}
}

// properties are the contents of the table property "weir.run".
type properties struct {
	ID       string
	Number   int
	Groups   stream.KeyGroupRange
	Points   uint64
	Operands uint64 // of the points
	Spans    uint64
	Schemas  []Schema
}

func appendString[S string | []byte](dst []byte, s S) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (p *properties) append(dst []byte) []byte {
	dst = append(dst, FormatVersion)
	dst = appendString(dst, p.ID)
	dst = binary.AppendUvarint(dst, uint64(p.Number))
	dst = appendString(dst, stream.HashName)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.Groups.First))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.Groups.Last))
	dst = binary.AppendUvarint(dst, p.Points)
	dst = binary.AppendUvarint(dst, p.Operands)
	dst = binary.AppendUvarint(dst, p.Spans)
	dst = binary.AppendUvarint(dst, uint64(len(p.Schemas)))
	for _, s := range p.Schemas {
		dst = binary.AppendUvarint(dst, uint64(s.State))
		dst = appendString(dst, s.Bytes)
	}
	return dst
}

// decoder reads the fields of the properties.
type decoder struct{ envelope.Decoder }

func (d *decoder) uint16() uint16 {
	if b := d.Bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// decodeProperties is the inverse of append. What it returns does not alias b.
func decodeProperties(b []byte) (p properties, err error) {
	if len(b) == 0 {
		return p, fmt.Errorf("the table has no property %q: not a run: %w", propertyName, ErrCorrupt)
	}
	if b[0] < 1 || b[0] > FormatVersion {
		return p, fmt.Errorf("run format %d is not known (this version reads 1 to %d): %w", b[0], FormatVersion, ErrFormat)
	}
	d := decoder{envelope.Decoder{Rest: b[1:]}}
	p.ID = string(d.Bytes(d.Uvarint()))
	p.Number = int(min(d.Uvarint(), math.MaxInt32))
	hash := string(d.Bytes(d.Uvarint()))
	p.Groups = stream.KeyGroupRange{First: stream.KeyGroup(d.uint16()), Last: stream.KeyGroup(d.uint16())}
	p.Points = d.Uvarint()
	if b[0] > 1 {
		p.Operands = d.Uvarint()
	}
	p.Spans = d.Uvarint()
	n := d.Uvarint()
	if n > uint64(len(d.Rest)) { // each takes two bytes or more
		d.Failed = true
	}
	for i := uint64(0); i < n && !d.Failed; i++ {
		id := d.Uvarint()
		if id > math.MaxUint32 {
			d.Failed = true
		}
		p.Schemas = append(p.Schemas, Schema{statebackend.StateID(id), append([]byte(nil), d.Bytes(d.Uvarint())...)})
	}
	switch {
	case d.Failed, len(d.Rest) > 0, p.Groups.First > p.Groups.Last, p.Operands > p.Points:
		return properties{}, fmt.Errorf("property %q of %d bytes does not decode: %w", propertyName, len(b), ErrCorrupt)
	case hash != stream.HashName:
		return properties{}, fmt.Errorf("key groups come from hash %.40q, this version knows %q: %w", hash, stream.HashName, ErrFormat)
	}
	return p, nil
}

// digest is the xxh3-128 of b.
func digest(b []byte) []byte {
	d := xxh3.Hash128(b).Bytes()
	return d[:]
}
