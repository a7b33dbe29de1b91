package weir

import (
	"reflect"
	"time"
)

// copier returns a function that makes copies of v. Where v holds maps, slices or
// pointers a copy has its own, so that changing it in place changes nothing else.
func copier[A any](v A) func() A {
	if !mutable(reflect.TypeFor[A](), map[reflect.Type]bool{}) {
		return func() A { return v }
	}
	return func() A {
		c := v
		deepen(reflect.ValueOf(&c).Elem())
		return c
	}
}

var timeType = reflect.TypeFor[time.Time]()

// mutable reports whether a t holds something that a copy would share. Types that have
// a codec are finite; others end at the first that was seen.
func mutable(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == timeType || seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Pointer:
		return true
	case reflect.Array:
		return mutable(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if mutable(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// deepen gives v, which can be set, copies of what it shares. Fields that are not
// exported, which no codec keeps, stay shared.
func deepen(v reflect.Value) {
	switch v.Kind() {
	case reflect.Map:
		if v.IsNil() {
			return
		}
		m := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			x := reflect.New(v.Type().Elem()).Elem()
			x.Set(it.Value())
			deepen(x)
			m.SetMapIndex(it.Key(), x)
		}
		v.Set(m)
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(s, v)
		for i := range s.Len() {
			deepen(s.Index(i))
		}
		v.Set(s)
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(v.Elem())
		deepen(p.Elem())
		v.Set(p)
	case reflect.Array:
		for i := range v.Len() {
			deepen(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type() != timeType {
				deepen(f)
			}
		}
	}
}
