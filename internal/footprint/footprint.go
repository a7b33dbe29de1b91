package footprint

import (
	"reflect"
	"unsafe"
)

// Width is the size in bytes that a T takes in a batch, without what it
// points to.
func Width[T any]() int { return max(1, int(unsafe.Sizeof(*new(T)))) }

// Weight says where in a record a string or slice has its length, and how much
// memory an element takes. What lies deeper (elements that point on, maps,
// pointers) is not weighed: batches are bounded by their number of records too.
type Weight struct {
	offset uintptr // of the length, in the record
	size   int     // bytes an element
}

// WeightsOf lists the strings and slices of a record type, nil if it has none.
func WeightsOf[T any]() []Weight { return weights(reflect.TypeFor[T](), 0, nil) }

func weights(t reflect.Type, at uintptr, to []Weight) []Weight {
	switch t.Kind() {
	case reflect.String:
		return append(to, Weight{at + unsafe.Sizeof(uintptr(0)), 1})
	case reflect.Slice:
		return append(to, Weight{at + unsafe.Sizeof(uintptr(0)), int(t.Elem().Size())})
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			to = weights(f.Type, at+f.Offset, to)
		}
	}
	return to
}

// Weigh sums what the strings and slices of v take. NB: strings and slices both
// begin with pointer and length (reflect.StringHeader, reflect.SliceHeader).
func Weigh[T any](ws []Weight, v *T) (bytes int) {
	for _, w := range ws {
		bytes += w.size * *(*int)(unsafe.Add(unsafe.Pointer(v), w.offset))
	}
	return bytes
}

// HasPointers reports whether a value of type t keeps something else alive.
func HasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return false
	case reflect.Array:
		return t.Len() > 0 && HasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if HasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return true
}
