package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unsafe"
)

// planner builds plans and knows where it is, for messages.
type planner struct {
	path  string
	seen  []reflect.Type
	types *Types // may be nil
}

func (b planner) at(s string) planner {
	b.path += s
	return b
}

func (b planner) fail(t reflect.Type, why string) error {
	return fmt.Errorf("%s has type %v, %s", b.path, t, why)
}

var timeType = reflect.TypeFor[time.Time]()

func (b planner) value(t reflect.Type) (*plan, error) {
	n := b.types.of(t)
	switch {
	case n == nil:
		return b.unnamed(t)
	case n.custom != nil:
		desc, err := n.description(b.types, custom)
		return subPlan(n.custom, false, desc), err
	}
	p, err := b.unnamed(t)
	if err != nil {
		return nil, err
	}
	named := *p
	named.desc, err = n.description(b.types, p.desc)
	return &named, err
}

// unnamed is the plan of a type as it is made.
func (b planner) unnamed(t reflect.Type) (*plan, error) {
	if slices.Contains(b.seen, t) {
		return nil, b.fail(t, "which contains itself; recursive types have no codec")
	}
	b.seen = append(slices.Clip(b.seen), t)
	if t == timeType {
		return onePlan(opTime, 12, "time"), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return onePlan(opBool, 1, "bool"), nil
	case reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32,
		reflect.Int64, reflect.Uint64, reflect.Int, reflect.Uint, reflect.Float32, reflect.Float64:
		size := int(t.Size())
		return &plan{steps: []step{copyStep(0, size)}, fixed: size, minimum: size, desc: scalarName(t)}, nil
	case reflect.String:
		p := onePlan(opString, 0, "string")
		p.strings = true
		return p, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return onePlan(opBytes, 0, "bytes"), nil
		}
		return b.slice(t)
	case reflect.Array:
		return b.array(t)
	case reflect.Map:
		return b.mapping(t)
	case reflect.Pointer:
		if t.Implements(protoType) {
			return protoPlan(t), nil
		}
		return b.pointer(t)
	case reflect.Struct:
		return b.structure(t)
	}
	return nil, b.fail(t, "which has no codec; use a concrete data type, or keep it out of records and state")
}

// onePlan is the plan of a single step; fixed is 0 for what starts with a length.
func onePlan(o op, fixed int, desc string) *plan {
	return &plan{steps: []step{{op: o}}, fixed: fixed, minimum: max(1, fixed), desc: desc}
}

// scalarName names the layout, not the Go type: int and int64 are the same bytes.
func scalarName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "int64"
	case reflect.Uint:
		return "uint64"
	}
	return t.Kind().String()
}

// maxUnrolled bounds the steps that an array is unrolled to inside its parent's.
const maxUnrolled = 16

func (b planner) array(t reflect.Type) (*plan, error) {
	e, err := b.at("[]").value(t.Elem())
	if err != nil {
		return nil, err
	}
	n, size := t.Len(), t.Elem().Size()
	p := &plan{fixed: n * e.fixed, minimum: n * e.minimum, strings: e.strings, desc: fmt.Sprintf("[%d]%s", n, e.desc)}
	switch {
	case n == 0 || len(e.steps) == 0:
	case e.memory(size):
		p.steps = []step{copyStep(0, n*e.fixed)}
	case n <= maxUnrolled/len(e.steps):
		for i := range n {
			p.add(uintptr(i)*size, e)
		}
	default:
		p.steps = []step{{op: opSub, sub: &arrayWalker{e, n, size}}}
	}
	return p, nil
}

func (b planner) slice(t reflect.Type) (*plan, error) {
	e, err := b.at("[]").value(t.Elem())
	if err != nil {
		return nil, err
	}
	if e.minimum == 0 {
		return nil, b.fail(t, "a slice of values that take no bytes; use a count")
	}
	w := &sliceWalker{elem: e, typ: t, size: t.Elem().Size(), memory: e.memory(t.Elem().Size())}
	return subPlan(w, e.strings, "[]"+e.desc), nil
}

func (b planner) pointer(t reflect.Type) (*plan, error) {
	e, err := b.at("*").value(t.Elem())
	if err != nil {
		return nil, err
	}
	return subPlan(&pointerWalker{e, t.Elem()}, e.strings, "*"+e.desc), nil
}

func (b planner) mapping(t reflect.Type) (*plan, error) {
	k, err := b.at("{key}").value(t.Key())
	if err != nil {
		return nil, err
	}
	if _, err := keyPlanOf(t.Key(), b.path+"{key}"); err != nil {
		return nil, err // a pointer, say, is another key after decoding
	}
	e, err := b.at("{}").value(t.Elem())
	if err != nil {
		return nil, err
	}
	if k.minimum == 0 {
		return nil, b.fail(t, "a map with keys that take no bytes")
	}
	return subPlan(&mapWalker{k, e, t}, k.strings || e.strings, "map["+k.desc+"]"+e.desc), nil
}

func subPlan(w walker, hasStrings bool, desc string) *plan {
	p := onePlan(opSub, 0, desc)
	p.steps[0].sub, p.strings = w, hasStrings
	return p
}

func (b planner) structure(t reflect.Type) (*plan, error) {
	p := &plan{}
	varies := false
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("weir") == "-" || f.Name == "_" {
			continue
		}
		fb := b.at("." + f.Name)
		name, err := fieldName(f)
		if err != nil {
			return nil, fb.fail(f.Type, err.Error())
		}
		embedded := f.Anonymous && f.Type.Kind() == reflect.Struct && f.Type != timeType
		if !f.IsExported() && !embedded {
			return nil, fb.fail(f.Type, "and is not exported: it would be lost; export it, or tag it `weir:\"-\"` to leave it out")
		}
		e, err := fb.value(f.Type)
		if err != nil {
			return nil, err
		}
		p.add(f.Offset, e)
		p.fixed += e.fixed
		p.minimum += e.minimum
		varies = varies || e.fixed == 0 && e.minimum > 0
		switch {
		case embedded && b.types.of(f.Type) != nil:
			return nil, fb.fail(f.Type, "which has a name of its own for its values and is embedded; give the field a name")
		case embedded:
			p.fields = append(p.fields, e.fields...)
		default:
			p.fields = append(p.fields, name+" "+e.desc)
		}
	}
	if varies {
		p.fixed = 0
	}
	var err error
	p.desc, err = structDescription(b.path, p.fields)
	return p, err
}

// fieldName is how a description names a field: by its name in Go or that of its tag,
// `weir:"name=N"`, and then its former ones, `weir:"was=A,was=B"`.
func fieldName(f reflect.StructField) (string, error) {
	name, tag := f.Name, f.Tag.Get("weir")
	var was []string
	for option := range strings.SplitSeq(tag, ",") {
		key, value, _ := strings.Cut(option, "=")
		if tag == "" {
			break
		}
		if key != "name" && key != "was" || !validFieldName(value) {
			return "", fmt.Errorf("and the tag weir:%q, which is not understood; there are name=N, was=N and -", tag)
		}
		if key == "name" {
			name = value
		} else {
			was = append(was, value)
		}
	}
	if len(was) > 0 {
		name += "<" + strings.Join(was, ",") + ">"
	}
	return name, nil
}

// validFieldName accepts the names that Go does.
func validFieldName(name string) bool {
	for i, c := range name {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return name != ""
}

// structDescription describes a struct. Its fields go by their names, those of
// embedded structs too, so each name must be there once.
func structDescription(path string, fields []string) (string, error) {
	names := map[string]bool{}
	for _, f := range fields {
		name, _, _ := strings.Cut(f, " ")
		name, _, _ = strings.Cut(name, "<")
		if names[name] {
			return "", fmt.Errorf("%s has two fields named %s, one of them in an embedded struct; give the embedded struct a name", path, name)
		}
		names[name] = true
	}
	return "struct{" + strings.Join(fields, ";") + "}", nil
}

// The plans copy memory: they hold only on little-endian machines of 64 bits.
func init() {
	if one := uint16(1); *(*byte)(unsafe.Pointer(&one)) != 1 || strconv.IntSize != 64 {
		panic("weir: BUG: codec needs a little-endian machine of 64 bits (amd64, arm64)")
	}
}
