package slots

import (
	"cmp"
	"slices"

	"github.com/weirstream/weir/job"
)

// Pool knows the slots of a cluster and who has them.
type Pool struct {
	managers []*manager // by name
	requests []*request // in order of asking
}

type manager struct {
	name  string
	slots int
	free  int
}

type request struct {
	job     job.ID
	number  uint64
	slots   []string // TaskManager by slot, "" = missing
	wanted  int      // that the job would use if there were more
	before  []string // where the slots were, for those that are missing
	granted bool     // the present slots have been told
}

// Grant is the answer to a request.
type Grant struct {
	Job          job.ID
	Number       uint64   // of the request; one that was replaced since does not count
	TaskManagers []string // by slot; "" = not yet
	Free         int      // slots that the job could have in all
}

// Add puts a TaskManager with its slots into the pool.
func (p *Pool) Add(name string, slots int) {
	if p.find(name) != nil {
		return
	}
	p.managers = append(p.managers, &manager{name, slots, slots})
	slices.SortFunc(p.managers, func(a, b *manager) int { return cmp.Compare(a.name, b.name) })
	p.untell()
}

// Remove takes a TaskManager out, with the slots that jobs had on it.
func (p *Pool) Remove(name string) {
	p.managers = slices.DeleteFunc(p.managers, func(m *manager) bool { return m.name == name })
	for _, r := range p.requests {
		for i, tm := range r.slots {
			if tm == name {
				r.slots[i] = ""
			}
		}
	}
	p.untell()
}

// untell has every waiting job told again: what the cluster could give has changed.
func (p *Pool) untell() {
	for _, r := range p.requests {
		if r.missing() > 0 || r.wanted > len(r.slots) {
			r.granted = false
		}
	}
}

// Request says that a job wants n slots in all and has those in have. It replaces
// the job's earlier request; slots beyond n are given back. Grants carry number: a
// request and a grant may pass each other on their way, and then both sides would
// believe something else.
//
// A job that could use more, wanted in all, is told whenever there may be more.
func (p *Pool) Request(id job.ID, number uint64, n int, have []string, wanted int) {
	r := p.request(id)
	if r == nil {
		r = &request{job: id}
		p.requests = append(p.requests, r)
	}
	r.number, r.wanted = number, wanted
	was := r.slots
	p.giveBack(r)
	r.before, r.slots, r.granted = was, make([]string, n), false
	for i := range min(n, len(have)) {
		if m := p.find(have[i]); m != nil && m.free > 0 {
			r.slots[i] = m.name
			m.free--
		}
	}
}

// Keep holds n slots of a TaskManager for a job that runs there, until the job says with
// its first Request what it has: they must not be given to others meanwhile.
func (p *Pool) Keep(id job.ID, name string, n int) {
	m := p.find(name)
	if m == nil {
		return
	}
	r := p.request(id)
	if r == nil {
		r = &request{job: id, granted: true}
		p.requests = append(p.requests, r)
	}
	for range min(n, m.free) {
		r.slots = append(r.slots, name)
		m.free--
	}
}

// Release gives back everything a job has.
func (p *Pool) Release(id job.ID) {
	if r := p.request(id); r != nil {
		p.giveBack(r)
		p.requests = slices.DeleteFunc(p.requests, func(q *request) bool { return q == r })
		p.untell()
	}
}

func (p *Pool) giveBack(r *request) {
	for _, tm := range r.slots {
		if m := p.find(tm); m != nil {
			m.free++
		}
	}
	r.slots = nil
}

// Grants serves the requests and returns what is new to tell.
func (p *Pool) Grants() []Grant {
	var out []Grant
	for _, r := range p.requests {
		if n := r.missing(); n > 0 && n <= p.Free() {
			p.fill(r)
			r.granted = false
		}
		if !r.granted {
			r.granted = true
			out = append(out, Grant{r.job, r.number, slices.Clone(r.slots), len(r.slots) - r.missing() + p.Free()})
		}
	}
	return out
}

// fill gives every missing slot: where it was before if there is room, else on the
// TaskManager with the largest part of its slots free.
func (p *Pool) fill(r *request) {
	for i, tm := range r.slots {
		if tm != "" || i >= len(r.before) {
			continue
		}
		if m := p.find(r.before[i]); m != nil && m.free > 0 {
			r.slots[i] = m.name
			m.free--
		}
	}
	for i, tm := range r.slots {
		if tm != "" {
			continue
		}
		best := p.managers[0]
		for _, m := range p.managers[1:] {
			if m.free*best.slots > best.free*m.slots {
				best = m
			}
		}
		r.slots[i] = best.name
		best.free--
	}
}

func (r *request) missing() int {
	n := 0
	for _, tm := range r.slots {
		if tm == "" {
			n++
		}
	}
	return n
}

func (p *Pool) request(id job.ID) *request {
	for _, r := range p.requests {
		if r.job == id {
			return r
		}
	}
	return nil
}

func (p *Pool) find(name string) *manager {
	for _, m := range p.managers {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Free is the number of slots that nobody has.
func (p *Pool) Free() int {
	n := 0
	for _, m := range p.managers {
		n += m.free
	}
	return n
}

// Total is the number of slots of the cluster.
func (p *Pool) Total() int {
	n := 0
	for _, m := range p.managers {
		n += m.slots
	}
	return n
}

// FreeOn is the number of free slots of one TaskManager.
func (p *Pool) FreeOn(name string) int {
	if m := p.find(name); m != nil {
		return m.free
	}
	return 0
}
