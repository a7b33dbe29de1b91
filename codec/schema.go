package codec

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Schema describes a layout in canonical bytes. It is stored with every snapshot.
// The bytes are laid out as format.go says.
type Schema []byte

// Kinds of schema. NB: persisted.
const (
	valueSchema = 1
	keySchema   = 2
)

// NewSchema is the schema of a codec that a user wrote: the name and the version of
// the type, and a text that differs whenever the layout does. A text of the form
// struct{Name type;Name type} is understood by SchemaInfo.Fields.
func NewSchema(name string, version uint64, layout string) Schema {
	return encodeSchema(valueSchema, name, version, layout)
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
	if k <= 0 || k > 1 && s[d.pos+k-1] == 0 {
		return SchemaInfo{}, fmt.Errorf("version of schema: %w", ErrMalformed)
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

// Field is a field of a struct's schema.
type Field struct {
	Name string
	Type string // description of its layout, such as []struct{ID uint64}
}

// Fields are the fields of a struct in the order of the layout, those of embedded
// structs in place; nil if the description is not one of a struct.
func (i SchemaInfo) Fields() []Field {
	text, ok := strings.CutPrefix(i.Description, "struct{")
	if !ok || !strings.HasSuffix(text, "}") || text == "}" {
		return nil
	}
	text = text[:len(text)-1]
	var fields []Field
	depth, from := 0, 0
	for at := 0; at <= len(text); at++ {
		switch {
		case at == len(text) || text[at] == ';' && depth == 0:
			name, kind, ok := strings.Cut(text[from:at], " ")
			name, _, _ = strings.Cut(name, "<")
			if !ok || depth != 0 {
				return nil
			}
			fields = append(fields, Field{name, kind})
			from = at + 1
		case text[at] == '{':
			depth++
		case text[at] == '}':
			depth--
		}
	}
	return fields
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
	Migrate                               // values are changed as they are read: see Codec.From
	Incompatible                          // cannot be read
)

func (c Compatibility) String() string {
	switch c {
	case AsIs:
		return "as is"
	case Migrate:
		return "migrate"
	case Incompatible:
		return "incompatible"
	}
	return fmt.Sprintf("Compatibility(%d)", uint8(c))
}

// Compatible compares the schema that wrote some bytes with the one that is to
// read them, and says why where the answer is not AsIs: what has to be migrated, or why
// it can't be. Names of types that the program did not give with Struct or Custom don't
// matter, layouts do. Keys never change.
func Compatible(writer, reader Schema) (Compatibility, string) {
	notes, _, err := evolve(writer, reader, nil)
	switch {
	case err != nil:
		return Incompatible, err.Error()
	case notes == nil:
		return AsIs, ""
	}
	if more := len(notes) - maxNotes; more > 0 {
		notes = append(notes[:maxNotes:maxNotes], fmt.Sprintf("and %d more", more))
	}
	return Migrate, strings.Join(notes, "; ")
}

// maxNotes bounds how many fields a message names.
const maxNotes = 8

// moverOf is Codec.From.
func moverOf(writer, reader Schema, types *Types) (Mover, error) {
	if types == nil {
		types = &Types{}
	}
	notes, m, err := evolve(writer, reader, types)
	if err != nil || notes == nil {
		return nil, err
	}
	return func(dst, src []byte) ([]byte, int, error) {
		d := decoder{src: src}
		out, err := m.move(&d, dst)
		if err != nil {
			return dst, 0, err
		}
		return out, d.pos, nil
	}, nil
}

// evolve returns how values of writer become values of reader, and what changes on the
// way: nil notes if they are the same. Without types the mover can't be used.
func evolve(writer, reader Schema, types *Types) (notes []string, m mover, err error) {
	w, err := writer.Parse()
	if err != nil {
		return nil, nil, fmt.Errorf("the stored %w", err)
	}
	r, err := reader.Parse()
	if err != nil {
		return nil, nil, fmt.Errorf("the program's %w", err)
	}
	switch {
	case w.Key != r.Key:
		return nil, nil, cannot("", "one is the schema of a key, the other of a value")
	case w.Description == r.Description && w.Version == r.Version:
		return nil, nil, nil
	case w.Version != r.Version:
		return nil, nil, cannot("", "stored as version %d of %s, the program has version %d", w.Version, w.TypeName, r.Version)
	case w.Key:
		return nil, nil, cannot("", "stored under keys %s, the program has %s: keys can't change", w.Description, r.Description)
	}
	from, err := parseLayout(w.Description)
	if err != nil {
		return nil, nil, fmt.Errorf("the stored schema of %s: %w", w.TypeName, err)
	}
	to, err := parseLayout(r.Description)
	if err != nil {
		return nil, nil, fmt.Errorf("the program's schema of %s: %w", r.TypeName, err)
	}
	if from.text == to.text {
		return nil, nil, nil
	}
	e := evolution{types: types}
	m, err = e.from(from, to, "")
	if err != nil {
		return nil, nil, err
	}
	if len(e.notes) == 0 {
		e.notes = []string{fmt.Sprintf("the fields of %s have another order", r.TypeName)}
	}
	return e.notes, m, nil
}
