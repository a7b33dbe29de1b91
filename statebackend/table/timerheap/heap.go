package timerheap

// Item is a time at which a key wants to be called.
type Item struct {
	At   int64
	Hash uint64 // of the key
	Word uint64 // the key, of a Heap of words; else its place: position<<32 | length
}

// Heap holds items by time, the earliest first: a heap of four children a node, half as deep
// as one of two, so that a push and a pop touch fewer cache lines. Its keys are all words
// (Push, Pop) or all bytes (PushBytes, PopBytes). The zero Heap is empty.
type Heap struct {
	items []Item
	keys  []byte // of the items, if keys are bytes
	dead  int    // bytes of keys that no item refers to
}

// Len is the number of items.
func (h *Heap) Len() int { return len(h.items) }

// First is the earliest time; ok is false if there is none.
func (h *Heap) First() (at int64, ok bool) {
	if len(h.items) == 0 {
		return 0, false
	}
	return h.items[0].At, true
}

// Bytes is the memory that the heap takes, slack included.
func (h *Heap) Bytes() int64 { return int64(cap(h.items))*24 + int64(cap(h.keys)) }

// Push adds an item whose key is a word.
func (h *Heap) Push(at int64, hash, word uint64) {
	h.items = append(h.items, Item{at, hash, word})
	h.up()
}

// PushBytes adds an item whose key is enc, which is copied.
func (h *Heap) PushBytes(at int64, hash uint64, enc []byte) {
	place := uint64(len(h.keys))<<32 | uint64(len(enc))
	h.keys = append(h.keys, enc...)
	h.Push(at, hash, place)
}

// Pop takes the earliest item out. There must be one.
func (h *Heap) Pop() Item {
	top := h.items[0]
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items = h.items[:last]
	h.down()
	return top
}

// PopBytes is Pop of a heap whose keys are bytes: the key is appended to dst.
func (h *Heap) PopBytes(dst []byte) (it Item, key []byte) {
	it = h.Pop()
	n := int(uint32(it.Word))
	key = append(dst, h.keys[it.Word>>32:it.Word>>32+uint64(n)]...)
	h.dead += n
	if h.dead > 4096 && h.dead > len(h.keys)/2 {
		h.compact()
	}
	return it, key
}

func (h *Heap) up() {
	i := len(h.items) - 1
	for i > 0 {
		up := (i - 1) / 4
		if h.items[up].At <= h.items[i].At {
			break
		}
		h.items[up], h.items[i] = h.items[i], h.items[up]
		i = up
	}
}

func (h *Heap) down() {
	items, i := h.items, 0
	for {
		small := i
		for c := 4*i + 1; c <= 4*i+4 && c < len(items); c++ {
			if items[c].At < items[small].At {
				small = c
			}
		}
		if small == i {
			return
		}
		items[i], items[small] = items[small], items[i]
		i = small
	}
}

// compact writes the keys anew without those that are gone.
func (h *Heap) compact() {
	old := h.keys
	h.keys, h.dead = make([]byte, 0, len(old)-h.dead+64), 0
	for i := range h.items {
		pos, n := h.items[i].Word>>32, uint64(uint32(h.items[i].Word))
		h.items[i].Word = uint64(len(h.keys))<<32 | n
		h.keys = append(h.keys, old[pos:pos+n]...)
	}
}
