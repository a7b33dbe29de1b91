package window

import (
	"fmt"
	"math"
	"time"
)

// Span is the time of a window, in ms since 1970: Start belongs to it, End does not.
type Span struct{ Start, End int64 }

// All is the span of the global window.
var All = Span{math.MinInt64, math.MaxInt64}

// MaxTime is the last ms of the span: the event time of its results.
func (s Span) MaxTime() int64 { return s.End - 1 }

// Contains reports whether at lies in s.
func (s Span) Contains(at int64) bool { return at >= s.Start && at < s.End }

// Touches reports whether s and o overlap, or one begins where the other ends: sessions
// that do are one.
func (s Span) Touches(o Span) bool { return s.Start <= o.End && o.Start <= s.End }

// Cover is the least span that covers s and o.
func (s Span) Cover(o Span) Span { return Span{min(s.Start, o.Start), max(s.End, o.End)} }

// StartTime and EndTime are the span's ends as time.Time.
func (s Span) StartTime() time.Time { return time.UnixMilli(s.Start).UTC() }

// EndTime is the first instant after the span.
func (s Span) EndTime() time.Time { return time.UnixMilli(s.End).UTC() }

// String returns "[start, end)" in RFC 3339, or "[all]".
func (s Span) String() string {
	if s == All {
		return "[all]"
	}
	const form = "2006-01-02T15:04:05.000Z07:00"
	return fmt.Sprintf("[%s, %s)", s.StartTime().Format(form), s.EndTime().Format(form))
}

// margin is how far from the ends of int64 times are kept, so that a size, a gap, a slide
// and a lateness (each at most the 2^43.1 ms of a time.Duration) can be added without an
// overflow.
const margin = 1 << 48

// Clamp is at, kept away from the ends of int64.
func Clamp(at int64) int64 { return min(max(at, math.MinInt64+margin), math.MaxInt64-margin) }
