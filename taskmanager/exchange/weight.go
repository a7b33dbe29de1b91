package exchange

import (
	"reflect"
	"unsafe"
)

// recordWidth is the size in bytes that a T takes in a batch, without what it
// points to.
func recordWidth[T any]() int { return max(1, int(unsafe.Sizeof(*new(T)))) }

// weight says where in a record a string or slice has its length, and how much
// memory an element takes. What lies deeper (elements that point on, maps,
// pointers) is not weighed: batches are bounded by their number of records too.
type weight struct {
	offset uintptr // of the length, in the record
	size   int     // bytes an element
}

// weights lists the strings and slices of a record type, nil if it has none.
func weights(t reflect.Type, at uintptr, to []weight) []weight {
	switch t.Kind() {
	case reflect.String:
		return append(to, weight{at + unsafe.Sizeof(uintptr(0)), 1})
	case reflect.Slice:
		return append(to, weight{at + unsafe.Sizeof(uintptr(0)), int(t.Elem().Size())})
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			to = weights(f.Type, at+f.Offset, to)
		}
	}
	return to
}

// weigh sums what the strings and slices of v take. NB: strings and slices both
// begin with pointer and length (reflect.StringHeader, reflect.SliceHeader).
func weigh[T any](ws []weight, v *T) (bytes int) {
	for _, w := range ws {
		bytes += w.size * *(*int)(unsafe.Add(unsafe.Pointer(v), w.offset))
	}
	return bytes
}
