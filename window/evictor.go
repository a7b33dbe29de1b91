package window

import (
	"fmt"
	"time"
)

// Element is a record in a window, with its event time (of windows of processing time: when
// it came), in ms.
type Element[T any] struct {
	At    int64
	Value T
}

type evictorKind uint8

const (
	noEvictor evictorKind = iota
	keepCount
	keepTime
	keepNear
)

// Evictor throws elements of a window away before its result is made, or after. With one
// all elements are kept until then. Zero throws nothing away.
type Evictor struct {
	kind  evictorKind
	n     int64
	near  any // func(a, b T) float64
	limit float64
	after bool
	err   error
}

// KeepLast keeps the n elements that came last.
func KeepLast(n int) Evictor {
	e := Evictor{kind: keepCount, n: int64(n)}
	if n < 1 {
		e.err = fmt.Errorf("window.KeepLast: %d records are no window, the least is 1", n)
	}
	return e
}

// KeepRecent keeps the elements that are less than d older than the newest one.
func KeepRecent(d time.Duration) Evictor {
	return Evictor{kind: keepTime, n: max(1, d.Milliseconds()), err: whole("window.KeepRecent", "duration", d)}
}

// KeepNear keeps the elements whose distance from the one that came last is less than
// limit.
func KeepNear[T any](limit float64, distance func(element, last T) float64) Evictor {
	e := Evictor{kind: keepNear, limit: limit, near: distance}
	if distance == nil {
		e.err = fmt.Errorf("window.KeepNear: its function is nil")
	}
	return e
}

// After has e throw away after the result is made, for the window's next one.
func (e Evictor) After() Evictor { e.after = true; return e }

// Err is the mistake made with the evictor, or nil.
func (e Evictor) Err() error { return e.err }

// Evicts reports whether there is anything to do: e is not zero.
func (e Evictor) Evicts() bool { return e.kind != noEvictor }

// IsAfter reports whether e works after the result is made.
func (e Evictor) IsAfter() bool { return e.after }

// CheckEvictor refuses an evictor that is for other records than T.
func CheckEvictor[T any](e Evictor) error {
	if _, ok := e.near.(func(a, b T) float64); e.kind == keepNear && !ok && e.err == nil {
		return fmt.Errorf("window.KeepNear has a %T, want a %T", e.near, (func(a, b T) float64)(nil))
	}
	return e.err
}

// Evict returns the elements that are left, in their order; it uses the memory of all.
func Evict[T any](e Evictor, all []Element[T]) []Element[T] {
	if len(all) == 0 {
		return all
	}
	kept := all[:0]
	switch last := all[len(all)-1]; e.kind {
	case keepCount:
		return all[max(0, int64(len(all))-e.n):]
	case keepTime:
		newest := all[0].At
		for _, x := range all {
			newest = max(newest, x.At)
		}
		for _, x := range all {
			if Clamp(x.At) > Clamp(newest)-e.n {
				kept = append(kept, x)
			}
		}
		return kept
	case keepNear:
		distance := e.near.(func(a, b T) float64)
		for _, x := range all {
			if distance(x.Value, last.Value) < e.limit {
				kept = append(kept, x)
			}
		}
		return kept
	}
	return all
}
