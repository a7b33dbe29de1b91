package windowing

import (
	"encoding/binary"

	"github.com/weirstream/weir/window"
)

// Entry is a window that a key has. Times are in ms, window.NoTimer where there is none.
type Entry struct {
	Start, End int64
	ID         int64 // names its panes
	Event      int64 // the trigger's timer of event time
	Process    int64 // and of processing time
	Clean      int64 // when the window may be forgotten, or looked at for it
}

// FullEntry is an Entry with an accumulator in it.
type FullEntry[A any] struct {
	Entry
	Full bool // there is one
	Acc  A
}

// entrySize is what an Entry takes in its list: six int64, little endian, in the order of
// the struct. What follows it of a FullEntry is its tail.
const entrySize = 6 * 8

func (e *Entry) span() window.Span { return window.Span{Start: e.Start, End: e.End} }

// index is the current key's windows, by start.
type index struct {
	list interface { // a table.List
		View() []byte
		Resize(n, width int) []byte
	}
	size int // bytes of an entry with its tail
}

func word(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }

func decodeEntry(b []byte) Entry {
	b = b[:entrySize]
	return Entry{word(b), word(b[8:]), word(b[16:]), word(b[24:]), word(b[32:]), word(b[40:])}
}

func (e *Entry) encode(b []byte) {
	b = b[:entrySize]
	binary.LittleEndian.PutUint64(b, uint64(e.Start))
	binary.LittleEndian.PutUint64(b[8:], uint64(e.End))
	binary.LittleEndian.PutUint64(b[16:], uint64(e.ID))
	binary.LittleEndian.PutUint64(b[24:], uint64(e.Event))
	binary.LittleEndian.PutUint64(b[32:], uint64(e.Process))
	binary.LittleEndian.PutUint64(b[40:], uint64(e.Clean))
}

func (x *index) len() int { return len(x.list.View()) / x.size }

func (x *index) get(i int) Entry { return decodeEntry(x.list.View()[i*x.size:]) }

// edit is the bytes of entry i, to be changed.
func (x *index) edit(i int) []byte {
	return x.list.Resize(x.len(), x.size)[i*x.size:][:x.size]
}

// tail is the bytes behind entry i.
func (x *index) tail(i int) []byte { return x.list.View()[i*x.size:][entrySize:x.size] }

func (x *index) put(i int, e Entry) { e.encode(x.edit(i)) }

func (x *index) insert(i int, e Entry) {
	n, s := x.len(), x.size
	b := x.list.Resize(n+1, s)
	copy(b[(i+1)*s:], b[i*s:n*s])
	e.encode(b[i*s:])
	clear(b[i*s+entrySize : (i+1)*s])
}

// remove takes out the entries [from, to).
func (x *index) remove(from, to int) {
	n, s := x.len(), x.size
	b := x.list.Resize(n, s)
	copy(b[from*s:], b[to*s:])
	x.list.Resize(n-(to-from), s)
}

// lower is the first entry whose word at place field of the entry is at or more; they
// ascend.
func lower(b []byte, size, field int, at int64) int {
	lo, hi := 0, len(b)/size
	for lo < hi {
		if m := (lo + hi) / 2; word(b[m*size+field*8:]) < at {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// find is the place of the window that begins at start, or where it would stand.
func (x *index) find(start int64) (i int, ok bool) {
	b := x.list.View()
	i = lower(b, x.size, 0, start)
	return i, i*x.size < len(b) && word(b[i*x.size:]) == start
}

// touching are the sessions [from, to) that s overlaps or meets: they are disjoint, so
// ends are in order too.
func (x *index) touching(s window.Span) (from, to int) {
	b := x.list.View()
	from = lower(b, x.size, 1, s.Start)
	for to = from; to*x.size < len(b) && word(b[to*x.size:]) <= s.End; {
		to++
	}
	return from, to
}

// clocks says which words of an entry are timers of a clock.
type clocks struct {
	timer  int  // place of the trigger's
	cleans bool // Clean is too
}

const cleanField = 5

// next is the earliest time of that clock that b's first entry wants, or NoTimer.
func (k clocks) next(b []byte) int64 {
	at := word(b[k.timer*8:])
	if !k.cleans {
		return at
	}
	if clean := word(b[cleanField*8:]); at == window.NoTimer || clean < at && clean != window.NoTimer {
		return clean
	}
	return at
}

// wants reports whether b's first entry wants to be called at at.
func (k clocks) wants(b []byte, at int64) bool {
	return word(b[k.timer*8:]) == at || k.cleans && word(b[cleanField*8:]) == at
}
