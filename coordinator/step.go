package coordinator

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Coordinator is the checkpoint coordinator of one job under one leader. It belongs
// to one goroutine, the JobMaster's.
type Coordinator struct {
	config   Config
	identity Identity

	phase       Phase
	graph       *job.Graph
	members     []member        // by subtask
	attempts    map[string]bool // of members, as written in runs
	assigned    bool            // this leader has decided which attempt of every subtask lives
	incarnation job.Incarnation
	stateIDs    []*metapb.StateID
	nextStateID uint32

	next        stream.CheckpointID // next id to use
	reserved    stream.CheckpointID // ids up to it may be used
	reservation reservation

	open      []*checkpoint // pending, storing or being committed, ascending; all but the first are pending
	completed []Completed   // ascending; the last is what recovery uses
	subsumed  []stream.CheckpointID
	registry  *registry
	writing   map[stream.CheckpointID]bool // _metadata is being written
	failures  int                          // consecutive ones that count
	wants     []want                       // asked for and not triggered, in order
	yield     bool                         // a want has expired: the next periodic checkpoint goes first
	keep      bool                         // checkpoints outlive a job that is FINISHED
	source    SourceState
	sweep     sweepState
	sweepAt   time.Time // in sweepWaiting
	swept     bool      // since the job has ended

	triggerAt time.Time // not before it
	notifyAt  time.Time // the terminal notification is repeated; zero = no need
	deleteAt  time.Time // deletions that failed are tried again; zero = no need
	timer     time.Time // as last announced by SetTimer
	restore   restoreState
	cleanup   cleanupState
}

// reservation of ids.
type reservation uint8

const (
	noReservation reservation = iota
	reserving
)

// restoreState: somebody waits for RestoreFrom.
type restoreState uint8

const (
	noRestore restoreState = iota
	restoreAsked
)

// cleanupState of an ended job.
type cleanupState uint8

const (
	keepRetained cleanupState = iota
	deleteAll
	cleanedUp
)

// again is how long to wait before a notification or a deletion is repeated.
const again = 10 * time.Second

// retry is how long to wait before a store is asked again whose answer was unknown.
const retry = 200 * time.Millisecond

// member is a subtask of the job as it is deployed now.
type member struct {
	execution Execution
	status    memberStatus
	role      role
	committed stream.CheckpointID // highest id of its Committed
}

type memberStatus uint8

const (
	lost memberStatus = iota
	deployed
	running
	ended // running, and it is a source that has ended
)

// role of a subtask in checkpoints.
type role uint8

const (
	inner  role = iota
	root        // barriers are injected here
	source      // has to end before the terminal checkpoint
	rootSource
)

func (r role) isRoot() bool   { return r == root || r == rootSource }
func (r role) isSource() bool { return r == source || r == rootSource }

// New returns a coordinator that waits for TookOver.
func New(config Config, identity Identity) *Coordinator {
	return &Coordinator{
		config: config.withDefaults(), identity: identity,
		registry: newRegistry(), attempts: map[string]bool{}, writing: map[stream.CheckpointID]bool{},
	}
}

// Step takes in one event that happened at now and appends what has to be done to
// effects.
//
//lint:step
func (c *Coordinator) Step(now time.Time, event Event, effects []Effect) []Effect {
	if c.phase == PhaseStopped {
		return effects
	}
	if c.phase == PhaseNew && tooEarly(event) {
		return effects
	}
	if _, first := event.(TookOver); first != (c.phase == PhaseNew) {
		if _, stop := event.(Stop); !stop {
			panic(fmt.Sprintf("weir: BUG: coordinator gets %T in phase %v", event, c.phase))
		}
	}
	switch e := event.(type) {
	case TookOver:
		effects = c.tookOver(e, effects)
	case Deployed:
		effects = c.deployed(now, e, effects)
	case Adopted:
		effects = c.adopted(now, e, effects)
	case SubtaskRunning:
		effects = c.subtaskRunning(e.Execution, effects)
	case AttemptsLost:
		effects = c.attemptsLost(now, e, effects)
	case RestoreWanted:
		effects = c.restoreWanted(e, effects)
	case Tick:
	case CheckpointWanted:
		effects = c.checkpointWanted(e, effects)
	case Unpinned:
		effects = c.unpinned(e, effects)
	case PinWanted:
		effects = c.pinWanted(e, effects)
	case JobEnded:
		effects = c.jobEnded(now, e, effects)
	case Stop:
		c.enter(PhaseStopped)
		return effects
	case Acked:
		effects = c.acked(now, e, effects)
	case Declined:
		if p := c.pendingPart(e.ID, e.Execution); p != nil {
			effects = c.abort(now, c.find(e.ID), SubtaskRefused, c.name(e.Execution)+": "+e.Reason, effects)
		}
	case SourceEnded:
		effects = c.sourceEnded(e.Execution, effects)
	case Committed:
		if m := c.member(e.Execution); m != nil {
			m.committed = max(m.committed, e.ID)
		}
	case IDsReserved:
		effects = c.idsReserved(e, effects)
	case MetadataWritten:
		effects = c.metadataWritten(now, e, effects)
	case PointerCommitted:
		effects = c.pointerCommitted(now, e, effects)
	case PointerRead:
		effects = c.pointerRead(now, e, effects)
	case PointersDeleted:
		effects = c.pointersDeleted(e, effects)
	case ObjectsListed:
		effects = c.objectsListed(e, effects)
	case ObjectsDeleted:
		effects = c.objectsDeleted(now, e, effects)
	default:
		panic(fmt.Sprintf("weir: BUG: coordinator gets unknown event %T", event))
	}
	return c.settle(now, effects)
}

// tooEarly: subtasks of an earlier leader speak before this one has read what the
// store holds. Nothing they say counts yet; what must not be lost is said again.
func tooEarly(event Event) bool {
	switch event.(type) {
	case Acked, Declined, SourceEnded, Committed, SubtaskRunning, Tick:
		return true
	}
	return false
}

// settle does what has become due or possible.
func (c *Coordinator) settle(now time.Time, effects []Effect) []Effect {
	if c.phase == PhaseStopped {
		return effects
	}
	for _, p := range slices.Clone(c.open) {
		if p.state.abortable() && !now.Before(p.deadline) {
			effects = c.abort(now, p, Expired, fmt.Sprintf("%d of %d acks within %v, %s missing", len(p.parts)-p.missing, len(p.parts), c.config.Timeout, c.firstMissing(p)), effects)
		}
	}
	effects = c.store(now, effects)
	effects = c.answerRestore(effects)
	effects = c.retryDeletions(now, effects)
	effects = c.sweepDue(now, effects)
	switch c.phase {
	case PhaseStarting:
		if c.allRunning() {
			c.enter(PhaseRunning)
			c.triggerAt = now.Add(c.config.Interval)
			c.planSweep(now)
			return c.settle(now, c.drainSources(effects))
		}
	case PhaseRunning:
		if c.sourcesEnded() {
			c.enter(PhaseEnding)
			c.triggerAt = now
			return c.settle(now, effects)
		}
		effects = c.triggerDue(now, effects)
	case PhaseEnding:
		if !now.Before(c.triggerAt) && len(c.open) == 0 {
			effects = c.trigger(now, stream.TerminalBarrier, c.wants, effects)
		}
	case PhaseCommitting:
		effects = c.awaitCommitted(now, effects)
	case PhaseCleaning:
		effects = c.finishCleaning(effects)
	}
	return c.announceTimer(effects)
}

// announceTimer asks for the next Tick if it is another one than before.
func (c *Coordinator) announceTimer(effects []Effect) []Effect {
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	earlier(c.notifyAt)
	earlier(c.deleteAt)
	if c.sweep == sweepWaiting {
		earlier(c.sweepAt)
	}
	for _, p := range c.open {
		if p.state.abortable() {
			earlier(p.deadline)
		}
	}
	if c.reservation == noReservation && (c.phase == PhaseEnding && len(c.open) == 0 ||
		c.phase == PhaseRunning && c.config.Interval > 0 && c.room()) {
		earlier(c.triggerAt)
	}
	if at.Equal(c.timer) {
		return effects
	}
	c.timer = at
	return append(effects, SetTimer{at})
}

// fenced ends everything: somebody else leads.
func (c *Coordinator) fenced(effects []Effect) []Effect {
	c.enter(PhaseStopped)
	return append(effects, LeadershipLost{})
}

func compareSubtasks(a, b job.SubtaskID) int {
	return cmp.Or(cmp.Compare(a.Vertex, b.Vertex), cmp.Compare(a.Index, b.Index))
}

func find(members []member, s job.SubtaskID) (int, bool) {
	return slices.BinarySearchFunc(members, s, func(m member, s job.SubtaskID) int {
		return compareSubtasks(m.execution.Subtask, s)
	})
}

// member returns the subtask's entry if e is the execution that counts now.
func (c *Coordinator) member(e Execution) *member {
	i, ok := find(c.members, e.Subtask)
	if !ok || c.members[i].execution != e {
		return nil
	}
	return &c.members[i]
}

func (c *Coordinator) allRunning() bool {
	for i := range c.members {
		if c.members[i].status < running {
			return false
		}
	}
	return len(c.members) > 0
}

func (c *Coordinator) sourcesEnded() bool {
	for i := range c.members {
		if m := &c.members[i]; m.role.isSource() && m.status != ended {
			return false
		}
	}
	return true
}

// dead reports whether no subtask can ever list a run of attempt again: this leader
// has decided which attempt of every subtask lives, and it isn't one of them. Objects
// of a later leader are none of our business.
func (c *Coordinator) dead(attempt string) bool {
	if c.attempts[attempt] || !c.assigned {
		return false
	}
	a, err := job.ParseAttempt(attempt)
	return err == nil && a.Epoch <= c.identity.Epoch
}

func (c *Coordinator) firstMissing(p *checkpoint) string {
	for i := range p.parts {
		if !p.parts[i].acked {
			return c.name(p.parts[i].execution)
		}
	}
	return "none"
}
