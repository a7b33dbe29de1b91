package window

import (
	"fmt"
	"time"
)

// Kind is what an Assigner does.
type Kind uint8

// Kinds of assigners.
const (
	// Aligned windows are those of a Grid.
	Aligned Kind = iota + 1
	// Sessions grow with their records, and two become one when they touch.
	Sessions
	// Whole is one window for all time.
	Whole
)

// Assigner says which windows a record belongs to. The constructors make it.
type Assigner struct {
	name       string
	kind       Kind
	grid       Grid
	gap        int64
	gapOf      any // func(T) time.Duration
	processing bool
	trigger    Trigger
	evictor    Evictor
	err        error
}

// maxOverlap bounds in how many windows a record is: each has a timer and a result.
const maxOverlap = 100_000

// Tumbling is windows of a size that follow one another: [0, size), [size, 2·size), …
func Tumbling(size time.Duration) Assigner { return aligned("Tumbling", size, size) }

// Sliding is windows of a size of which one begins at every slide. Records in between, if
// the slide is longer than the size, belong to none.
func Sliding(size, slide time.Duration) Assigner { return aligned("Sliding", size, slide) }

func aligned(name string, size, slide time.Duration) Assigner {
	a := Assigner{name: name, kind: Aligned, trigger: OnEventTime()}
	a.grid.Size = a.millis("size", size)
	if a.grid.Slide = a.millis("slide", slide); a.err == nil && a.grid.Overlap() > maxOverlap {
		a.err = fmt.Errorf("window.%s: with a size of %v and a slide of %v each record is in %d windows, at most %d are possible",
			name, size, slide, a.grid.Overlap(), maxOverlap)
	}
	return a
}

// Session is windows that end a gap after their last record. A record that is exactly a
// gap later still belongs to the session.
func Session(gap time.Duration) Assigner {
	a := Assigner{name: "Session", kind: Sessions, trigger: OnEventTime()}
	a.gap = a.millis("gap", gap)
	return a
}

// SessionBy is Session with a gap that each record says. One below a millisecond fails
// the attempt.
func SessionBy[T any](gap func(T) time.Duration) Assigner {
	a := Assigner{name: "SessionBy", kind: Sessions, trigger: OnEventTime(), gapOf: gap}
	if gap == nil {
		a.err = fmt.Errorf("window.SessionBy: its function is nil")
	}
	return a
}

// Global is one window for all time. It has no result unless it is given a trigger.
func Global() Assigner { return Assigner{name: "Global", kind: Whole, trigger: Never()} }

// Count is windows of n records of a key. What has come to fewer at the end has no result.
func Count(n int) Assigner {
	a := Global()
	a.name, a.trigger = "Count", Purging(Every(n))
	a.err = a.trigger.Err()
	return a
}

// SlidingCount is windows of the last size records of a key, one after every slide
// records.
func SlidingCount(size, slide int) Assigner {
	a := Global()
	a.name, a.trigger, a.evictor = "SlidingCount", Every(slide), KeepLast(size)
	if a.err = a.trigger.Err(); a.err == nil {
		a.err = a.evictor.Err()
	}
	return a
}

// millis is d in ms; a mistake is kept.
func (a *Assigner) millis(what string, d time.Duration) int64 {
	if a.err == nil {
		a.err = whole("window."+a.name, what, d)
	}
	return max(1, d.Milliseconds())
}

// whole refuses what is no positive number of ms.
func whole(of, what string, d time.Duration) error {
	switch {
	case d <= 0:
		return fmt.Errorf("%s: a %s of %v is not possible, it must be positive", of, what, d)
	case d%time.Millisecond != 0:
		return fmt.Errorf("%s: a %s of %v is not possible, it must be whole milliseconds", of, what, d)
	}
	return nil
}

// Offset moves the windows: with one of 15 minutes, hours begin at a quarter past. It may
// be negative: −8 h for days of UTC+8.
func (a Assigner) Offset(by time.Duration) Assigner {
	switch {
	case a.err != nil:
	case a.kind != Aligned:
		a.err = fmt.Errorf("window.%s has no offset", a.name)
	case by%time.Millisecond != 0:
		a.err = fmt.Errorf("window.%s: an offset of %v is not possible, it must be whole milliseconds", a.name, by)
	default:
		a.grid.Offset = floorMod(by.Milliseconds(), a.grid.Slide)
	}
	return a
}

// ProcessingTime has the wall clock decide instead of the records' event time. Nothing is
// late then, and windows still open when the input ends have no result.
func (a Assigner) ProcessingTime() Assigner {
	if a.err == nil && a.kind == Whole {
		a.err = fmt.Errorf("window.%s knows no time", a.name)
	}
	a.processing = true
	if a.trigger.kind == byEventTime {
		a.trigger = OnProcessingTime()
	}
	return a
}

// Err is the mistake made with the assigner, or nil.
func (a Assigner) Err() error {
	if a.err == nil && a.kind == 0 {
		return fmt.Errorf("the window is zero: take one of package window's, such as window.Tumbling")
	}
	return a.err
}

// String names the assigner.
func (a Assigner) String() string { return "window." + a.name }

// Kind is what it does.
func (a Assigner) Kind() Kind { return a.kind }

// Grid is that of Aligned windows.
func (a Assigner) Grid() Grid { return a.grid }

// Gap is that of Sessions in ms; of, if it is not nil, is the func(T) time.Duration that
// says it for each record.
func (a Assigner) Gap() (ms int64, of any) { return a.gap, a.gapOf }

// InProcessingTime reports whether the wall clock decides.
func (a Assigner) InProcessingTime() bool { return a.processing }

// Defaults are the trigger and the evictor that the windows have unless others are given.
func (a Assigner) Defaults() (Trigger, Evictor) { return a.trigger, a.evictor }
