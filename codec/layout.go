package codec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// layout is a description taken apart (format.go has its form).
type layout struct {
	kind   layoutKind
	size   int     // bytes of a scalar, elements of an array
	key    *layout // of a map
	elem   *layout // of an array, slice, map or pointer; of a named type its layout, nil if custom
	fields []layoutField
	// Of a named type.
	name    string
	version uint64
	reads   []older
	// Of a protocol buffer: its fields by number are fields, by name "1".
	text string // the description without what only a reader says: former names, readable versions
}

// layoutField is a field of a struct or of a protocol buffer.
type layoutField struct {
	name string
	was  []string // former names
	typ  *layout
	wire string // of a protocol buffer's field: its cardinality and kind
}

// older is an older version of a named type that a program reads.
type older struct {
	version uint64
	layout  *layout // nil: custom
}

// layoutKind is what a layout is made of.
type layoutKind uint8

const (
	layoutBool layoutKind = iota + 1
	layoutInt
	layoutUint
	layoutFloat
	layoutString // and []byte: the same bytes
	layoutTime
	layoutArray
	layoutSlice
	layoutMap
	layoutPointer
	layoutStruct
	layoutNamed
	layoutProto
)

var scalars = map[string]layout{
	"bool": {kind: layoutBool, size: 1},
	"int8": {kind: layoutInt, size: 1}, "int16": {kind: layoutInt, size: 2}, "int32": {kind: layoutInt, size: 4}, "int64": {kind: layoutInt, size: 8},
	"uint8": {kind: layoutUint, size: 1}, "uint16": {kind: layoutUint, size: 2}, "uint32": {kind: layoutUint, size: 4}, "uint64": {kind: layoutUint, size: 8},
	"float32": {kind: layoutFloat, size: 4}, "float64": {kind: layoutFloat, size: 8},
	"string": {kind: layoutString}, "bytes": {kind: layoutString}, "time": {kind: layoutTime, size: 12},
}

// custom stands in a description for the layout of a type that only its program knows.
const custom = "custom"

// maxNesting bounds the depth of a description: those of snapshots may be damaged.
const maxNesting = 100

// maxArray bounds the elements of an array in a description.
const maxArray = 1 << 31

// parseLayout takes a description apart.
func parseLayout(desc string) (*layout, error) {
	p := layoutParser{text: desc}
	l, err := p.layout(0)
	if err == nil && p.at != len(desc) {
		err = p.fail("nothing more")
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

type layoutParser struct {
	text string
	at   int
}

func (p *layoutParser) fail(want string) error {
	return fmt.Errorf("%w: layout of %d characters: want %s at %d", ErrMalformed, len(p.text), want, p.at)
}

// take passes over s, if it is next.
func (p *layoutParser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

// until takes what stands before the next of the bytes stops; "" if there is none.
func (p *layoutParser) until(stops string) string {
	i := strings.IndexAny(p.text[p.at:], stops)
	if i <= 0 {
		return ""
	}
	p.at += i
	return p.text[p.at-i : p.at]
}

func (p *layoutParser) layout(depth int) (*layout, error) {
	if depth > maxNesting {
		return nil, p.fail("less nesting")
	}
	switch {
	case p.take("struct{"):
		return p.structure(depth)
	case p.take("map["):
		key, err := p.layout(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.take("]") {
			return nil, p.fail("]")
		}
		return p.over(layout{kind: layoutMap, key: key, text: "map[" + key.text + "]"}, depth)
	case p.take("[]"):
		return p.over(layout{kind: layoutSlice, text: "[]"}, depth)
	case p.take("["):
		digits := p.until("]")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > maxArray || !p.take("]") {
			return nil, p.fail("a number and ]")
		}
		return p.over(layout{kind: layoutArray, size: n, text: "[" + digits + "]"}, depth)
	case p.take("*"):
		return p.over(layout{kind: layoutPointer, text: "*"}, depth)
	case p.take("@"):
		return p.named(depth)
	case p.take("proto("):
		return p.proto()
	}
	from := p.at
	for p.at < len(p.text) && (p.text[p.at] >= 'a' && p.text[p.at] <= 'z' || p.text[p.at] >= '0' && p.text[p.at] <= '9') {
		p.at++
	}
	name := p.text[from:p.at]
	l, ok := scalars[name]
	if !ok {
		p.at = from
		return nil, p.fail("a type")
	}
	l.text = name
	return &l, nil
}

// over completes l, which is made of elements that are next.
func (p *layoutParser) over(l layout, depth int) (*layout, error) {
	elem, err := p.layout(depth + 1)
	if err != nil {
		return nil, err
	}
	l.elem = elem
	l.text += elem.text
	return &l, nil
}

func (p *layoutParser) structure(depth int) (*layout, error) {
	l := &layout{kind: layoutStruct}
	var texts []string
	for !p.take("}") {
		if len(l.fields) > 0 && !p.take(";") {
			return nil, p.fail("; or }")
		}
		f := layoutField{name: p.until(" <")}
		if f.name == "" {
			return nil, p.fail("the name of a field")
		}
		if p.take("<") {
			was := p.until(">")
			if was == "" || !p.take(">") {
				return nil, p.fail("former names and >")
			}
			f.was = strings.Split(was, ",")
		}
		if !p.take(" ") {
			return nil, p.fail("a space")
		}
		var err error
		if f.typ, err = p.layout(depth + 1); err != nil {
			return nil, err
		}
		if l.field(f.name) >= 0 {
			return nil, p.fail("each name once")
		}
		l.fields = append(l.fields, f)
		texts = append(texts, f.name+" "+f.typ.text)
	}
	l.text = "struct{" + strings.Join(texts, ";") + "}"
	return l, nil
}

// field is the index of the field with that name, or -1.
func (l *layout) field(name string) int {
	return slices.IndexFunc(l.fields, func(f layoutField) bool { return f.name == name })
}

// named takes name/version(layout<version(layout)…>).
func (p *layoutParser) named(depth int) (*layout, error) {
	l := &layout{kind: layoutNamed, name: p.until("/")}
	if l.name == "" || !p.take("/") {
		return nil, p.fail("a name and /")
	}
	var err error
	if l.version, l.elem, err = p.version(depth, func() error {
		for p.take("<") {
			var o older
			if o.version, o.layout, err = p.version(depth, func() error { return nil }); err != nil {
				return err
			}
			if !p.take(">") {
				return p.fail(">")
			}
			l.reads = append(l.reads, o)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	inner := custom
	if l.elem != nil {
		inner = l.elem.text
	}
	l.text = fmt.Sprintf("@%s/%d(%s)", l.name, l.version, inner)
	return l, nil
}

// version takes version(layout…); before the closing parenthesis rest is called.
func (p *layoutParser) version(depth int, rest func() error) (v uint64, l *layout, err error) {
	if v, err = strconv.ParseUint(p.until("("), 10, 64); err != nil || !p.take("(") {
		return 0, nil, p.fail("a version and (")
	}
	if !p.take(custom) {
		if l, err = p.layout(depth + 1); err != nil {
			return 0, nil, err
		}
	}
	if err := rest(); err != nil {
		return 0, nil, err
	}
	if !p.take(")") {
		return 0, nil, p.fail(")")
	}
	return v, l, nil
}

// proto takes name){number kind;…}.
func (p *layoutParser) proto() (*layout, error) {
	from := p.at
	l := &layout{kind: layoutProto, name: p.until(")")}
	if l.name == "" || !p.take("){") {
		return nil, p.fail("a name and ){")
	}
	for !p.take("}") {
		if len(l.fields) > 0 && !p.take(";") {
			return nil, p.fail("; or }")
		}
		f := layoutField{name: p.until(" ")}
		if f.name == "" || !p.take(" ") {
			return nil, p.fail("the number of a field")
		}
		if f.wire = p.until(";}"); f.wire == "" {
			return nil, p.fail("a kind")
		}
		l.fields = append(l.fields, f)
	}
	l.text = "proto(" + p.text[from:p.at]
	return l, nil
}

// least is the fewest bytes that a value takes.
func (l *layout) least() int {
	switch l.kind {
	case layoutBool, layoutInt, layoutUint, layoutFloat, layoutTime:
		return l.size
	case layoutArray:
		return l.size * min(l.elem.least(), 1<<20)
	case layoutStruct:
		n := 0
		for _, f := range l.fields {
			n += f.typ.least()
		}
		return min(n, 1<<50)
	case layoutNamed:
		if l.elem != nil {
			return l.elem.least()
		}
	}
	return 1
}
