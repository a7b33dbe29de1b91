package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
)

// Held is what was in flight to an input of an old subtask when the checkpoint was taken
// that this attempt starts from.
type Held struct {
	Input  int // of the vertex
	Source inflight.Source
	// Groups, on a hash edge, are the key groups whose records this subtask takes; the
	// others are given to others as well.
	Groups stream.KeyGroupRange
	// All says that the source has none of others, or none that a copy has to sort out.
	All bool
}

// restored is what was in flight and has not all been taken.
type restored struct {
	held   []Held
	movers []codec.Mover // by held: to the edge's records; nil: they are the same
	reader *inflight.Reader
	spare  []any // by input: a batch
}

// Restore gives the gate what was in flight, before the first Poll; it begins to read it,
// until ctx is done. Poll delivers it before all else, in its order.
func (g *Gate) Restore(ctx context.Context, held []Held) error {
	g.owner.Touch()
	r := &restored{held: held, spare: make([]any, len(g.edges))}
	sources := make([]inflight.Source, len(held))
	for i, h := range held {
		move, err := g.edges[h.Input].from(h.Source.State.RecordSchema)
		if err != nil {
			return fmt.Errorf("%w: %w", statebackend.ErrSchema, err)
		}
		r.movers = append(r.movers, move)
		sources[i] = h.Source
	}
	if len(held) > 0 {
		r.reader = inflight.NewReader(ctx, sources, g.wake)
		g.restored = r
		g.mu.Lock()
		g.reading = r.reader
		g.mu.Unlock()
	}
	return nil
}

// pollRestored delivers what was in flight. over: there is no more.
func (g *Gate) pollRestored() (it Item, ok, over bool) {
	r := g.restored
	for {
		p, i, err := r.reader.Next()
		switch {
		case err != nil:
			return Item{Channel: Restored, Err: g.restoreError(r.held[i], err)}, true, false
		case p == nil && r.reader.Over():
			r.reader.Close()
			g.restored = nil
			return Item{}, false, true
		case p == nil:
			return Item{}, false, false
		}
		batch, left, err := g.restoredBatch(i, p)
		if err != nil {
			return Item{Channel: Restored, Err: g.restoreError(r.held[i], err)}, true, false
		}
		it := Item{Channel: Restored, Input: r.held[i].Input, Batch: batch}
		if left > 0 {
			return it, true, false
		}
		g.Release(it)
	}
}

func (g *Gate) restoreError(h Held, err error) error {
	return fmt.Errorf("restore records in flight from %q: %w", h.Source.State.FromUid, err)
}

// restoredBatch is what this subtask takes of a piece.
func (g *Gate) restoredBatch(i int, p inflight.Piece) (batch any, left int, err error) {
	r, h := g.restored, g.restored.held[i]
	if move := r.movers[i]; move != nil {
		if p, err = inflight.Move(p, move); err != nil {
			return nil, 0, undecodable(err)
		}
	}
	e, free := g.edges[h.Input], r.spare[h.Input]
	r.spare[h.Input] = nil
	f := frameOfPiece(p)
	defer f.release()
	if batch, err = e.decodePiece(f, free); err != nil {
		return nil, 0, undecodable(err)
	}
	left, err = e.keepOnly(batch, h.Groups)
	return batch, left, err
}

// undecodable marks the error of bytes that have the right checksum and cannot be read:
// perhaps those of another job, which the digest would have told at the end.
func undecodable(err error) error {
	if errors.Is(err, errFrame) || errors.Is(err, codec.ErrShort) || errors.Is(err, codec.ErrMalformed) {
		return fmt.Errorf("%w: %w", inflight.ErrPiece, err)
	}
	return err
}

// releaseRestored takes back the batch of a restored item.
func (g *Gate) releaseRestored(it Item) {
	g.edges[it.Input].recycle(it.Batch)
	if g.restored != nil {
		g.restored.spare[it.Input] = it.Batch
	}
}

// StillReads names the objects that hold what has not been taken yet of what was restored.
func (g *Gate) StillReads() (names []string) {
	if g.restored == nil {
		return nil
	}
	taken := g.restored.reader.Taken()
	for i, h := range g.restored.held {
		if h.Source.Name != "" && taken[i] < h.Source.Size() && !slices.Contains(names, h.Source.Name) {
			names = append(names, h.Source.Name)
		}
	}
	return names
}

// restoredRest is what has not been taken yet of what was restored.
func (g *Gate) restoredRest() (all []Captured) {
	if g.restored == nil {
		return nil
	}
	taken := g.restored.reader.Taken()
	for i, h := range g.restored.held {
		left := h.Source.Size() - taken[i]
		if left == 0 {
			continue
		}
		c := Captured{Input: h.Input, Schema: h.Source.State.RecordSchema, Size: int(left), rest: &rest{source: h.Source, from: taken[i]}}
		if e := g.edges[h.Input]; !h.All && g.restored.movers[i] == nil {
			c.rest.keep = func(p inflight.Piece) ([]byte, error) { return e.clipped(p, h.Groups) }
		}
		all = append(all, c)
	}
	return all
}
