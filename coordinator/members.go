package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

func (c *Coordinator) tookOver(e TookOver, effects []Effect) []Effect {
	c.next = e.Reserved + 1
	c.reserved = e.Reserved
	c.incarnation = e.Incarnation
	for _, done := range e.Completed {
		id := stream.CheckpointID(done.Pointer.CheckpointId)
		c.next = max(c.next, id+1)
		c.registry.open(id)
		if done.Metadata == nil {
			effects = append(effects, Record{CheckpointDamagedInfo{id, done.Problem}})
		} else {
			c.registry.list(id, done.Metadata.Operators, done.Metadata.StillReads, "")
		}
		c.completed = append(c.completed, done)
	}
	c.reserved = max(c.reserved, c.next-1)
	c.source = e.Source
	effects = c.releaseSource(effects)
	if n := len(c.completed); n > 0 && c.completed[n-1].Pointer.Terminal {
		c.enter(PhaseCommitting) // no id is needed any more
		return effects
	}
	c.enter(PhaseStarting)
	return c.reserve(0, effects)
}

func (c *Coordinator) deployed(now time.Time, e Deployed, effects []Effect) []Effect {
	if c.phase >= PhaseFinished {
		return effects
	}
	if d := c.newestUsable(); d != nil {
		invariants.Check("I5", uint64(e.Restored) == d.Pointer.CheckpointId,
			"restored checkpoint %d, the newest completed is %d", e.Restored, d.Pointer.CheckpointId)
	}
	return c.assign(now, e.Graph, e.Executions, e.StateIDs, e.NextStateID, deployed, effects)
}

// newestUsable is what recovery starts from, or nil.
func (c *Coordinator) newestUsable() *Completed {
	for i := len(c.completed) - 1; i >= 0; i-- {
		if c.completed[i].Metadata != nil {
			return &c.completed[i]
		}
	}
	return nil
}

func (c *Coordinator) adopted(now time.Time, e Adopted, effects []Effect) []Effect {
	if c.phase >= PhaseFinished {
		return effects
	}
	effects = c.assign(now, e.Graph, e.Executions, e.StateIDs, e.NextStateID, running, effects)
	newest := stream.CheckpointID(0)
	if n := len(c.completed); n > 0 {
		newest = stream.CheckpointID(c.completed[n-1].Pointer.CheckpointId)
	}
	if used := c.next - 1; used > newest {
		effects = append(effects, Abort{
			First: newest + 1, Last: used, To: e.Executions, Reason: "a new leader does not know of it",
		})
	}
	if newest > 0 {
		effects = c.notify(e.Executions, effects)
	}
	return effects
}

// assign makes executions the ones that count and finds out which attempts live.
func (c *Coordinator) assign(now time.Time, g *job.Graph, executions []Execution, ids []*metapb.StateID, next uint32, status memberStatus, effects []Effect) []Effect {
	effects = c.loseAll(now, executions, "deployed anew", effects)
	c.graph, c.stateIDs, c.nextStateID = g, ids, next
	old := c.members
	c.members = nil
	for _, s := range g.Subtasks() {
		m := member{execution: Execution{Subtask: s}, role: roleOf(g, s.Vertex)}
		if i, ok := find(old, s); ok {
			m = old[i]
		}
		c.members = append(c.members, m)
	}
	if len(old) != len(c.members) {
		// What a subtask had to commit has moved to others.
		for i := range c.members {
			c.members[i].committed = 0
		}
	}
	for _, e := range executions {
		i, ok := find(c.members, e.Subtask)
		if !ok {
			panic(fmt.Sprintf("weir: BUG: %v is deployed but not in the graph", e.Subtask))
		}
		c.members[i].execution, c.members[i].status = e, status
		c.incarnation = max(c.incarnation, e.Incarnation)
	}
	clear(c.attempts)
	c.assigned = true
	for i := range c.members {
		a := c.members[i].execution.Attempt
		c.assigned = c.assigned && a != job.Attempt{}
		c.attempts[a.String()] = true
	}
	return effects
}

func roleOf(g *job.Graph, v job.VertexID) role {
	isSource := g.Head(v).Kind == metapb.OperatorKind_OPERATOR_KIND_SOURCE
	switch {
	case g.IsRoot(v) && isSource:
		return rootSource
	case g.IsRoot(v):
		return root
	case isSource:
		return source
	}
	return inner
}

func (c *Coordinator) sourceEnded(e Execution, effects []Effect) []Effect {
	m := c.member(e)
	if m == nil || !m.role.isSource() || m.status == lost {
		return effects
	}
	effects = c.subtaskRunning(e, effects)
	m.status = ended
	return effects
}

func (c *Coordinator) subtaskRunning(e Execution, effects []Effect) []Effect {
	m := c.member(e)
	if m == nil || m.status != deployed {
		return effects
	}
	m.status = running
	if c.phase == PhaseCommitting {
		effects = c.notify([]Execution{e}, effects)
	}
	return effects
}

func (c *Coordinator) attemptsLost(now time.Time, e AttemptsLost, effects []Effect) []Effect {
	return c.loseAll(now, e.Executions, e.Reason, effects)
}

func (c *Coordinator) loseAll(now time.Time, executions []Execution, reason string, effects []Effect) []Effect {
	someLost := false
	for _, e := range executions {
		i, ok := find(c.members, e.Subtask)
		// A deployment may be lost by naming what replaces it.
		if ok && c.members[i].status != lost && !e.Attempt.Less(c.members[i].execution.Attempt) {
			c.members[i].status = lost
			someLost = true
		}
	}
	if !someLost {
		return effects
	}
	for _, p := range slices.Clone(c.open) {
		if !p.state.abortable() {
			continue
		}
		for i := range p.parts {
			if m := c.member(p.parts[i].execution); m == nil || m.status == lost {
				effects = c.abort(now, p, AttemptLost, c.name(p.parts[i].execution)+": "+reason, effects)
				break
			}
		}
	}
	if c.phase == PhaseRunning || c.phase == PhaseEnding {
		c.enter(PhaseStarting)
	}
	return effects
}

func (c *Coordinator) restoreWanted(e RestoreWanted, effects []Effect) []Effect {
	for _, bad := range e.Unusable {
		for i := range c.completed {
			if d := &c.completed[i]; stream.CheckpointID(d.Pointer.CheckpointId) == bad.ID && d.Metadata != nil {
				d.Metadata, d.Problem = nil, bad.Reason
				effects = append(effects, Record{CheckpointDamagedInfo{bad.ID, d.Problem}})
			}
		}
	}
	c.restore = restoreAsked
	return effects
}

// answerRestore names the newest completed checkpoint, once no pointer is under
// way: restoring an older one while it is being committed would replay what sinks
// are about to commit (I5).
func (c *Coordinator) answerRestore(effects []Effect) []Effect {
	if c.phase >= PhaseFinished {
		return effects // there is nothing left to run, and soon nothing to restore
	}
	if c.restore != restoreAsked || slices.ContainsFunc(c.open, func(p *checkpoint) bool { return !p.state.abortable() }) {
		return effects
	}
	c.restore = noRestore
	var answer RestoreFrom
	for i := len(c.completed) - 1; i >= 0; i-- {
		d := c.completed[i]
		if d.Metadata != nil {
			answer.Pointer, answer.Metadata = d.Pointer, d.Metadata
			break
		}
		answer.Skipped = append(answer.Skipped, d)
		if d.Pointer.Terminal {
			answer.Problem = fmt.Sprintf("the terminal checkpoint %d cannot be read, and what it committed must not be done again\n%s", d.Pointer.CheckpointId, d.Problem)
			break
		}
	}
	switch {
	case answer.Problem != "" || len(answer.Skipped) == 0:
	case answer.Pointer == nil:
		answer.Problem = unreadable(answer.Skipped)
	case c.config.Fallback == FallbackAsk:
		answer.Problem = c.consent(answer)
		answer.Pointer, answer.Metadata = nil, nil
	}
	return append(effects, answer)
}

// consent says what going back to an older checkpoint would do, and how to want it.
func (c *Coordinator) consent(to RestoreFrom) string {
	newest := to.Skipped[0].Pointer.CheckpointId
	doubled := "what the job has published since would be published again"
	if n := len(c.config.TwoPhase); n > 0 {
		doubled = fmt.Sprintf("what %s published since checkpoint %d would be published again", strings.Join(c.config.TwoPhase, ", "), to.Pointer.CheckpointId)
	}
	lines := []string{fmt.Sprintf("checkpoint %d cannot be read, and the job does not go back to checkpoint %d without consent: %s", newest, to.Pointer.CheckpointId, doubled)}
	lines = append(lines, problems(to.Skipped)...)
	return strings.Join(append(lines,
		fmt.Sprintf("to go back this time, start the job again from that checkpoint:  weir run -s %s PKG|BINARY", to.Pointer.Path),
		"to go back always:  -D execution.checkpointing.fallback=always",
	), "\n")
}

// mostProblems bounds the text of a failure: the newest checkpoints say enough.
const mostProblems = 3

// unreadable says in its first line that nothing can be restored, then what is wrong
// with each checkpoint, newest first.
func unreadable(damaged []Completed) string {
	lines := []string{"the only retained checkpoint cannot be read"}
	if n := len(damaged); n > 1 {
		lines[0] = fmt.Sprintf("none of the %d retained checkpoints can be read", n)
	}
	return strings.Join(append(lines, problems(damaged)...), "\n")
}

// problems are what is wrong with the newest of damaged, a line each.
func problems(damaged []Completed) (lines []string) {
	for i, d := range damaged {
		if i == mostProblems {
			return append(lines, fmt.Sprintf("and %d more", len(damaged)-i))
		}
		lines = append(lines, fmt.Sprintf("%v: %s", stream.CheckpointID(d.Pointer.CheckpointId), strings.ReplaceAll(d.Problem, "\n", "; ")))
	}
	return lines
}

// name is what users call the subtask of e.
func (c *Coordinator) name(e Execution) string { return c.graph.SubtaskName(e.Subtask) }
