package coordinator

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// reserve asks for more ids.
func (c *Coordinator) reserve(after time.Duration, effects []Effect) []Effect {
	if c.reservation == reserving {
		return effects
	}
	c.reservation = reserving
	upTo := max(c.reserved, c.next-1) + stream.CheckpointID(c.config.IDBatch)
	return append(effects, ReserveIDs{UpTo: upTo, After: after})
}

func (c *Coordinator) idsReserved(e IDsReserved, effects []Effect) []Effect {
	c.reservation = noReservation
	switch e.Outcome {
	case OK:
		c.reserved = max(c.reserved, e.UpTo)
		return effects
	case Fenced:
		return c.fenced(effects)
	}
	if c.phase >= PhaseCommitting {
		return effects // no id is needed any more
	}
	return c.reserve(retry, effects)
}

// room reports whether another checkpoint may be under way.
func (c *Coordinator) room() bool {
	return len(c.open) < c.config.Concurrent && !slices.ContainsFunc(c.open, (*checkpoint).final)
}

// triggerDue starts what somebody wants, or else the checkpoint in turn.
func (c *Coordinator) triggerDue(now time.Time, effects []Effect) []Effect {
	if !c.room() {
		return effects
	}
	if kind, wants := c.due(); kind != 0 {
		return c.trigger(now, kind, wants, effects)
	}
	if c.config.Interval > 0 && !now.Before(c.triggerAt) {
		return c.trigger(now, c.periodic(), nil, effects)
	}
	return effects
}

// trigger starts a checkpoint that answers wants, if an id is at hand.
func (c *Coordinator) trigger(now time.Time, kind stream.BarrierKind, wants []want, effects []Effect) []Effect {
	if c.next > c.reserved {
		return c.reserve(0, effects)
	}
	p := &checkpoint{
		id: c.next, kind: kind, state: Pending, triggeredAt: now, wants: slices.Clone(wants),
		deadline: now.Add(c.config.Timeout), missing: len(c.members),
	}
	c.wants = slices.DeleteFunc(c.wants, func(w want) bool { return slices.Contains(p.wants, w) })
	c.yield = c.yield && len(wants) > 0
	c.next++
	var roots []Execution
	for i := range c.members {
		m := &c.members[i]
		p.parts = append(p.parts, part{execution: m.execution})
		if m.role.isRoot() {
			roots = append(roots, m.execution)
		}
	}
	c.open = append(c.open, p)
	if kind != stream.TerminalBarrier {
		c.triggerAt = now.Add(c.config.Interval)
	}
	c.registry.open(p.id)
	return append(effects,
		Record{CheckpointTriggeredInfo{p.id, kind, now, len(p.parts)}},
		Trigger{
			Barrier: c.barrier(p.id, kind), Roots: roots,
		})
}

// barrier makes the barrier of a checkpoint, which may overtake records or not:
// savepoints are free of records on their way, and so is a job that has several
// barriers on its way.
func (c *Coordinator) barrier(id stream.CheckpointID, kind stream.BarrierKind) stream.Barrier {
	b := stream.Barrier{ID: id, Kind: kind}
	if c.config.Concurrent == 1 && c.config.Alignment == UnalignedAfterTimeout && (kind == stream.CheckpointBarrier || kind == stream.FullBarrier) {
		b.Unaligned, b.AlignmentTimeout = c.config.AlignmentTimeout == 0, c.config.AlignmentTimeout
	}
	return b
}

// Progress is how many subtasks of how many have acked the checkpoint that answers the
// want of that trigger id.
func (c *Coordinator) Progress(trigger string) (n, of int, underWay bool) {
	for _, p := range c.open {
		if slices.ContainsFunc(p.wants, func(w want) bool { return w.trigger == trigger }) {
			return len(p.parts) - p.missing, len(p.parts), true
		}
	}
	return 0, 0, false
}

// Parts is what the subtasks have done so far for checkpoint id; nil if it is not under
// way.
func (c *Coordinator) Parts(id stream.CheckpointID) []PartInfo {
	if p := c.find(id); p != nil {
		return p.partInfos()
	}
	return nil
}

// Acks is how many subtasks have acked checkpoint id, which is under way.
func (c *Coordinator) Acks(id stream.CheckpointID) (n int, underWay bool) {
	p := c.find(id)
	if p == nil {
		return 0, false
	}
	return len(p.parts) - p.missing, true
}

// find returns the checkpoint under way of that id, or nil.
func (c *Coordinator) find(id stream.CheckpointID) *checkpoint {
	for _, p := range c.open {
		if p.id == id {
			return p
		}
	}
	return nil
}

// pendingPart returns what is missing of execution e in checkpoint id, or nil: an
// ack or decline of anything else is late, repeated or unknown (I10).
func (c *Coordinator) pendingPart(id stream.CheckpointID, e Execution) *part {
	p := c.find(id)
	if p == nil || p.state != Pending {
		return nil
	}
	t := p.part(e.Subtask)
	if t == nil || t.acked || t.execution != e {
		return nil
	}
	return t
}

func (c *Coordinator) acked(now time.Time, e Acked, effects []Effect) []Effect {
	attempt := e.Execution.Attempt.String()
	t := c.pendingPart(e.ID, e.Execution)
	if t == nil {
		// What it wrote must be known, or it would never be deleted. Of an attempt that
		// may still be adopted by somebody nothing is touched.
		if c.attempts[attempt] || c.dead(attempt) {
			c.registry.know(e.ID, e.Operators, e.StillReads, attempt)
			effects = c.collect(effects)
		}
		return effects
	}
	p := c.find(e.ID)
	if problem := c.checkAck(e); problem != "" {
		return c.abort(now, p, SubtaskRefused, problem, effects)
	}
	if gone := c.registry.list(e.ID, e.Operators, e.StillReads, attempt); gone != "" {
		return c.abort(now, p, SubtaskRefused, fmt.Sprintf("%s lists %s, which it had dropped", c.name(e.Execution), gone), effects)
	}
	t.operators, t.acked, t.stillReads = e.Operators, true, e.StillReads
	t.ackedAt, t.newBytes, t.timings = now, e.NewBytes, e.Timings
	p.newBytes += e.NewBytes
	p.worsen(e.Timings)
	if p.missing--; p.missing == 0 {
		p.ackedAt = now
	}
	return effects
}

// store begins to write the oldest checkpoint that has all acks. One at a time, so
// that pointers ascend; older ones still without all acks will not complete before it,
// and would be of no use after it.
func (c *Coordinator) store(now time.Time, effects []Effect) []Effect {
	if len(c.open) > 0 && c.open[0].state != Pending {
		return effects
	}
	at := slices.IndexFunc(c.open, func(p *checkpoint) bool { return p.missing == 0 })
	if at < 0 {
		return effects
	}
	p := c.open[at]
	for _, older := range slices.Clone(c.open[:at]) {
		effects = c.abort(now, older, Superseded, fmt.Sprintf("%v has all acks, %s of this one is missing", p.id, c.firstMissing(older)), effects)
	}
	p.enter(Storing)
	p.metadata = c.metadataOf(p)
	c.writing[p.id] = true
	return append(effects, WriteMetadata{ID: p.id, Object: metadataObject(p.id), Metadata: p.metadata})
}

// checkAck says what is wrong with the form of an ack, or "".
func (c *Coordinator) checkAck(e Acked) string {
	uids := c.uids(e.Execution.Subtask.Vertex)
	seen := map[string]bool{}
	for _, op := range e.Operators {
		switch {
		case !slices.Contains(uids, op.Uid):
			return fmt.Sprintf("%s acks operator %q, which is not in its chain", c.name(e.Execution), op.Uid)
		case seen[op.Uid]:
			return fmt.Sprintf("%s acks operator %q twice", c.name(e.Execution), op.Uid)
		case len(op.Subtasks) != 1 || int(op.Subtasks[0].Index) != e.Execution.Subtask.Index:
			return fmt.Sprintf("%s acks operator %q for %d subtasks, not for itself", c.name(e.Execution), op.Uid, len(op.Subtasks))
		}
		seen[op.Uid] = true
		mine := stream.RangeOf(e.Execution.Subtask.Index, c.graph.Vertices[e.Execution.Subtask.Vertex].Parallelism)
		for _, run := range op.Subtasks[0].Runs {
			if run.FirstGroup > uint32(mine.Last) || run.LastGroup < uint32(mine.First) {
				return fmt.Sprintf("%s acks run %q of operator %q with the key groups [%d,%d], its own are %v",
					c.name(e.Execution), run.Id, op.Uid, run.FirstGroup, run.LastGroup, mine)
			}
		}
	}
	return ""
}

func (c *Coordinator) uids(v job.VertexID) []string {
	var uids []string
	for _, o := range c.graph.Vertices[v].Operators {
		uids = append(uids, c.graph.Plan.Operators[o].Uid)
	}
	return uids
}

func (c *Coordinator) metadataWritten(now time.Time, e MetadataWritten, effects []Effect) []Effect {
	if e.Outcome == Fenced {
		return c.fenced(effects)
	}
	delete(c.writing, e.ID)
	p := c.find(e.ID)
	if p == nil {
		// It was aborted meanwhile, and no transaction names it or ever will.
		if e.Outcome != Failed && !c.isCompleted(e.ID) {
			c.registry.extra(metadataObject(e.ID))
			effects = append(effects, DeleteObjects{[]string{metadataObject(e.ID)}})
		}
		return effects
	}
	if p.state != Storing {
		return effects
	}
	if e.Outcome != OK {
		if e.Outcome == Unknown {
			c.registry.extra(metadataObject(p.id))
			effects = append(effects, DeleteObjects{[]string{metadataObject(p.id)}})
		}
		return c.abort(now, p, MetadataLost, e.Problem, effects)
	}
	p.enter(Committing)
	p.pointer = &metapb.CheckpointPointer{
		CheckpointId: uint64(p.id), Size: e.Size, Digest: e.Digest,
		Terminal: p.final(), Incarnation: uint64(c.incarnation), Kind: uint32(p.kind),
		StateBytes: stateBytes(p.metadata), NewBytes: p.newBytes, Subtasks: uint32(len(p.parts)),
		CompletedAtMs: now.UnixMilli(), DurationMs: now.Sub(p.triggeredAt).Milliseconds(),
	}
	for _, w := range p.wants {
		if w.pins() {
			p.pointer.Pins = append(p.pointer.Pins, w.trigger)
			p.pointer.Savepoint = true
		}
	}
	return append(effects, CommitPointer{p.id, p.pointer})
}

func (c *Coordinator) pointerCommitted(now time.Time, e PointerCommitted, effects []Effect) []Effect {
	if e.Outcome == Fenced {
		return c.fenced(effects)
	}
	p := c.find(e.ID)
	if p == nil || p.state != Committing && p.state != Recommitting {
		return effects
	}
	switch {
	case e.Outcome == OK:
		return c.complete(now, p, effects)
	case e.Outcome == Failed && p.state == Committing:
		c.registry.extra(metadataObject(p.id))
		effects = append(effects, DeleteObjects{[]string{metadataObject(p.id)}})
		return c.abort(now, p, PointerRefused, e.Problem, effects)
	}
	p.enter(ReadingBack)
	return append(effects, ReadPointer{ID: p.id, After: retry})
}

func (c *Coordinator) pointerRead(now time.Time, e PointerRead, effects []Effect) []Effect {
	if e.Outcome == Fenced {
		return c.fenced(effects)
	}
	p := c.find(e.ID)
	if p == nil || p.state != ReadingBack {
		return effects
	}
	switch {
	case e.Outcome != OK:
		return append(effects, ReadPointer{ID: p.id, After: retry})
	case e.Found:
		return c.complete(now, p, effects)
	}
	p.enter(Recommitting)
	return append(effects, CommitPointer{p.id, p.pointer})
}

// close takes p out of those under way.
func (c *Coordinator) close(p *checkpoint) {
	c.open = slices.DeleteFunc(c.open, func(o *checkpoint) bool { return o == p })
}

// complete: the pointer of p is there.
func (c *Coordinator) complete(now time.Time, p *checkpoint, effects []Effect) []Effect {
	p.enter(Complete)
	c.close(p)
	c.failures = 0
	c.completed = append(c.completed, Completed{Pointer: p.pointer, Metadata: p.metadata})
	attempts := map[string]bool{}
	for i := range p.parts {
		attempts[p.parts[i].execution.Attempt.String()] = true
	}
	c.registry.complete(p.id, attempts)
	if c.phase == PhaseRunning || c.phase == PhaseStarting {
		c.triggerAt = later(c.triggerAt, now.Add(c.config.MinPause))
	}
	effects = append(effects, Record{CheckpointCompletedInfo{
		ID: p.id, Kind: p.kind, TriggeredAt: p.triggeredAt,
		Duration: now.Sub(p.triggeredAt), Acked: p.ackedAt.Sub(p.triggeredAt),
		Subtasks: len(p.parts), NewBytes: p.newBytes, StateBytes: p.pointer.StateBytes, MetadataBytes: p.pointer.Size,
		StartDelay: time.Duration(p.worst.StartDelay), Alignment: time.Duration(p.worst.Alignment),
		Sync: time.Duration(p.worst.Sync), Async: time.Duration(p.worst.Async), LongestStall: time.Duration(p.worst.LongestStall),
		Parts: p.partInfos(),
	}})
	if p.pointer.Terminal && c.phase != PhaseCleaning {
		c.enter(PhaseCommitting)
		c.notifyAt = now.Add(again)
	}
	effects = c.notify(p.executions(), effects)
	effects = c.taken(p, effects)
	if p.final() {
		effects = c.refuse("the job has taken its last checkpoint", effects)
	}
	effects = c.releaseSource(effects)
	effects = c.subsume(effects)
	return c.collect(effects)
}

// abort ends p, for which no transaction has been sent (or has certainly failed).
func (c *Coordinator) abort(now time.Time, p *checkpoint, cause Cause, reason string, effects []Effect) []Effect {
	p.enter(Aborted)
	c.close(p)
	if cause.counts() && len(p.wants) == 0 {
		c.failures++
	}
	effects = append(effects, Record{CheckpointFailedInfo{
		ID: p.id, Kind: p.kind, TriggeredAt: p.triggeredAt, Duration: now.Sub(p.triggeredAt), Cause: cause,
		Reason: reason, Acks: len(p.parts) - p.missing, Of: len(p.parts), Consecutive: c.failures, Parts: p.partInfos(),
	}})
	var to []Execution
	for i := range p.parts {
		if m := c.member(p.parts[i].execution); m != nil && m.status >= running {
			to = append(to, m.execution)
		}
	}
	if len(to) > 0 {
		effects = append(effects, Abort{First: p.id, Last: p.id, To: to, Reason: reason})
	}
	c.registry.drop(p.id)
	effects = c.collect(effects)
	pause := c.config.MinPause
	if p.kind == stream.TerminalBarrier {
		pause = max(pause, time.Second) // at once would only fail again
	}
	c.triggerAt = later(c.triggerAt, now.Add(pause))
	effects = c.unsatisfied(p, cause, reason, effects)
	if c.failures > c.config.TolerableFailures {
		c.failures = 0
		effects = append(effects, FailJob{fmt.Sprintf("%d checkpoints failed one after the other, %d are tolerated; the last: %v: %s",
			c.config.TolerableFailures+1, c.config.TolerableFailures, cause, reason)})
	}
	return effects
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *Coordinator) isCompleted(id stream.CheckpointID) bool {
	return slices.ContainsFunc(c.completed, func(d Completed) bool { return d.Pointer.CheckpointId == uint64(id) })
}

// notify tells those of executions that still count about the newest completed
// checkpoint.
func (c *Coordinator) notify(executions []Execution, effects []Effect) []Effect {
	newest := c.completed[len(c.completed)-1]
	var live []Execution
	for _, e := range executions {
		if m := c.member(e); m != nil && m.status != lost {
			live = append(live, e)
		}
	}
	n := NotifyCompleted{ID: stream.CheckpointID(newest.Pointer.CheckpointId), Terminal: newest.Pointer.Terminal}
	byUID := map[string]*metapb.OperatorSnapshot{}
	if newest.Metadata != nil {
		for _, op := range newest.Metadata.Operators {
			byUID[op.Uid] = op
		}
	}
	for _, e := range live {
		var ops []*metapb.OperatorSnapshot
		for _, uid := range c.uids(e.Subtask.Vertex) {
			if op := byUID[uid]; op != nil {
				ops = append(ops, op)
			}
		}
		n.To = append(n.To, Target{Execution: e, KeepRuns: runIDs(ops, e.Subtask.Index)})
	}
	if len(n.To) == 0 {
		return effects
	}
	return append(effects, n)
}
