package window

// Grid is windows of one size that begin at regular times: tumbling and sliding ones.
// Window k is [Offset + k·Slide, Offset + k·Slide + Size), for every k, negative too.
//
// Slices are the pieces that begin or end at an edge of a window, at most two for each
// slide: windows share them. All in ms; times given are Clamped.
type Grid struct {
	Size, Slide, Offset int64
}

// floorMod is a mod m, never negative.
func floorMod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}

// Slice is the slice that contains at.
func (g Grid) Slice(at int64) Span {
	into := floorMod(at-g.Offset, g.Slide)
	base, rest := at-into, g.Size%g.Slide
	switch {
	case rest == 0:
		return Span{base, base + g.Slide}
	case into < rest:
		return Span{base, base + rest}
	}
	return Span{base + rest, base + g.Slide}
}

// FirstEnd is the end of the first window that ends at at or later.
func (g Grid) FirstEnd(at int64) int64 {
	return at + floorMod(g.Offset+g.Size-at, g.Slide)
}

// LastEnd is the end of the last window that contains the slice ending at end; ok is false
// if there is none: where slides are longer than windows, records fall in between.
func (g Grid) LastEnd(end int64) (last int64, ok bool) {
	first := g.FirstEnd(end)
	room := end + g.Size - 1 - first
	if room < 0 {
		return 0, false
	}
	return first + room - room%g.Slide, true
}

// Windows appends the windows that contain at, the earliest first.
func (g Grid) Windows(dst []Span, at int64) []Span {
	for end := g.FirstEnd(at + 1); end-g.Size <= at; end += g.Slide {
		dst = append(dst, Span{end - g.Size, end})
	}
	return dst
}

// Overlap is in how many windows a time is, at most.
func (g Grid) Overlap() int64 { return (g.Size + g.Slide - 1) / g.Slide }
