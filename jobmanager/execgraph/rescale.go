package execgraph

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// rescalePhase is where a change of parallelism is.
//
//	none ──Rescale, or slots have come──▶ preparing ──slots and workers ready──▶ ready
//	  ▲                                       │ not enough                         │ RescaleNow
//	  ├───────────── RescaleFailed ◀──────────┘                                    ▼
//	  └── deploying ◀──── all regions are down: the graph is replaced ────────── stopping
//	      (all RUNNING: Rescaled)
//
// While preparing, and until the JobMaster has taken a checkpoint, the job runs on:
// what costs time is done before anything stops.
type rescalePhase uint8

const (
	rescaleNone rescalePhase = iota
	rescalePreparing
	rescaleReady
	rescaleStopping
	rescaleDeploying
)

var rescalePhaseNames = [...]string{"none", "preparing", "ready", "stopping", "deploying"}

// String names the phase in transcripts.
func (p rescalePhase) String() string { return rescalePhaseNames[p] }

// rescaling is a change of parallelism under way.
type rescaling struct {
	phase  rescalePhase
	target *job.Graph
	before *job.Graph // what was wanted, should it fail
	own    bool       // nobody asked for it: slots have come
	since  time.Time  // of preparing
	spare  []Slot     // beyond those that the job has
}

// scaleUpAfter is how long a job that runs with fewer slots than it wants has run
// undisturbed before it is given more: slots that come one by one cost one restart.
const scaleUpAfter = 30 * time.Second

// rescale begins a change that was asked for. One that nobody asked for gives way.
func (s *step) rescale(g *job.Graph) {
	if s.Graph.state.Terminal() || s.asked {
		return
	}
	s.dropSpare()
	before := s.wanted
	s.wanted = g
	if s.down() { // there is nothing to keep running meanwhile
		s.change = rescaling{phase: rescaleStopping, target: g}
		s.round, s.roundRegions = roundNone, nil
		return
	}
	if sameParallelism(g, s.graph) { // it is what it wants to be now
		s.change = rescaling{}
		s.do(Rescaled{})
		return
	}
	s.change = rescaling{phase: rescalePreparing, target: g, before: before, since: s.now}
	if need := g.Slots() - len(s.slots); need > 0 {
		s.change.spare = make([]Slot, need)
		s.requestSlots()
	}
}

func sameParallelism(a, b *job.Graph) bool {
	return slices.EqualFunc(a.Vertices, b.Vertices, func(v, w job.Vertex) bool { return v.Parallelism == w.Parallelism })
}

// dropSpare gives up what is being prepared.
func (s *step) dropSpare() {
	if len(s.change.spare) > 0 {
		s.change.spare = nil
		s.standing = 0
		s.requestSlots()
	}
}

// advanceRescale does what is next of a change of parallelism.
func (s *step) advanceRescale() {
	switch s.change.phase {
	case rescaleNone:
		s.grow()
	case rescalePreparing:
		s.prepare()
	case rescaleReady:
		if s.failing() { // it stops anyway
			s.change.phase = rescaleStopping
			s.stopForRescale()
			s.replace()
		}
	case rescaleStopping:
		s.replace()
	}
}

// prepare gets slots and workers ready while the job runs.
func (s *step) prepare() {
	c := &s.change
	if slices.Contains(c.spare, Slot{}) {
		switch {
		case s.now.Sub(c.since) >= s.cfg.SlotWait:
			s.rescaleFailed(fmt.Sprintf("%d slots are needed and the cluster has %d for the job; start TaskManagers, or ask for less", c.target.Slots(), s.free))
			return
		case s.missingSlots(): // what runs now comes first
			s.rescaleFailed("a TaskManager was lost while slots were being got ready")
			return
		}
		if s.standing == 0 {
			s.requestSlots()
		}
		return
	}
	ready := true
	for _, sl := range c.spare {
		w := s.workers[sl.TaskManager]
		if w == nil {
			s.startWorker(sl.TaskManager, 1)
		}
		ready = ready && w != nil && w.Ready
	}
	if !ready {
		return
	}
	c.phase = rescaleReady
	s.do(RescaleReady{Own: c.own})
}

func (s *step) rescaleFailed(reason string) {
	c := s.change
	s.wanted = c.before
	s.dropSpare()
	s.change = rescaling{}
	s.releaseWorkers()
	if !c.own {
		s.do(RescaleFailed{reason})
	}
}

// failing reports whether some region is down, or on its way.
func (s *step) failing() bool {
	for _, r := range s.regions {
		if r.phase != regionDeploying && r.phase != regionRunning {
			return true
		}
	}
	return false
}

// rescaleNow stops the job; what it has done since its last checkpoint is done again.
func (s *step) rescaleNow() {
	if s.change.phase != rescaleReady || !s.active() {
		return
	}
	s.change.phase = rescaleStopping
	s.stopForRescale()
}

func (s *step) stopForRescale() {
	s.round, s.roundRegions = roundNone, nil
	for _, r := range s.regions {
		if r.phase == regionDeploying || r.phase == regionRunning {
			r.planned = true
			s.stop(r, "the job is being rescaled")
		}
	}
}

// replace puts the target in the place of the graph once nothing of the job lives.
func (s *step) replace() {
	if !s.down() {
		return
	}
	c := s.change
	all := append(slices.Clone(s.slots), c.spare...)
	s.change = rescaling{phase: rescaleDeploying, target: c.target, own: c.own}
	s.slots = all
	s.setGraph(c.target) // cuts the slots to its number
	if s.slotsSince = (time.Time{}); s.missingSlots() {
		s.slotsSince = s.now
	}
	s.requestSlots() // what is too many goes back
	s.releaseWorkers()
}

// down reports whether no region lives.
func (s *step) down() bool {
	for _, r := range s.regions {
		if r.phase != regionIdle && r.phase != regionBackoff {
			return false
		}
	}
	return true
}

// releaseWorkers stops those that no slot needs any more.
func (s *step) releaseWorkers() {
	var names []string
	for tm := range s.workers {
		if !slices.Contains(s.slots, Slot{tm}) {
			names = append(names, tm)
		}
	}
	sort.Strings(names)
	for _, tm := range names {
		s.do(StopWorker{TaskManager: tm, ID: s.workers[tm].ID, Reason: "the job does not need this worker any more", Grace: s.cfg.CancelGrace})
		delete(s.workers, tm)
	}
}

// rescaled ends the change: everything runs.
func (s *step) rescaled() {
	if s.change.phase == rescaleDeploying {
		own := s.change.own
		s.change = rescaling{}
		s.do(Rescaled{Own: own})
	}
}

// limited is the graph that the job wants with at most n slots; nil if the program
// fixes more for some operator.
func (s *step) limited(n int) *job.Graph {
	var ps []*metapb.VertexParallelism
	for _, v := range s.wanted.Vertices {
		p := v.Parallelism
		if s.wanted.Head(v.ID).Parallelism == 0 {
			p = min(p, n)
		}
		if p > n {
			return nil // asked for by the program: not ours to change
		}
		ps = append(ps, &metapb.VertexParallelism{Vertex: uint32(v.ID), Parallelism: uint32(p)})
	}
	g, err := job.NewGraphOf(s.wanted.Plan, ps)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: limit to %d slots: %v", n, err))
	}
	return g
}

// grow gives a job that runs with less than it wants the slots that have come: at a
// restart at once, else after a while.
func (s *step) grow() {
	n := min(s.free, s.wanted.Slots())
	if n <= len(s.slots) || s.missingSlots() || s.round != roundNone || !s.active() {
		return
	}
	g := s.limited(n)
	if g == nil || g.Slots() <= len(s.slots) {
		return
	}
	if s.down() {
		s.setGraph(g)
		s.requestSlots()
		return
	}
	if at := s.growAt(); !at.IsZero() && !s.now.Before(at) {
		s.change = rescaling{phase: rescalePreparing, target: g, own: true, since: s.now, before: s.wanted, spare: make([]Slot, g.Slots()-len(s.slots))}
		s.requestSlots()
	}
}

// growAt is when a job that runs may be given more slots; zero while it does not run.
func (s *step) growAt() time.Time {
	if s.Graph.state != Running || s.runningSince.IsZero() {
		return time.Time{}
	}
	return s.runningSince.Add(scaleUpAfter)
}
