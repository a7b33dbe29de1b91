package adoption

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
)

// Record is what an earlier leader has left of a job.
type Record struct {
	Regions      []Region
	TaskManagers []string // by slot; "" or missing: not known
}

// Region is the last deployment of a failover region.
type Region struct {
	Subtasks    []job.SubtaskID
	Incarnation job.Incarnation // 0 = it was never deployed
	Attempt     job.Attempt
}

// phase of the decision.
//
//	reading ──Loaded──▶ collecting ──each region is found or lost, or the window is over──▶ settled
//	   └────────── Loaded, each is already ──────────────────────────────────────────────────▶ ┘
type phase uint8

const (
	reading phase = iota
	collecting
	settled
)

// Core decides for one job under one leader. It belongs to one goroutine.
type Core struct {
	record   Record
	deadline time.Time
	phase    phase
	terminal bool
	here     map[string]*presence // TaskManagers that have registered, by id
	timer    time.Time            // as last asked for
	facts    []coordinator.Event
}

// presence is a registered TaskManager.
type presence struct {
	worker *Worker // the job's; nil = none
	exited []Exited
}

// New returns the Core of a job whose window ends at deadline.
func New(r Record, deadline time.Time) *Core {
	return &Core{record: r, deadline: deadline, here: map[string]*presence{}}
}

// Settled reports whether Settled has been said.
func (c *Core) Settled() bool { return c.phase == settled }

// Step takes in what happened at now and appends to effects what is to be done.
func (c *Core) Step(now time.Time, e Event, effects []Effect) []Effect {
	if c.phase == settled {
		return effects
	}
	switch e := e.(type) {
	case Loaded:
		c.phase, c.terminal = collecting, e.Terminal
	case Registered:
		c.here[e.TaskManager] = &presence{worker: e.Worker, exited: e.Exited}
		if e.Worker != nil {
			c.facts = append(c.facts, e.Worker.Facts...)
		}
	case Said:
		c.said(e)
	case Told:
		c.facts = append(c.facts, e.Fact)
	case WorkerExited:
		if p := c.here[e.TaskManager]; p != nil {
			p.exited = append(p.exited, e.Exited)
			if p.worker != nil && p.worker.ID == e.Worker {
				p.worker = nil
			}
		}
	case Lost:
		delete(c.here, e.TaskManager)
	case Tick:
	default:
		panic(fmt.Sprintf("weir: BUG: adoption gets unknown event %T", e))
	}
	return c.settle(now, effects)
}

// said brings what is known of a subtask up to date.
func (c *Core) said(e Said) {
	p := c.here[e.TaskManager]
	if p == nil || p.worker == nil {
		return // of a worker that is gone
	}
	i := slices.IndexFunc(p.worker.Subtasks, func(s Subtask) bool { return s.ID == e.Subtask.ID })
	switch {
	case i < 0:
		p.worker.Subtasks = append(p.worker.Subtasks, e.Subtask)
	case p.worker.Subtasks[i].Incarnation <= e.Subtask.Incarnation:
		p.worker.Subtasks[i] = e.Subtask
	}
}

// settle ends the decision when nothing is left to wait for.
func (c *Core) settle(now time.Time, effects []Effect) []Effect {
	if c.phase == reading {
		return effects
	}
	over := !now.Before(c.deadline)
	verdicts := make([]Verdict, len(c.record.Regions))
	for i, r := range c.record.Regions {
		v, open := c.judge(r)
		if open && !over {
			if !c.timer.Equal(c.deadline) {
				c.timer = c.deadline
				effects = append(effects, SetTimer{c.deadline})
			}
			return effects
		}
		verdicts[i] = v
	}
	c.phase = settled
	return append(effects, c.settlement(verdicts))
}

// judge says what becomes of a region by what is known now. Open: it may still come to be
// adopted.
func (c *Core) judge(r Region) (v Verdict, open bool) {
	if r.Incarnation == 0 {
		return Verdict{Reason: "it was not deployed when the leader was lost"}, false
	}
	var missing, starting []string
	for _, id := range r.Subtasks {
		f, reason, failure := c.find(r, id)
		switch {
		case reason == "" && f == nil:
			missing = append(missing, id.String())
		case reason == "" && f.Subtask.State == Starting:
			starting = append(starting, id.String())
		case reason == "":
			v.Found = append(v.Found, *f)
		case v.Reason == "" || failure && !v.Failure: // a failure says more than what follows from it
			v.Reason, v.Failure = reason, failure
			if f != nil && failure {
				v.Blame, v.Fatal = f.Subtask, f.Subtask.Fatal
			}
		}
	}
	if fatal := c.fatalExit(r); fatal != "" {
		v.Reason, v.Failure, v.Fatal = fatal, true, true
	}
	switch {
	case v.Reason != "":
		return v, false
	case len(missing) == 0 && len(starting) == 0:
		v.Adopt = true
		return v, false
	case len(missing) == 0:
		v.Reason = fmt.Sprintf("%s did not come to run in time after the leader was lost", list(starting))
		return v, true
	}
	v.Failure = true // a process, or a host, is gone
	v.Reason = fmt.Sprintf("after the leader was lost no TaskManager has reported %s", list(missing))
	return v, true
}

// mostNamed bounds the text of a reason.
const mostNamed = 3

func list(names []string) string {
	if n := len(names); n > mostNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), n-mostNamed)
	}
	return strings.Join(names, ", ")
}

// find looks for the recorded attempt of a subtask. A reason says that the region can't be
// adopted; without one and without an attempt, or with one that is Starting, it may still
// come to run.
func (c *Core) find(r Region, id job.SubtaskID) (f *Found, reason string, failure bool) {
	for _, tm := range slices.Sorted(maps.Keys(c.here)) {
		p := c.here[tm]
		if p.worker == nil {
			continue
		}
		for _, s := range p.worker.Subtasks {
			if s.ID != id {
				continue
			}
			if s.Attempt != r.Attempt || s.Incarnation != r.Incarnation {
				if !s.State.live() {
					continue // of an attempt that was replaced
				}
			}
			if why := c.useless(tm, p.worker); why != "" {
				return nil, fmt.Sprintf("the worker of %v on %s is stopped: %s", id, tm, why), false
			}
			here := &Found{Subtask: s, Worker: p.worker.Graph}
			switch {
			case s.State == Starting, s.State == Running, s.State == Finished && c.terminal:
				return here, "", false
			case s.State == Failed:
				return here, s.Failure, true
			}
			return here, fmt.Sprintf("%v was %v when the leader was lost", id, s.State), false
		}
	}
	if id.Index >= len(c.record.TaskManagers) {
		return nil, "", false
	}
	home := c.record.TaskManagers[id.Index]
	p := c.here[home]
	switch {
	case p == nil:
		return nil, "", false
	case p.worker != nil:
		return nil, fmt.Sprintf("%v was not deployed when the leader was lost", id), false
	case len(p.exited) > 0:
		return nil, p.exited[len(p.exited)-1].Reason, true
	}
	return nil, fmt.Sprintf("the job had no worker on %s when the leader was lost", home), false
}

// fatalExit is why a worker of the region has ended for which the program is to blame; "" if
// none has.
func (c *Core) fatalExit(r Region) string {
	for _, tm := range slices.Sorted(maps.Keys(c.here)) {
		p := c.here[tm]
		runsHere := slices.ContainsFunc(r.Subtasks, func(id job.SubtaskID) bool {
			return id.Index < len(c.record.TaskManagers) && c.record.TaskManagers[id.Index] == tm
		})
		for _, x := range p.exited {
			if runsHere && x.UserError {
				return x.Reason
			}
		}
	}
	return ""
}

// settlement divides what was found.
func (c *Core) settlement(verdicts []Verdict) Settled {
	e := Settled{Regions: verdicts, Slots: make([]string, len(c.record.TaskManagers)), Facts: c.facts}
	kept := map[string]bool{}
	for _, tm := range slices.Sorted(maps.Keys(c.here)) {
		w := c.here[tm].worker
		if w == nil {
			continue
		}
		why := c.useless(tm, w)
		if why != "" {
			e.Stop = append(e.Stop, Stop{tm, w.ID, why})
			continue
		}
		e.Workers, kept[tm] = append(e.Workers, w.Graph), true
	}
	for i, tm := range c.record.TaskManagers {
		if kept[tm] {
			e.Slots[i] = tm
		}
	}
	for i := range e.Regions {
		v := &e.Regions[i]
		if !v.Adopt { // what is left of it, to be ended first (I2)
			v.Found = c.left(c.record.Regions[i], e.Workers)
		}
	}
	return e
}

// useless says why the job does not keep a worker, or "".
func (c *Core) useless(tm string, w *Worker) string {
	switch {
	case !w.Ready:
		return "the leader that started it is lost"
	case !slices.Contains(c.record.TaskManagers, tm):
		return "the job has no slots there"
	}
	for _, s := range w.Subtasks {
		known := slices.ContainsFunc(c.record.Regions, func(r Region) bool {
			return r.Incarnation == s.Incarnation && r.Attempt == s.Attempt && slices.Contains(r.Subtasks, s.ID)
		})
		if !known && s.State.live() {
			return fmt.Sprintf("it runs %v as incarnation %d, which is not on record", s.ID, s.Incarnation)
		}
	}
	return ""
}

// left are the attempts of a region on workers that the job keeps.
func (c *Core) left(r Region, workers []execgraph.Worker) (all []Found) {
	for _, w := range workers {
		for _, s := range c.here[w.TaskManager].worker.Subtasks {
			if s.Incarnation == r.Incarnation && s.Attempt == r.Attempt && slices.Contains(r.Subtasks, s.ID) {
				all = append(all, Found{Subtask: s, Worker: w})
			}
		}
	}
	return all
}
