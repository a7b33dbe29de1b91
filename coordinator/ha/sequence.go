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
// there. What arrives out of its place does not apply. Disposals, which are of no job, have
// a chain of their own (disposal-sequence).
//
//	known ──commit──▶ known        the number is ours
//	  │ unknown result
//	  ▼
//	unknown ──read──▶ known        applied or not, as the number says; what is still on
//	                               its way comes after a number that will have changed

// sequenceField is the key below jobs/{id}.
const sequenceField = "sequence"

// link is where a chain's number stands.
func link(id job.ID) string { return jobKey(id, sequenceField) }

// chain is where the transactions of one job are.
type chain struct {
	key string // of the number

	mu    sync.Mutex // held over a transaction: the next one has to know its number
	known bool
	last  []byte // nil: no transaction yet
}

// chains of the jobs, and that of the disposals.
type chains struct {
	mu    sync.Mutex
	byKey map[string]*chain // by the key of the number
	n     uint64            // of transactions under this leader
}

func (c *chains) of(key string) *chain {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[string]*chain{}
	}
	if c.byKey[key] == nil {
		c.byKey[key] = &chain{key: key}
	}
	return c.byKey[key]
}

func (c *chains) next(e Epoch) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return fmt.Appendf(nil, "%d.%d", e, c.n)
}

func (c *chains) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byKey, key)
}

// commit applies t in its place in the job's chain.
func (j *Jobs) commit(ctx context.Context, id job.ID, what string, t Txn) error {
	return j.commitChained(ctx, link(id), what, t, false)
}

// forget applies t as the last transaction of the job.
func (j *Jobs) forget(ctx context.Context, id job.ID, what string, t Txn) error {
	err := j.commitChained(ctx, link(id), what, t, true)
	if err == nil {
		j.chains.drop(link(id))
	}
	return err
}

func (j *Jobs) commitChained(ctx context.Context, key, what string, t Txn, final bool) error {
	if j.lead == nil {
		panic("weir: BUG: " + what + " through a read-only view")
	}
	c := j.chains.of(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := j.readSequence(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		number := j.chains.next(j.lead.Epoch())
		err := j.kv.Commit(ctx, j.lead, c.place(t, number, final))
		switch {
		case err == nil:
			c.last = number
			return nil
		case errors.Is(err, ErrConflict):
			// Either a condition of t, or an earlier transaction was applied late.
			before := c.last
			c.known = false
			if err := j.readSequence(ctx, c); err != nil {
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
func (c *chain) place(t Txn, number []byte, final bool) Txn {
	key := c.key
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
func (j *Jobs) readSequence(ctx context.Context, c *chain) error {
	if c.known {
		return nil
	}
	last, err := j.kv.Get(ctx, c.key)
	switch {
	case errors.Is(err, ErrNotFound):
		last = nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case len(last) == 0:
		return fmt.Errorf("%s is empty", c.key)
	}
	c.known, c.last = true, last
	return nil
}
