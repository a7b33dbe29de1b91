package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// evolves moves v from its codec into that of N, and compares verdict, note and value.
func evolves[O, N any](t *testing.T, types *Types, old O, want N, note string) {
	t.Helper()
	oc, err := In[O](types)
	if err != nil {
		t.Fatal(err)
	}
	evolvesFrom(t, types, oc, old, want, note)
}

func evolvesFrom[O, N any](t *testing.T, types *Types, oc Codec[O], old O, want N, note string) {
	t.Helper()
	nc, err := In[N](types)
	if err != nil {
		t.Fatal(err)
	}
	c, why := Compatible(oc.Schema(), nc.Schema())
	if c != Migrate || why != note {
		t.Errorf("%v to %v: %v %q, want %q", reflect.TypeFor[O](), reflect.TypeFor[N](), c, why, note)
	}
	move, err := nc.From(oc.Schema())
	if err != nil || move == nil {
		t.Fatalf("mover %v, error %v", move != nil, err)
	}
	b := oc.Append(nil, old)
	out, n, err := move([]byte("head"), append(b, "rest"...))
	if err != nil || n != len(b) || string(out[:4]) != "head" {
		t.Fatalf("moved %d of %d bytes, %v", n, len(b), err)
	}
	got, n, err := nc.Decode(out[4:])
	if err != nil || n != len(out)-4 {
		t.Fatalf("decode %d of %d bytes: %v", n, len(out)-4, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v became %+v, want %+v", old, got, want)
	}
	for cut := range b { // truncated at each byte
		if _, _, err := move(nil, b[:cut]); err == nil {
			t.Errorf("%d of %d bytes are a value", cut, len(b))
		}
	}
	if move, err := nc.From(nc.Schema()); move != nil || err != nil {
		t.Errorf("its own schema: %v, %v", move != nil, err)
	}
}

type lineV1 struct {
	Item  string
	Cents int32
	Gift  bool
}

type line struct {
	Cents int64
	Item  string
	Note  *string
}

func TestEvolution(t *testing.T) {
	type orderV1 struct {
		ID    uint32
		User  string
		Lines []lineV1
		ByTag map[string]lineV1
		First *lineV1
		Two   [2]lineV1
		At    time.Time
		Rate  float32
		Raw   []byte
	}
	type order struct {
		Rate  float64
		Buyer string `weir:"was=Customer,was=User"`
		ID    int64
		Lines []line
		ByTag map[string]line
		First *line
		Two   [2]line
		Raw   string
		Since time.Time
		Tags  []string
	}
	at := time.Unix(5, 6).UTC()
	evolves(t, nil, orderV1{
		7, "ann", []lineV1{{"a", -1, true}, {"b", 2, false}}, map[string]lineV1{"x": {"c", 3, true}, "y": {"d", 4, true}},
		&lineV1{"e", 5, false}, [2]lineV1{{"f", 6, false}, {"g", -7, true}}, at, 0.5, []byte{0xff},
	}, order{
		Rate: 0.5, Buyer: "ann", ID: 7, Lines: []line{{-1, "a", nil}, {2, "b", nil}},
		ByTag: map[string]line{"x": {3, "c", nil}, "y": {4, "d", nil}}, First: &line{5, "e", nil},
		Two: [2]line{{6, "f", nil}, {-7, "g", nil}}, Raw: "\xff",
	}, "field Rate float32 becomes float64; field Buyer was User; field ID uint32 becomes int64; "+
		"field Lines[].Cents int32 becomes int64; field Lines[].Note *string is new; field Lines[].Gift bool is dropped; "+
		"field ByTag{}.Cents int32 becomes int64; field ByTag{}.Note *string is new; and 11 more")

	evolves(t, nil, int8(-3), int64(-3), "int8 becomes int64")
	evolves(t, nil, uint16(65535), int32(65535), "uint16 becomes int32")
	evolves(t, nil, int32(-1<<31), float64(-1<<31), "int32 becomes float64")
	evolves(t, nil, uint16(9), float32(9), "uint16 becomes float32")
	evolves(t, nil, "text", []byte("text"), "string becomes bytes")
	three := int64(3)
	evolves(t, nil, int16(3), &three, "int16 becomes *int64; int16 becomes int64")
	evolves(t, nil, []int8{1, 2}, []int16{1, 2}, "field [] int8 becomes int16")

	type nested struct{ Inner struct{ A, B int32 } }
	type nestedB struct{ Inner struct{ B int64 } }
	old := nested{}
	old.Inner.A, old.Inner.B = 1, 2
	now := nestedB{}
	now.Inner.B = 2
	evolves(t, nil, old, now, "field Inner.B int32 becomes int64; field Inner.A int32 is dropped")

	type before struct{ Full string }
	type after struct {
		Go string `weir:"name=Full"`
	}
	oc, nc := mustFor[before](t), mustFor[after](t)
	if c, why := Compatible(oc.Schema(), nc.Schema()); c != AsIs || why != "" {
		t.Errorf("renamed in Go only: %v %q", c, why)
	}
}

func TestIncompatible(t *testing.T) {
	type a struct {
		N int64
		M struct{ S string }
		L []int32
	}
	type b struct {
		N int32
		M struct{ S int64 }
		L [3]int32
	}
	type swap struct {
		A string `weir:"was=B"`
		B string
	}
	type ab struct{ A, B string }
	type was struct{ X, Y string }
	type both struct {
		P string `weir:"was=X"`
		Q string `weir:"was=X"`
	}
	for _, c := range []struct {
		w, r Schema
		want string
	}{
		{mustFor[a](t).Schema(), mustFor[b](t).Schema(), "field N is stored as int64, the program has int32; field M.S is stored as string, the program has int64; field L is stored as []int32, the program has [3]int32"},
		{mustFor[int64](t).Schema(), mustFor[float64](t).Schema(), "stored as int64, the program has float64"},
		{mustFor[int64](t).Schema(), mustFor[uint64](t).Schema(), "stored as int64, the program has uint64"},
		{mustFor[*int64](t).Schema(), mustFor[int64](t).Schema(), "stored as *int64, the program has int64"},
		{mustFor[[2]bool](t).Schema(), mustFor[[3]bool](t).Schema(), "stored as [2]bool, the program has [3]bool"},
		{mustFor[map[int8]bool](t).Schema(), mustFor[map[int16]bool](t).Schema(), "stored as map[int8]bool, the program has map[int16]bool"},
		{mustFor[was](t).Schema(), mustFor[both](t).Schema(), "field Q and another one of the program both were X"},
		{mustFor[ab](t).Schema(), mustFor[was](t).Schema(), "no field of the stored struct{A string;B string} is in the program's struct{X string;Y string}"},
		{mustKey[int32](t).Schema(), mustKey[int64](t).Schema(), "stored under keys int32, the program has int64: keys can't change"},
		{encodeSchema(valueSchema, "x", 0, "struct{"), mustFor[int64](t).Schema(), "the stored schema of x"},
	} {
		got, why := Compatible(c.w, c.r)
		if got != Incompatible || !strings.Contains(why, c.want) {
			t.Errorf("%v → %v: %v %q, want %q", c.w, c.r, got, why, c.want)
		}
	}
	// A name that another field has now does not count as a former one.
	evolves(t, nil, struct{ B string }{"b"}, swap{B: "b"}, "field A string is new")
}

func TestBadTags(t *testing.T) {
	type misspelt struct {
		A string `weir:"wsa=B"`
	}
	type odd struct {
		A string `weir:"was=B C"`
	}
	for _, err := range []error{errOf(For[misspelt]()), errOf(For[odd]())} {
		if err == nil || !strings.Contains(err.Error(), "which is not understood") {
			t.Errorf("error %v", err)
		}
	}
}

func errOf[T any](_ Codec[T], err error) error { return err }

// bill is the present version of a type; its older ones are billV0 (without a name),
// billV1 and billV2.
type (
	billV0 struct{ Dollars float64 }
	billV1 struct {
		Dollars float64
		User    string
	}
	billV2 struct {
		Cents int32
		User  string
	}
	bill struct {
		Cents int64
		User  string
	}
)

func billTypes(t *testing.T) *Types {
	t.Helper()
	types := new(Types)
	if err := types.Add(Struct("shop.Bill", 3,
		Up(0, func(b billV0) bill { return bill{int64(b.Dollars * 100), "?"} }),
		Up(1, func(b billV1) bill { return bill{int64(b.Dollars * 100), b.User} }),
		Up(2, func(b billV2) bill { return bill{int64(b.Cents), b.User} }),
	)); err != nil {
		t.Fatal(err)
	}
	return types
}

// asNamed is the codec of O under a name, as an older program had it.
func asNamed[O any](t *testing.T, name string, version uint64) Codec[O] {
	t.Helper()
	types := new(Types)
	if err := types.Add(Struct[O](name, version)); err != nil {
		t.Fatal(err)
	}
	c, err := In[O](types)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestVersions(t *testing.T) {
	types := billTypes(t)
	evolvesFrom(t, types, asNamed[billV1](t, "shop.Bill", 1), billV1{1.5, "ann"}, bill{150, "ann"}, "version 1 of shop.Bill becomes version 3")
	evolvesFrom(t, types, asNamed[billV2](t, "shop.Bill", 2), billV2{7, "ann"}, bill{7, "ann"}, "version 2 of shop.Bill becomes version 3")
	evolvesFrom(t, types, mustFor[billV0](t), billV0{2}, bill{200, "?"}, "version 0 of shop.Bill becomes version 3")
	// The older type may have changed too, as long as the names go on.
	type billV1b struct {
		User    string
		Dollars float32
		Gone    bool
	}
	evolvesFrom(t, types, asNamed[billV1b](t, "shop.Bill", 1), billV1b{"bob", 0.5, true}, bill{50, "bob"},
		"field Dollars float32 becomes float64; field Gone bool is dropped; version 1 of shop.Bill becomes version 3")
	// Inside others.
	type cart struct {
		Bills []bill
		Last  *bill
	}
	type cartV1 struct {
		Bills []billV1
		Last  *billV1
	}
	v1 := new(Types)
	if err := v1.Add(Struct[billV1]("shop.Bill", 1)); err != nil {
		t.Fatal(err)
	}
	oc, err := In[cartV1](v1)
	if err != nil {
		t.Fatal(err)
	}
	evolvesFrom(t, types, oc, cartV1{[]billV1{{1, "a"}, {2, "b"}}, &billV1{3, "c"}}, cart{[]bill{{100, "a"}, {200, "b"}}, &bill{300, "c"}},
		"field Bills[]: version 1 of shop.Bill becomes version 3; field Last: version 1 of shop.Bill becomes version 3")
	// Its name is taken away again.
	evolvesFrom(t, nil, asNamed[billV2](t, "shop.Bill", 2), billV2{7, "ann"}, bill{7, "ann"}, "field Cents int32 becomes int64")

	now, err := In[bill](types)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		w, r Schema
		want string
	}{
		{asNamed[bill](t, "shop.Bill", 4).Schema(), now.Schema(), "stored as version 4 of shop.Bill, the program has version 3 and does not read the other one; add codec.Up(4, …)"},
		{asNamed[bill](t, "shop.Order", 3).Schema(), now.Schema(), "stored as shop.Order, the program keeps shop.Bill there"},
		{now.Schema(), asNamed[billV1](t, "shop.Bill", 5).Schema(), "stored as version 3 of shop.Bill, the program has version 5"},
		{mustFor[string](t).Schema(), now.Schema(), "stored as string, the program has struct{Dollars float64}"},
	} {
		if got, why := Compatible(c.w, c.r); got != Incompatible || !strings.Contains(why, c.want) {
			t.Errorf("%v → %v: %v %q, want %q", c.w, c.r, got, why, c.want)
		}
	}
}

// decimal has a codec of its own: the digits as text; version 1 wrote hundredths.
type decimal struct{ hundredths int64 }

type decimalCoder struct{}

func (decimalCoder) Append(dst []byte, v decimal) []byte {
	return fmt.Appendf(dst, "%d.%02d", v.hundredths/100, v.hundredths%100)
}

func (decimalCoder) Decode(src []byte) (decimal, error) {
	whole, part, ok := strings.Cut(string(src), ".")
	a, err1 := strconv.ParseInt(whole, 10, 64)
	b, err2 := strconv.ParseInt(part, 10, 64)
	if !ok {
		err1 = errors.Join(err1, errors.New("no point"))
	}
	return decimal{a*100 + b}, errors.Join(err1, err2)
}

// decimalCoderV1 is what an older program had.
type decimalCoderV1 struct{}

func (decimalCoderV1) Append(dst []byte, v decimal) []byte {
	return strconv.AppendInt(dst, v.hundredths, 10)
}

func (decimalCoderV1) Decode(src []byte) (decimal, error) {
	n, err := strconv.ParseInt(string(src), 10, 64)
	return decimal{n}, err
}

func TestCustom(t *testing.T) {
	v1, v2 := new(Types), new(Types)
	if err := v1.Add(Custom("money", 1, decimalCoderV1{})); err != nil {
		t.Fatal(err)
	}
	if err := v2.Add(Custom("money", 2, decimalCoder{}, Old(1, decimalCoderV1{}.Decode))); err != nil {
		t.Fatal(err)
	}
	type price struct {
		Item string
		Cost decimal
		All  []decimal
		By   map[string]decimal
	}
	p := price{"tea", decimal{305}, []decimal{{1}, {12345678901}}, map[string]decimal{"x": {7}}}
	oc, err := In[price](v1)
	if err != nil {
		t.Fatal(err)
	}
	evolvesFrom(t, v2, oc, p, p, "field Cost: version 1 of money becomes version 2; field All[]: version 1 of money becomes version 2; field By{}: version 1 of money becomes version 2")
	nc, err := In[price](v2)
	if err != nil {
		t.Fatal(err)
	}
	if c, why := Compatible(nc.Schema(), oc.Schema()); c != Incompatible || !strings.Contains(why, "field Cost: stored as version 2 of money, the program has version 1") {
		t.Errorf("%v %q", c, why)
	}
	if c, why := Compatible(nc.Schema(), mustFor[struct{ Cost int64 }](t).Schema()); c != Incompatible || !strings.Contains(why, "which only its own codec reads") {
		t.Errorf("%v %q", c, why)
	}
	if c, _ := Compatible(nc.Schema(), nc.Schema()); c != AsIs {
		t.Errorf("its own: %v", c)
	}
	// A long one, and one that does not decode.
	long := strings.Repeat("x", 1000)
	texts := new(Types)
	type text struct{ s string }
	if err := texts.Add(Custom("text", 1, coder[text]{func(dst []byte, v text) []byte { return append(dst, v.s...) },
		func(src []byte) (text, error) {
			if len(src) == 0 {
				return text{}, errors.New("empty")
			}
			return text{string(src)}, nil
		}})); err != nil {
		t.Fatal(err)
	}
	tc, err := In[[]text](texts)
	if err != nil {
		t.Fatal(err)
	}
	b := tc.Append(nil, []text{{"a"}, {long}, {"b"}})
	if got, n, err := tc.Decode(b); err != nil || n != len(b) || !reflect.DeepEqual(got, []text{{"a"}, {long}, {"b"}}) {
		t.Errorf("%d of %d bytes, %v", n, len(b), err)
	}
	if _, _, err := tc.Decode([]byte{1, 0}); !errors.Is(err, ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

type coder[T any] struct {
	enc func([]byte, T) []byte
	dec func([]byte) (T, error)
}

func (c coder[T]) Append(dst []byte, v T) []byte { return c.enc(dst, v) }
func (c coder[T]) Decode(src []byte) (T, error)  { return c.dec(src) }

func TestTypeMistakes(t *testing.T) {
	same := func(b bill) bill { return b }
	add := func(all ...Type) error {
		types := new(Types)
		for _, x := range all {
			if err := types.Add(x); err != nil {
				return err
			}
		}
		_, err := In[bill](types)
		return err
	}
	late := new(Types)
	if _, err := In[[]bill](late); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"can't be named":                         add(Struct[bill]("a b", 1)),
		"begin with 1":                           add(Struct[bill]("a", 0)),
		"which is not older":                     add(Struct("a", 2, Up(2, func(billV1) bill { return bill{} }))),
		"is read in two ways":                    add(Struct("a", 2, Up(1, func(billV1) bill { return bill{} }), Up(1, func(billV2) bill { return bill{} }))),
		"is named twice":                         add(Struct[bill]("a", 1), Struct[bill]("b", 1)),
		"are both named":                         add(Struct[bill]("a", 1), Struct[billV1]("a", 1)),
		"from codec.bill to itself":              add(Struct("a", 2, Up(1, same))),
		"with a codec that is nil":               add(Custom[bill]("a", 1, nil)),
		"after an operator has used it":          late.Add(Struct[bill]("a", 1)),
		"which has no codec; use a concrete dat": add(Struct("a", 2, Up(1, func(func()) bill { return bill{} }))),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	type Embedded struct{ bill }
	types := billTypes(t)
	if _, err := In[Embedded](types); err == nil || !strings.Contains(err.Error(), "give the field a name") {
		t.Errorf("embedded: %v", err)
	}
}

func TestProto(t *testing.T) {
	type stamped struct {
		At   *timestamppb.Timestamp
		Took []*durationpb.Duration
	}
	c := mustFor[stamped](t)
	for _, v := range []stamped{
		{&timestamppb.Timestamp{Seconds: 5, Nanos: -6}, []*durationpb.Duration{{Seconds: 1}, nil, {}}},
		{},
	} {
		b := c.Append(nil, v)
		got, n, err := c.Decode(b)
		if err != nil || n != len(b) || !proto.Equal(got.At, v.At) || len(got.Took) != len(v.Took) {
			t.Fatalf("%v, %d of %d bytes, %v", got, n, len(b), err)
		}
		for i := range v.Took {
			if !proto.Equal(got.Took[i], v.Took[i]) || (got.Took[i] == nil) != (v.Took[i] == nil) {
				t.Errorf("%d: %v, want %v", i, got.Took[i], v.Took[i])
			}
		}
		for cut := range b {
			if _, _, err := c.Decode(b[:cut]); err == nil {
				t.Errorf("%d of %d bytes are a value", cut, len(b))
			}
		}
	}
	info, err := c.Schema().Parse()
	if want := "struct{At proto(google.protobuf.Timestamp){1 int64;2 int32};Took []proto(google.protobuf.Duration){1 int64;2 int32}}"; err != nil || info.Description != want {
		t.Errorf("description %q, %v", info.Description, err)
	}
	v1 := messageSchema(t, "1 int32 a;2 string b;3 repeated string c;4 int64 d")
	for now, want := range map[string]string{
		"1 int64 a;2 bytes renamed;3 repeated string c;4 int64 d;9 bool new": "field 1 int32 becomes int64; field 2 string becomes bytes; field 9 bool is new",
		"1 int32 a;2 string b;3 repeated string c":                           "field 4 int64 is dropped",
		"1 string a;2 string b;3 repeated string c;4 int64 d":                "!field 1 of shop.Order is stored as int32, the program has string",
		"1 int32 a;2 string b;3 string c;4 int64 d":                          "!field 3 of shop.Order is stored as repeated string, the program has string",
		"1 int32 a;2 repeated string b;3 repeated string c;4 int64 d":        "field 2 string becomes repeated string",
	} {
		c, why := Compatible(v1, messageSchema(t, now))
		if bad, is := strings.CutPrefix(want, "!"); is && (c != Incompatible || why != bad) || !is && (c != Migrate || why != want) {
			t.Errorf("%s: %v %q, want %q", now, c, why, want)
		}
	}
}

// messageSchema is the schema of shop.Order with these fields.
func messageSchema(t *testing.T, fields string) Schema {
	t.Helper()
	kinds := map[string]descriptorpb.FieldDescriptorProto_Type{
		"int32": descriptorpb.FieldDescriptorProto_TYPE_INT32, "int64": descriptorpb.FieldDescriptorProto_TYPE_INT64,
		"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
		"bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	}
	m := &descriptorpb.DescriptorProto{Name: proto.String("Order")}
	for f := range strings.SplitSeq(fields, ";") {
		words := strings.Fields(f)
		n, err := strconv.Atoi(words[0])
		if err != nil {
			t.Fatal(err)
		}
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		if words[1] == "repeated" {
			label, words = descriptorpb.FieldDescriptorProto_LABEL_REPEATED, words[1:]
		}
		m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
			Name: proto.String(words[2]), Number: proto.Int32(int32(n)), Type: kinds[words[1]].Enum(), Label: label.Enum(),
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("order.proto"), Package: proto.String("shop"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{m},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var d protoreflect.MessageDescriptor = file.Messages().Get(0)
	return encodeSchema(valueSchema, "Order", 0, protoDescription(d))
}

// FuzzLayout: no description and no value of one brings the mover down, and what it
// makes of a value is as long as it says.
func FuzzLayout(f *testing.F) {
	f.Add("struct{A int8;B []string}", "struct{A int64;B []string;C *bool}", []byte{1, 1, 1, 'x'})
	f.Add("@a/1(custom)", "@a/2(custom<1(custom)>)", []byte{1, 7})
	f.Add("@a/1(struct{X uint8})", "@a/1(struct{Y<X> uint16;Z time})", []byte{1})
	f.Add("map[string][2]float32", "map[string][2]float64", []byte{0})
	f.Add("proto(a.B){1 int32;2 repeated string}", "proto(a.B){1 int64}", []byte{1, 1, 0})
	f.Add("[2147483648][2147483648]struct{}", "[2147483648][2147483648]struct{}", []byte{})
	f.Add("struct{A<B,C int8}", "*", []byte{})
	f.Fuzz(func(t *testing.T, writer, reader string, value []byte) {
		w, r := encodeSchema(valueSchema, "w", 0, writer), encodeSchema(valueSchema, "r", 0, reader)
		c, why := Compatible(w, r)
		if (c == AsIs) != (why == "") {
			t.Errorf("%v because %q", c, why)
		}
		for _, desc := range []string{writer, reader} {
			l, err := parseLayout(desc)
			if err != nil {
				continue
			}
			again, err := parseLayout(l.text)
			if err != nil || again.text != l.text {
				t.Fatalf("%q became %q, which became %v (%v)", desc, l.text, again, err)
			}
			if l.kind == layoutArray && l.size > 1000 || strings.Contains(desc, "[") && len(desc) > 100 {
				return // takes long for no bytes
			}
		}
		_, m, err := evolve(w, r, nil)
		if err != nil || m == nil {
			return
		}
		d := decoder{src: value}
		if out, err := m.move(&d, nil); err == nil && d.pos > len(value) {
			t.Errorf("took %d of %d bytes for %d", d.pos, len(value), len(out))
		}
	})
}
