package ha

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weirstream/weir/job"
)

// A transaction whose client has timed out may still be applied, after others that
// the same leader has committed since: a counter would go back, a pointer come back
// whose bytes are deleted. So the transactions of a job form a chain: each says after
// which one it comes (jobs/{id}/sequence has that one's number) and puts its own number
// there. What arrives out of its place does not apply.
//
//	known ──commit──▶ known        the number is ours
//	  │ unknown result
//	  ▼
//	unknown ──read──▶ known        applied or not, as the number says; what is still on
//	                               its way comes after a number that will have changed

// sequenceField is the key below jobs/{id}.
const sequenceField = "sequence"

// chain is where the transactions of one job are.
type chain struct {
	mu    sync.Mutex // held over a transaction: the next one has to know its number
	known bool
	last  []byte // nil: no transaction yet
}

// chains of the jobs, by id.
type chains struct {
	mu   sync.Mutex
	byID map[job.ID]*chain
	n    uint64 // of transactions under this leader
}

func (c *chains) of(id job.ID) *chain {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[job.ID]*chain{}
	}
	if c.byID[id] == nil {
		c.byID[id] = &chain{}
	}
	return c.byID[id]
}

func (c *chains) next(e Epoch) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return fmt.Appendf(nil, "%d.%d", e, c.n)
}

func (c *chains) drop(id job.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

// commit applies t in its place in the job's chain.
func (j *Jobs) commit(ctx context.Context, id job.ID, what string, t Txn) error {
	return j.commitChained(ctx, id, what, t, false)
}

// forget applies t as the last transaction of the job.
func (j *Jobs) forget(ctx context.Context, id job.ID, what string, t Txn) error {
	err := j.commitChained(ctx, id, what, t, true)
	if err == nil {
		j.chains.drop(id)
	}
	return err
}

func (j *Jobs) commitChained(ctx context.Context, id job.ID, what string, t Txn, final bool) error {
	if j.lead == nil {
		panic("weir: BUG: " + what + " through a read-only view")
	}
	c := j.chains.of(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := j.readSequence(ctx, id, c); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		number := j.chains.next(j.lead.Epoch())
		err := j.kv.Commit(ctx, j.lead, c.place(id, t, number, final))
		switch {
		case err == nil:
			c.last = number
			return nil
		case errors.Is(err, ErrConflict):
			// Either a condition of t, or an earlier transaction was applied late.
			before := c.last
			c.known = false
			if err := j.readSequence(ctx, id, c); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if !bytes.Equal(before, c.last) {
				continue
			}
		default:
			c.known = false
		}
		return fmt.Errorf("%s: %w", what, err)
	}
}

// place adds to t after which transaction it comes, and its own number.
func (c *chain) place(id job.ID, t Txn, number []byte, final bool) Txn {
	key := jobKey(id, sequenceField)
	if c.last == nil {
		t.Absent = append(t.Absent[:len(t.Absent):len(t.Absent)], key)
	} else {
		t.Equal = append(t.Equal[:len(t.Equal):len(t.Equal)], Entry{key, c.last})
	}
	if final {
		t.Deletes = append(t.Deletes[:len(t.Deletes):len(t.Deletes)], key)
	} else {
		t.Puts = append(t.Puts[:len(t.Puts):len(t.Puts)], Entry{key, number})
	}
	return t
}

// readSequence finds out which transaction was the last one, if that is not known. An
// error leaves open what became of the one before: it counts as unknown.
func (j *Jobs) readSequence(ctx context.Context, id job.ID, c *chain) error {
	if c.known {
		return nil
	}
	last, err := j.kv.Get(ctx, jobKey(id, sequenceField))
	switch {
	case errors.Is(err, ErrNotFound):
		last = nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case len(last) == 0:
		return fmt.Errorf("jobs/%s/%s is empty", id, sequenceField)
	}
	c.known, c.last = true, last
	return nil
}
