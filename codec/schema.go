package codec

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

// Schema describes a layout in canonical bytes. It is stored with every snapshot.
//
// Layout: format version (1 byte), kind (1 byte), type name, user's version number
// (uvarint), description; the texts with their length as uvarint in front.
type Schema []byte

// Kinds of schema. NB: persisted.
const (
	valueSchema = 1
	keySchema   = 2
)

func newSchema(t reflect.Type, desc string) Schema {
	return encodeSchema(valueSchema, typeName(t), 0, desc)
}

func encodeSchema(kind byte, name string, version uint64, desc string) Schema {
	s := []byte{FormatVersion, kind}
	s = append(binary.AppendUvarint(s, uint64(len(name))), name...)
	s = binary.AppendUvarint(s, version)
	return append(binary.AppendUvarint(s, uint64(len(desc))), desc...)
}

// SchemaInfo is a decoded Schema.
type SchemaInfo struct {
	Key         bool
	TypeName    string // Go name of the type, without its package
	Version     uint64 // given by the user's codec; 0 for reflected ones
	Description string // canonical text of the layout, such as struct{ID uint64;Name string}
}

// Parse decodes s.
func (s Schema) Parse() (SchemaInfo, error) {
	if len(s) < 2 {
		return SchemaInfo{}, fmt.Errorf("schema of %d bytes: %w", len(s), ErrShort)
	}
	if s[0] != FormatVersion {
		return SchemaInfo{}, fmt.Errorf("schema has format version %d, this program knows %d: %w", s[0], FormatVersion, ErrMalformed)
	}
	if s[1] != valueSchema && s[1] != keySchema {
		return SchemaInfo{}, fmt.Errorf("schema kind %d: %w", s[1], ErrMalformed)
	}
	d := decoder{src: s, pos: 2}
	info := SchemaInfo{Key: s[1] == keySchema}
	var err error
	if info.TypeName, err = d.string(); err != nil {
		return SchemaInfo{}, fmt.Errorf("type name of schema: %w", err)
	}
	v, k := binary.Uvarint(s[d.pos:])
	if k <= 0 {
		return SchemaInfo{}, fmt.Errorf("version of schema: %w", ErrShort)
	}
	info.Version = v
	d.pos += k
	if info.Description, err = d.string(); err != nil {
		return SchemaInfo{}, fmt.Errorf("description of schema: %w", err)
	}
	if d.pos != len(s) {
		return SchemaInfo{}, fmt.Errorf("schema has %d bytes too many: %w", len(s)-d.pos, ErrMalformed)
	}
	return info, nil
}

// String is the schema in words.
func (s Schema) String() string {
	info, err := s.Parse()
	if err != nil {
		return fmt.Sprintf("schema %x (%v)", []byte(s), err)
	}
	return fmt.Sprintf("%s v%d %s", info.TypeName, info.Version, info.Description)
}

// Compatibility says what a reader must do with bytes of a writer's schema.
type Compatibility uint8

// Answers of Compatible.
const (
	AsIs         Compatibility = iota + 1 // the layouts are the same
	Migrate                               // another version of the same type: values need its upgrades
	Incompatible                          // cannot be read
)

// Compatible compares the schema that wrote some bytes with the one that is to
// read them, and says why where the answer is not AsIs. The type's name does not
// matter, its layout does.
func Compatible(writer, reader Schema) (Compatibility, string) {
	w, err := writer.Parse()
	if err != nil {
		return Incompatible, "the stored " + err.Error()
	}
	r, err := reader.Parse()
	if err != nil {
		return Incompatible, "the program's " + err.Error()
	}
	switch {
	case w.Key != r.Key:
		return Incompatible, "one is the schema of a key, the other of a value"
	case w.Version != r.Version:
		return Migrate, fmt.Sprintf("stored as version %d of %s, the program has version %d", w.Version, w.TypeName, r.Version)
	case w.Description != r.Description:
		return Incompatible, fmt.Sprintf("stored as %s %s, the program has %s %s", w.TypeName, w.Description, r.TypeName, r.Description)
	}
	return AsIs, ""
}
