package codec

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// Types are the types that a program has named: with a version, with functions that
// read older ones, or with a codec of its own. It may be used by several goroutines.
type Types struct {
	mu     sync.Mutex
	byType map[reflect.Type]*namedType // guarded by mu
	asked  map[reflect.Type]bool       // guarded by mu: types that codecs were made of
}

// Type is a named type; Struct and Custom make it.
type Type interface{ named() (*namedType, error) }

// Upgrade reads an older version of a T; Up and Old make it.
type Upgrade[T any] struct{ source upgradeSource }

// Coder is a codec that a user writes for a type of his own.
type Coder[T any] interface {
	// Append appends v to dst, however long that gets.
	Append(dst []byte, v T) []byte
	// Decode returns the value that src is, as Append made it. It must not keep src.
	Decode(src []byte) (T, error)
}

// namedType is a type of a program and what is known of it.
type namedType struct {
	t        reflect.Type
	name     string
	version  uint64
	custom   walker // nil: as the type is made
	upgrades []upgradeSource
}

// upgradeSource is an Upgrade[T] whatever its T.
type upgradeSource struct {
	from uint64
	make func(t *Types) (*upgradeOf, error)
}

// upgradeOf is how an older version is read.
type upgradeOf struct {
	desc string // of the older version, or custom
	// bind returns what makes a value of the present version of one of the older.
	bind func() (convert func(dst, old []byte) ([]byte, error), err error)
}

// Add names a type. It must come before the first codec of a type that holds it.
func (t *Types) Add(typ Type) error {
	n, err := typ.named()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byType == nil {
		t.byType = map[reflect.Type]*namedType{}
	}
	for _, o := range t.byType {
		if o.t == n.t {
			return fmt.Errorf("type %v is named twice, %q and %q", n.t, o.name, n.name)
		}
		if o.name == n.name {
			return fmt.Errorf("types %v and %v are both named %q", o.t, n.t, n.name)
		}
	}
	if t.asked[n.t] {
		return fmt.Errorf("type %v is named %q after an operator has used it; name it first", n.t, n.name)
	}
	t.byType[n.t] = n
	return nil
}

// of returns what is known of a type, nil if it has no name. The receiver may be nil.
func (t *Types) of(typ reflect.Type) *namedType {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked == nil {
		t.asked = map[reflect.Type]bool{}
	}
	t.asked[typ] = true
	return t.byType[typ]
}

// upgrade returns the function that reads version of the type with that name.
func (t *Types) upgrade(name string, version uint64) (func(dst, old []byte) ([]byte, error), error) {
	t.mu.Lock()
	all := slices.Collect(maps.Values(t.byType))
	t.mu.Unlock()
	for _, n := range all {
		if n.name != name {
			continue
		}
		for _, u := range n.upgrades {
			if u.from == version {
				of, err := u.make(t)
				if err != nil {
					return nil, err
				}
				return of.bind()
			}
		}
	}
	return nil, fmt.Errorf("type %s has no upgrade from version %d", name, version)
}

// description wraps the description of a named type; desc is what it is made of.
func (n *namedType) description(t *Types, desc string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "@%s/%d(%s", n.name, n.version, desc)
	for _, u := range n.upgrades {
		of, err := u.make(t)
		if err != nil {
			return "", fmt.Errorf("%s version %d: %w", n.name, u.from, err)
		}
		fmt.Fprintf(&b, "<%d(%s)>", u.from, of.desc)
	}
	b.WriteByte(')')
	return b.String(), nil
}

// Struct names T, which is encoded field by field as without a name, and gives it a
// version. Values of older versions are read by ups; between layouts of one version
// fields go by their names (see Codec). Names are for ever, versions only rise.
func Struct[T any](name string, version uint64, ups ...Upgrade[T]) Type {
	return &declared[T]{name: name, version: version, ups: ups}
}

// Custom names T, which c encodes. olds read what earlier versions of c have written.
func Custom[T any](name string, version uint64, c Coder[T], olds ...Upgrade[T]) Type {
	return &declared[T]{name: name, version: version, coder: c, custom: true, ups: olds}
}

// declared is a Type.
type declared[T any] struct {
	name    string
	version uint64
	coder   Coder[T]
	custom  bool
	ups     []Upgrade[T]
}

func (d *declared[T]) named() (*namedType, error) {
	n := &namedType{t: reflect.TypeFor[T](), name: d.name, version: d.version}
	if d.name == "" || strings.ContainsAny(d.name, "/()<>{}; \n") {
		return nil, fmt.Errorf("type %v can't be named %q: a name has none of / ( ) < > { } ; and no space", n.t, d.name)
	}
	if d.version == 0 {
		return nil, fmt.Errorf("type %v is named %q with version 0, which is that of types without a name; begin with 1", n.t, d.name)
	}
	if d.custom {
		if d.coder == nil {
			return nil, fmt.Errorf("type %v is named %q with a codec that is nil", n.t, d.name)
		}
		n.custom = &customWalker[T]{d.coder}
	}
	for _, u := range d.ups {
		switch from := u.source.from; {
		case from >= d.version:
			return nil, fmt.Errorf("type %q of version %d is to be read as version %d, which is not older", d.name, d.version, from)
		case slices.ContainsFunc(n.upgrades, func(o upgradeSource) bool { return o.from == from }):
			return nil, fmt.Errorf("version %d of type %q is read in two ways", from, d.name)
		}
		n.upgrades = append(n.upgrades, u.source)
	}
	slices.SortFunc(n.upgrades, func(a, b upgradeSource) int { return cmp.Compare(a.from, b.from) })
	return n, nil
}

// Up reads version from of T, which was an O then: f makes a T of it. Version 0 is
// that of values from before T had a name.
func Up[O, T any](from uint64, f func(O) T) Upgrade[T] {
	return Upgrade[T]{upgradeSource{from, func(t *Types) (*upgradeOf, error) {
		if reflect.TypeFor[O]() == reflect.TypeFor[T]() {
			return nil, fmt.Errorf("codec.Up from %v to itself: give the older version a type of its own", reflect.TypeFor[O]())
		}
		old, err := planOf[O](t)
		if err != nil {
			return nil, err
		}
		return &upgradeOf{old.desc, func() (func(dst, old []byte) ([]byte, error), error) {
			c, err := In[T](t)
			return func(dst, b []byte) ([]byte, error) {
				var o O
				d := decoder{src: b}
				if err := old.decode(&d, unsafe.Pointer(&o)); err != nil {
					return dst, err
				}
				return c.Append(dst, f(o)), nil
			}, err
		}}, nil
	}}}
}

// Old reads version from of T, which a Coder wrote.
func Old[T any](from uint64, decode func(src []byte) (T, error)) Upgrade[T] {
	return Upgrade[T]{upgradeSource{from, func(t *Types) (*upgradeOf, error) {
		return &upgradeOf{custom, func() (func(dst, old []byte) ([]byte, error), error) {
			c, err := In[T](t)
			return func(dst, b []byte) ([]byte, error) {
				d := decoder{src: b}
				n, err := d.length(1)
				if err != nil {
					return dst, err
				}
				v, err := decode(b[d.pos : d.pos+n])
				if err != nil {
					return dst, fmt.Errorf("%w: %w", ErrMalformed, err)
				}
				return c.Append(dst, v), nil
			}, err
		}}, nil
	}}}
}

// customWalker is a value that a user's codec encodes, behind its length.
type customWalker[T any] struct{ c Coder[T] }

func (w *customWalker[T]) append(dst []byte, v unsafe.Pointer) []byte {
	at := len(dst)
	dst = w.c.Append(append(dst, 0), *(*T)(v))
	return setLength(dst, at)
}

// setLength writes the length of what lies behind the byte at `at` there, and makes room
// if it takes more than that byte.
func setLength(dst []byte, at int) []byte {
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	var b [binary.MaxVarintLen64]byte
	return slices.Replace(dst, at, at+1, b[:binary.PutUvarint(b[:], uint64(n))]...)
}

func (w *customWalker[T]) decode(d *decoder, v unsafe.Pointer) error {
	n, err := d.length(1)
	if err != nil {
		return err
	}
	x, err := w.c.Decode(d.src[d.pos : d.pos+n : d.pos+n])
	if err != nil {
		return fmt.Errorf("%w: at byte %d: %w", ErrMalformed, d.pos, err)
	}
	d.pos += n
	*(*T)(v) = x
	return nil
}
