package ring

// Ring is a FIFO queue on a circular buffer that grows when it is full. The zero
// value is empty.
type Ring[E any] struct {
	items []E // length is 0 or a power of two
	first int
	n     int
}

// Len is the number of items.
func (r *Ring[E]) Len() int { return r.n }

// Push appends an item.
func (r *Ring[E]) Push(e E) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.items[(r.first+r.n)&(len(r.items)-1)] = e
	r.n++
}

// Pop removes the oldest item; the ring must not be empty.
func (r *Ring[E]) Pop() E {
	var none E
	e := r.items[r.first]
	r.items[r.first] = none // let go what it points to
	r.first = (r.first + 1) & (len(r.items) - 1)
	r.n--
	return e
}

// Peek is the oldest item; the ring must not be empty.
func (r *Ring[E]) Peek() *E { return &r.items[r.first] }

// At is the item with i older ones before it.
func (r *Ring[E]) At(i int) *E { return &r.items[(r.first+i)&(len(r.items)-1)] }

// Remove takes out the item with i older ones before it.
func (r *Ring[E]) Remove(i int) {
	for ; i > 0; i-- {
		*r.At(i) = *r.At(i - 1)
	}
	r.Pop()
}

func (r *Ring[E]) grow() {
	items := make([]E, max(8, 2*len(r.items)))
	for i := range r.n {
		items[i] = r.items[(r.first+i)&(len(r.items)-1)]
	}
	r.items, r.first = items, 0
}
