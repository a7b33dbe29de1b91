package codec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// evolution finds out how values of one layout become values of another, and notes
// what is lost and what is new on the way.
type evolution struct {
	types *Types // nil: only whether it can be done
	notes []string
}

// cannot says why a layout can't become another; at is where, or "".
func cannot(at, format string, args ...any) error {
	if at != "" {
		at += " "
	}
	return errors.New(at + fmt.Sprintf(format, args...))
}

func (e *evolution) note(path, format string, args ...any) {
	if path != "" {
		path = "field " + path + " "
	}
	e.notes = append(e.notes, path+fmt.Sprintf(format, args...))
}

// becomes notes another type, if it is one.
func (e *evolution) becomes(w, r *layout, path string) {
	if w.text != r.text {
		e.note(path, "%s becomes %s", w.text, r.text)
	}
}

// from returns what moves values of w into r; path is where they stand in the whole
// value, "" for all of it.
func (e *evolution) from(w, r *layout, path string) (mover, error) {
	switch {
	case w.kind == layoutNamed || r.kind == layoutNamed:
		return e.named(w, r, path)
	case w.kind == r.kind:
		return e.alike(w, r, path)
	case r.kind == layoutPointer:
		e.becomes(w, r, path)
		m, err := e.from(w, r.elem, path)
		return &toPointer{m}, err
	case w.kind == layoutUint && r.kind == layoutInt && r.size > w.size,
		w.kind == layoutInt && r.kind == layoutFloat && mantissa(r) >= 8*w.size-1,
		w.kind == layoutUint && r.kind == layoutFloat && mantissa(r) >= 8*w.size:
		e.becomes(w, r, path)
		return &widen{w, r}, nil
	}
	return nil, e.differ(w, r, path)
}

func (e *evolution) differ(w, r *layout, path string) error {
	if path == "" {
		return cannot("", "stored as %s, the program has %s", w.text, r.text)
	}
	return cannot("field "+path, "is stored as %s, the program has %s", w.text, r.text)
}

// mantissa is how many bits of an integer a float holds exactly.
func mantissa(l *layout) int {
	if l.size == 4 {
		return 24
	}
	return 53
}

// alike is from for layouts of one kind.
func (e *evolution) alike(w, r *layout, path string) (mover, error) {
	switch w.kind {
	case layoutBool, layoutString, layoutTime:
		e.becomes(w, r, path)
		return &copied{w}, nil
	case layoutInt, layoutUint, layoutFloat:
		switch e.becomes(w, r, path); {
		case w.size == r.size:
			return &copied{w}, nil
		case w.size < r.size:
			return &widen{w, r}, nil
		}
	case layoutArray:
		if w.size == r.size {
			m, err := e.from(w.elem, r.elem, path+"[]")
			return &arrayMover{w, m}, err
		}
	case layoutSlice:
		m, err := e.from(w.elem, r.elem, path+"[]")
		return &sliceMover{nil, w.elem, m}, err
	case layoutMap:
		if w.key.text != r.key.text {
			return nil, e.differ(w, r, path)
		}
		m, err := e.from(w.elem, r.elem, path+"{}")
		return &sliceMover{w.key, w.elem, m}, err
	case layoutPointer:
		m, err := e.from(w.elem, r.elem, path)
		return &pointerMover{m}, err
	case layoutStruct:
		return e.structure(w, r, path)
	case layoutProto:
		return e.proto(w, r, path)
	}
	return nil, e.differ(w, r, path)
}

// structure matches the fields by name: of those of w, each goes to the one of r with its
// name or, if there is none, to the one that once had it.
func (e *evolution) structure(w, r *layout, path string) (mover, error) {
	m := &structMover{from: w.fields, parts: make([]structPart, len(r.fields))}
	taken := make([]bool, len(w.fields))
	var problems []string
	for i, f := range r.fields {
		at := w.field(f.name)
		for n := 0; at < 0 && n < len(f.was); n++ {
			if at = w.field(f.was[n]); at >= 0 && r.field(f.was[n]) >= 0 {
				at = -1 // another field has that name now
			}
		}
		if at < 0 {
			e.note(dot(path, f.name), "%s is new", f.typ.text)
			m.parts[i] = structPart{-1, nil, zero(nil, f.typ)}
			continue
		}
		if taken[at] {
			problems = append(problems, fmt.Sprintf("field %s and another one of the program both were %s", dot(path, f.name), w.fields[at].name))
			continue
		}
		taken[at] = true
		old := w.fields[at]
		if old.name != f.name {
			e.note(dot(path, f.name), "was %s", old.name)
		}
		part, err := e.from(old.typ, f.typ, dot(path, f.name))
		if err != nil {
			problems = append(problems, err.Error())
		}
		m.parts[i] = structPart{at, part, nil}
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	for i, f := range w.fields {
		if !taken[i] {
			e.note(dot(path, f.name), "%s is dropped", f.typ.text)
		}
	}
	if len(w.fields) > 0 && len(r.fields) > 0 && !slices.Contains(taken, true) {
		return nil, cannot("", "%sno field of the stored %s is in the program's %s", prefixed(path), w.text, r.text)
	}
	return m, nil
}

func dot(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func prefixed(path string) string {
	if path == "" {
		return ""
	}
	return "field " + path + ": "
}

// named is from where one of the layouts is a named type's.
func (e *evolution) named(w, r *layout, path string) (mover, error) {
	at := prefixed(path)
	switch {
	case r.kind != layoutNamed: // the program keeps it as what it is made of
		if w.elem == nil {
			return nil, cannot("", "%sstored as %s version %d, which only its own codec reads", at, w.name, w.version)
		}
		return e.from(w.elem, r, path)
	case w.kind == layoutNamed && w.name != r.name:
		return nil, cannot("", "%sstored as %s, the program keeps %s there", at, w.name, r.name)
	case w.kind == layoutNamed && w.version == r.version:
		switch {
		case w.elem == nil && r.elem == nil:
			return &copied{w}, nil
		case w.elem != nil && r.elem != nil:
			return e.from(w.elem, r.elem, path)
		}
		return nil, cannot("", "%s%s version %d is stored by another codec; give the new one another version", at, w.name, w.version)
	}
	version, stored := uint64(0), w
	if w.kind == layoutNamed {
		version, stored = w.version, w.elem
	}
	for _, o := range r.reads {
		if o.version == version {
			return e.older(w, r, o, stored, path)
		}
	}
	if w.kind != layoutNamed && r.elem != nil {
		return e.from(w, r.elem, path) // it had no name yet
	}
	return nil, cannot("", "%sstored as version %d of %s, the program has version %d and does not read the other one; add codec.Up(%d, …)",
		at, version, r.name, r.version, version)
}

// older is for values of another version that r reads.
func (e *evolution) older(w, r *layout, o older, stored *layout, path string) (mover, error) {
	if (o.layout == nil) != (stored == nil) {
		return nil, cannot("", "%sversion %d of %s is stored by another codec than the one that the program reads it with", prefixed(path), o.version, r.name)
	}
	var inner mover = &copied{w}
	if stored != nil {
		var err error
		if inner, err = e.from(stored, o.layout, path); err != nil {
			return nil, err
		}
	}
	e.notes = append(e.notes, fmt.Sprintf("%sversion %d of %s becomes version %d", prefixed(path), o.version, r.name, r.version))
	if e.types == nil {
		return inner, nil
	}
	convert, err := e.types.upgrade(r.name, o.version)
	return &upgraded{inner, convert}, err
}

// proto compares protocol buffers by the numbers of their fields: their own rules of
// what may change. The bytes stay.
func (e *evolution) proto(w, r *layout, path string) (mover, error) {
	if w.name != r.name {
		return nil, cannot("", "%sstored as message %s, the program keeps %s there", prefixed(path), w.name, r.name)
	}
	for _, f := range w.fields {
		i := r.field(f.name)
		switch {
		case i < 0:
			e.note(dot(path, f.name), "%s is dropped", f.wire)
		case f.wire == r.fields[i].wire:
		case !sameOnWire(f.wire, r.fields[i].wire):
			return nil, cannot(prefixed(path)+"field "+f.name+" of "+w.name, "is stored as %s, the program has %s", f.wire, r.fields[i].wire)
		default:
			e.note(dot(path, f.name), "%s becomes %s", f.wire, r.fields[i].wire)
		}
	}
	for _, f := range r.fields {
		if w.field(f.name) < 0 {
			e.note(dot(path, f.name), "%s is new", f.wire)
		}
	}
	return &copied{w}, nil
}

// sameOnWire reports whether a field may change from one kind to another without a
// change of what its bytes mean (protobuf.dev, "Updating a message type").
func sameOnWire(from, to string) bool {
	single, fromKind := cutCardinality(from)
	singleTo, toKind := cutCardinality(to)
	if !single && singleTo {
		return false // all but the last would be lost
	}
	wider := map[string][]string{
		"bool": {"int32", "int64", "uint32", "uint64"}, "enum": {"int32", "int64"},
		"int32": {"int64"}, "uint32": {"uint64", "int64"}, "sint32": {"sint64"}, "string": {"bytes"},
	}
	return fromKind == toKind || slices.Contains(wider[fromKind], toKind)
}

func cutCardinality(wire string) (single bool, kind string) {
	kind, repeated := strings.CutPrefix(wire, "repeated ")
	return !repeated, kind
}

// zero appends the encoding of the zero value.
func zero(dst []byte, l *layout) []byte {
	switch l.kind {
	case layoutBool, layoutInt, layoutUint, layoutFloat, layoutTime:
		return append(dst, make([]byte, l.size)...)
	case layoutArray:
		for range l.size {
			if l.elem.least() == 0 {
				break
			}
			dst = zero(dst, l.elem)
		}
		return dst
	case layoutStruct:
		for _, f := range l.fields {
			dst = zero(dst, f.typ)
		}
		return dst
	case layoutNamed:
		if l.elem != nil {
			return zero(dst, l.elem)
		}
	}
	return append(dst, 0) // an empty string, slice or map, a nil pointer, a custom value of no bytes
}
