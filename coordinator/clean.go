package coordinator

import (
	"slices"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// subsume takes the oldest completed checkpoints beyond num-retained out of the
// store. Pinned ones stay and do not count.
func (c *Coordinator) subsume(effects []Effect) []Effect {
	return c.deletePointers(c.config.Retained, effects)
}

// deletePointers leaves the newest keep unpinned checkpoints. Their bytes go when
// the pointers are gone, not before.
func (c *Coordinator) deletePointers(keep int, effects []Effect) []Effect {
	var ids []stream.CheckpointID
	unpinned := 0
	for i := len(c.completed) - 1; i >= 0; i-- {
		p := c.completed[i].Pointer
		if len(p.Pins) > 0 {
			continue
		}
		if unpinned++; unpinned > keep {
			ids = append(ids, stream.CheckpointID(p.CheckpointId))
			c.completed = slices.Delete(c.completed, i, i+1)
		}
	}
	if len(ids) == 0 {
		return effects
	}
	slices.Sort(ids)
	c.subsumed = append(c.subsumed, ids...)
	return append(effects, DeletePointers{IDs: ids})
}

func (c *Coordinator) pointersDeleted(e PointersDeleted, effects []Effect) []Effect {
	var mine []stream.CheckpointID
	for _, id := range e.IDs {
		if slices.Contains(c.subsumed, id) {
			mine = append(mine, id)
		}
	}
	switch {
	case e.Outcome == Fenced:
		return c.fenced(effects)
	case len(mine) == 0:
		return effects
	case e.Outcome != OK:
		return append(effects, DeletePointers{IDs: mine, After: retry})
	}
	c.subsumed = slices.DeleteFunc(c.subsumed, func(id stream.CheckpointID) bool { return slices.Contains(mine, id) })
	for _, id := range mine {
		c.registry.drop(id)
		c.registry.extra(metadataObject(id))
		effects = append(effects, Record{CheckpointSubsumedInfo{id}})
	}
	names := c.registry.collect(c.dead)
	for _, id := range mine {
		names = append(names, metadataObject(id))
	}
	return c.releaseSource(append(effects, DeleteObjects{names}))
}

// collect deletes what nobody refers to any more.
func (c *Coordinator) collect(effects []Effect) []Effect {
	if names := c.registry.collect(c.dead); len(names) > 0 {
		effects = append(effects, DeleteObjects{names})
	}
	return effects
}

func (c *Coordinator) objectsDeleted(now time.Time, e ObjectsDeleted, effects []Effect) []Effect {
	switch e.Outcome {
	case OK:
		c.registry.deleted(e.Names)
	case Fenced:
		return c.fenced(effects)
	default:
		if c.deleteAt.IsZero() {
			c.deleteAt = now.Add(again)
		}
	}
	return effects
}

// awaitCommitted waits for all committers of the terminal checkpoint and repeats the
// notification for those that keep silent.
func (c *Coordinator) awaitCommitted(now time.Time, effects []Effect) []Effect {
	var silent []Execution
	missing := len(c.members) == 0
	for i := range c.members {
		if m := &c.members[i]; m.committed < c.terminalID() {
			missing = true
			if m.status >= running {
				silent = append(silent, m.execution)
			}
		}
	}
	if !missing {
		c.enter(PhaseFinished)
		c.notifyAt = time.Time{}
		return append(effects, c.finished())
	}
	if c.notifyAt.IsZero() {
		c.notifyAt = now.Add(again)
	}
	if now.Before(c.notifyAt) {
		return effects
	}
	c.notifyAt = now.Add(again)
	return c.notify(silent, effects)
}

// terminalID is the id of the terminal checkpoint; only in PhaseCommitting.
func (c *Coordinator) terminalID() stream.CheckpointID {
	return stream.CheckpointID(c.completed[len(c.completed)-1].Pointer.CheckpointId)
}

// finished merges the results that the terminal checkpoint holds, by uid and
// subtask.
func (c *Coordinator) finished() Finished {
	newest := c.completed[len(c.completed)-1]
	if newest.Metadata == nil {
		return Finished{Problem: newest.Problem}
	}
	var all []*metapb.Result
	for _, op := range newest.Metadata.Operators {
		for _, s := range op.Subtasks {
			all = append(all, s.Results...)
		}
	}
	merged, err := job.MergeResults(all)
	if err != nil {
		return Finished{Problem: err.Error()}
	}
	return Finished{Results: merged}
}

func (c *Coordinator) jobEnded(now time.Time, e JobEnded, effects []Effect) []Effect {
	if c.phase == PhaseCleaning {
		return effects
	}
	for _, p := range slices.Clone(c.open) {
		if p.state.abortable() {
			effects = c.abort(now, p, JobOver, "the job is "+e.State, effects)
		}
	}
	effects = c.refuse("the job is "+e.State, effects)
	c.enter(PhaseCleaning)
	for i := range c.members {
		c.members[i].status = lost
	}
	clear(c.attempts)
	c.assigned = true // nobody lives
	c.notifyAt = time.Time{}
	if (e.State == "FINISHED" || e.State == "CANCELED" && c.config.Retention == DeleteOnCancellation) && !c.keep {
		c.cleanup = deleteAll
	}
	return effects
}

// finishCleaning goes on with the deletions of an ended job.
func (c *Coordinator) finishCleaning(effects []Effect) []Effect {
	if c.cleanup == cleanedUp || len(c.open) > 0 || len(c.writing) > 0 {
		return effects
	}
	if c.cleanup == deleteAll {
		effects = c.deletePointers(0, effects)
	} else { // those that were pinned when newer ones came
		effects = c.subsume(effects)
	}
	effects = c.collect(effects)
	if c.cleanup != deleteAll && !c.swept { // else everything goes
		if c.sweep != sweepListing {
			c.sweep = sweepListing
			effects = append(effects, ListObjects{})
		}
		return effects
	}
	open := c.registry.outstanding()
	if len(open) == 0 && len(c.subsumed) == 0 && !c.pinned() {
		folder := c.cleanup == deleteAll && len(c.completed) == 0
		c.cleanup = cleanedUp
		return append(effects, CleanedUp{Folder: folder})
	}
	return effects
}

// retryDeletions asks again for what could not be deleted.
func (c *Coordinator) retryDeletions(now time.Time, effects []Effect) []Effect {
	if c.deleteAt.IsZero() || now.Before(c.deleteAt) {
		return effects
	}
	c.deleteAt = time.Time{}
	if names := c.registry.outstanding(); len(names) > 0 {
		effects = append(effects, DeleteObjects{names})
	}
	return effects
}
