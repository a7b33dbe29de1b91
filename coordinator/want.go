package coordinator

import (
	"fmt"
	"slices"

	"github.com/weirstream/weir/stream"
)

// want is a checkpoint that somebody has asked for and waits for.
//
//	asked ──room──▶ triggered ──▶ taken (CheckpointTaken)
//	  ▲                │  │ it fails for a reason of its own
//	  │ attempt lost,  │  └──▶ refused (Refused)
//	  └── expired ─────┘
//
// Several are answered by one checkpoint where its kind allows. One that expires is
// taken again after the next periodic checkpoint: it never holds those up (B6).
type want struct {
	trigger string
	kind    stream.BarrierKind
	drain   bool // sources end first; the terminal checkpoint answers it
}

// pins reports whether the checkpoint has to stay until its copy is made.
func (w want) pins() bool {
	return w.kind == stream.SavepointBarrier || w.kind == stream.StopBarrier
}

func (c *Coordinator) checkpointWanted(e CheckpointWanted, effects []Effect) []Effect {
	switch {
	case c.phase >= PhaseCommitting:
		return append(effects, Refused{e.TriggerID, "the job has taken its last checkpoint"})
	case c.asked(e.TriggerID):
		return effects
	}
	c.wants = append(c.wants, want{e.TriggerID, e.Kind, e.Drain})
	return c.drainSources(effects)
}

// asked reports whether somebody waits for trigger already.
func (c *Coordinator) asked(trigger string) bool {
	is := func(w want) bool { return w.trigger == trigger }
	return slices.ContainsFunc(c.wants, is) ||
		slices.ContainsFunc(c.open, func(p *checkpoint) bool { return slices.ContainsFunc(p.wants, is) })
}

// due takes the wants that the next checkpoint answers, with its kind; none if there
// is nothing to do now.
func (c *Coordinator) due() (stream.BarrierKind, []want) {
	if c.yield && c.config.Interval > 0 {
		return 0, nil
	}
	first := want{}
	for _, w := range c.wants {
		if !w.drain && rank[w.kind] > rank[first.kind] {
			first = w
		}
	}
	kind := first.kind
	if kind == 0 || kind == stream.StopBarrier && len(c.open) > 0 {
		return 0, nil
	}
	if kind == stream.CheckpointBarrier {
		kind = c.periodic()
	}
	mine := func(w want) bool {
		switch {
		case w.drain:
			return false
		case kind == stream.FullBarrier:
			return !w.pins()
		case w.kind == stream.FullBarrier:
			return false // an ordinary one is not what was asked for
		}
		return true
	}
	var taken []want
	for _, w := range c.wants {
		if mine(w) {
			taken = append(taken, w)
		}
	}
	return kind, taken
}

// rank orders what is taken first: one that can answer others.
var rank = map[stream.BarrierKind]int{
	stream.CheckpointBarrier: 1, stream.FullBarrier: 2, stream.SavepointBarrier: 3, stream.StopBarrier: 4,
}

// periodic is the kind of a checkpoint in turn: what a job without a claim on its
// source writes first lists nothing of it.
func (c *Coordinator) periodic() stream.BarrierKind {
	if c.source != SourceNoClaim {
		return stream.CheckpointBarrier
	}
	if d := c.newestUsable(); d == nil || listsForeign(d.Metadata) {
		return stream.FullBarrier
	}
	return stream.CheckpointBarrier
}

// unsatisfied puts the wants of a failed checkpoint back, or refuses them.
func (c *Coordinator) unsatisfied(p *checkpoint, cause Cause, reason string, effects []Effect) []Effect {
	if len(p.wants) == 0 {
		return effects
	}
	wants := p.wants
	p.wants = nil
	switch cause {
	case Expired, AttemptLost, Superseded:
		c.wants = append(wants, c.wants...)
		c.yield = cause == Expired
		return effects
	}
	for _, w := range wants {
		effects = append(effects, Refused{w.trigger, fmt.Sprintf("%v failed (%v): %s", p.id, cause, reason)})
	}
	return effects
}

// refuse answers everybody who still waits.
func (c *Coordinator) refuse(reason string, effects []Effect) []Effect {
	for _, w := range c.wants {
		effects = append(effects, Refused{w.trigger, reason})
	}
	c.wants = nil
	return effects
}

// drainSources has the sources end, if that is wanted and they run, and their
// enumerators: a terminal barrier is for subtasks that have ended.
func (c *Coordinator) drainSources(effects []Effect) []Effect {
	if c.phase != PhaseRunning || !slices.ContainsFunc(c.wants, func(w want) bool { return w.drain }) {
		return effects
	}
	var to []Execution
	sources := 0
	for i := range c.members {
		m := &c.members[i]
		if m.status != running || m.role == inner {
			continue
		}
		to = append(to, m.execution)
		if m.role.isSource() {
			sources++
		}
	}
	if sources == 0 {
		return effects
	}
	return append(effects, DrainSources{to})
}

// taken answers the wants of a checkpoint that has completed.
func (c *Coordinator) taken(p *checkpoint, effects []Effect) []Effect {
	for _, w := range p.wants {
		effects = append(effects, CheckpointTaken{TriggerID: w.trigger, Pointer: p.pointer, Metadata: p.metadata})
	}
	return effects
}

// unpinned lets a checkpoint go that was kept for a copy.
func (c *Coordinator) unpinned(e Unpinned, effects []Effect) []Effect {
	for i := range c.completed {
		p := c.completed[i].Pointer
		if stream.CheckpointID(p.CheckpointId) != e.ID {
			continue
		}
		p.Pins = slices.DeleteFunc(slices.Clone(p.Pins), func(pin string) bool { return pin == e.TriggerID })
	}
	if e.Keep {
		c.keep = true
		if c.cleanup == deleteAll {
			c.cleanup = keepRetained
		}
	}
	if c.phase < PhaseFinished {
		effects = c.subsume(effects)
	}
	return effects
}

// pinWanted keeps a completed checkpoint for somebody else who starts from it. One whose
// pointer is being deleted is not there any more.
func (c *Coordinator) pinWanted(e PinWanted, effects []Effect) []Effect {
	i := slices.IndexFunc(c.completed, func(d Completed) bool { return d.Pointer.CheckpointId == uint64(e.ID) })
	if i < 0 || c.completed[i].Metadata == nil || c.phase >= PhaseFinished {
		return append(effects, PinRefused(e))
	}
	p := c.completed[i].Pointer
	if !slices.Contains(p.Pins, e.Pin) {
		p.Pins = append(slices.Clone(p.Pins), e.Pin)
	}
	return append(effects, Pinned{e.Pin, p})
}

// pinned reports whether somebody still needs a completed checkpoint.
func (c *Coordinator) pinned() bool {
	return slices.ContainsFunc(c.completed, func(d Completed) bool { return len(d.Pointer.Pins) > 0 })
}
