package exchange

// ring is a FIFO queue on a circular buffer that grows when it is full.
type ring[E any] struct {
	items []E // length is 0 or a power of two
	first int
	n     int
}

func (r *ring[E]) len() int { return r.n }

func (r *ring[E]) push(e E) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.items[(r.first+r.n)&(len(r.items)-1)] = e
	r.n++
}

// pop removes the oldest item; the ring must not be empty.
func (r *ring[E]) pop() E {
	var none E
	e := r.items[r.first]
	r.items[r.first] = none // let go what it points to
	r.first = (r.first + 1) & (len(r.items) - 1)
	r.n--
	return e
}

// peek is the oldest item; the ring must not be empty.
func (r *ring[E]) peek() *E { return &r.items[r.first] }

// at is the item with i older ones before it.
func (r *ring[E]) at(i int) *E { return &r.items[(r.first+i)&(len(r.items)-1)] }

// remove takes out the item with i older ones before it.
func (r *ring[E]) remove(i int) {
	for ; i > 0; i-- {
		*r.at(i) = *r.at(i - 1)
	}
	r.pop()
}

func (r *ring[E]) grow() {
	items := make([]E, max(8, 2*len(r.items)))
	for i := range r.n {
		items[i] = r.items[(r.first+i)&(len(r.items)-1)]
	}
	r.items, r.first = items, 0
}
