package codec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var protoType = reflect.TypeFor[proto.Message]()

// protoPlan is the plan of a pointer to a protocol buffer: a mark (0 nil, 1 not), then
// the message's own encoding behind its length, fields in the order of their numbers.
func protoPlan(t reflect.Type) *plan {
	w := &protoWalker{t.Elem()}
	d := w.message(reflect.New(t.Elem()).UnsafePointer()).ProtoReflect().Descriptor()
	return subPlan(w, false, protoDescription(d))
}

// protoDescription lists the fields of a message by number, as their kinds go on the
// wire. Messages in it go by their names: how they may change is between them and
// package proto.
func protoDescription(d protoreflect.MessageDescriptor) string {
	fields := d.Fields()
	all := make([]protoreflect.FieldDescriptor, fields.Len())
	for i := range all {
		all[i] = fields.Get(i)
	}
	slices.SortFunc(all, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	texts := make([]string, len(all))
	for i, f := range all {
		texts[i] = strconv.Itoa(int(f.Number())) + " " + wireOf(f)
	}
	return fmt.Sprintf("proto(%s){%s}", d.FullName(), strings.Join(texts, ";"))
}

func wireOf(f protoreflect.FieldDescriptor) string {
	kind := f.Kind().String()
	switch {
	case f.IsMap():
		return "repeated map " + wireOf(f.MapKey()) + " to " + wireOf(f.MapValue())
	case f.Message() != nil:
		kind = string(f.Message().FullName())
	}
	if f.IsList() {
		return "repeated " + kind
	}
	return kind
}

// protoWalker is a pointer to a protocol buffer.
type protoWalker struct{ typ reflect.Type }

func (w *protoWalker) message(p unsafe.Pointer) proto.Message {
	return reflect.NewAt(w.typ, p).Interface().(proto.Message)
}

func (w *protoWalker) append(dst []byte, v unsafe.Pointer) []byte {
	p := *(*unsafe.Pointer)(v)
	if p == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1, 0)
	at := len(dst) - 1
	out, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.MarshalAppend(dst, w.message(p))
	if err != nil {
		// A string field that is not UTF-8: the attempt fails with it, by operator and key.
		panic(fmt.Sprintf("encode %v: %v", w.typ, err))
	}
	return setLength(out, at)
}

func (w *protoWalker) decode(d *decoder, v unsafe.Pointer) error {
	there, err := mark(d)
	if err != nil {
		return err
	}
	if !there {
		*(*unsafe.Pointer)(v) = nil
		return nil
	}
	n, err := d.length(1)
	if err != nil {
		return err
	}
	p := reflect.New(w.typ).UnsafePointer()
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(d.src[d.pos:d.pos+n], w.message(p)); err != nil {
		return fmt.Errorf("%w: at byte %d: %w", ErrMalformed, d.pos, err)
	}
	d.pos += n
	*(*unsafe.Pointer)(v) = p
	return nil
}
