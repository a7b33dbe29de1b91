package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/adoption"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
)

// leader is a JobMaster: it carries the coordinator's effects out, and deploys.
type leader struct {
	w           *world
	epoch       uint64
	dead        bool
	phase       leaderPhase
	coordinator *coordinator.Coordinator
	operations  *operations.Core
	records     []record // transactions that keep their order
	deposed     *leader  // the one before, which may not know

	graph       *job.Graph
	executions  []coordinator.Execution
	on          map[job.SubtaskID]int // worker by subtask
	incarnation job.Incarnation
	attempt     uint32
	round       int                 // number of the last restart; what an earlier one began is given up
	timer       int                 // number of the last SetTimer
	adoption    *adoption.Core      // while collecting
	triggered   stream.CheckpointID // the last one
	acked       map[stream.CheckpointID][]string
}

type leaderPhase uint8

const (
	electing leaderPhase = iota
	collecting
	watching
	stopping
	deploying
	ending
)

// lead makes a new leader; the present one is not told.
func (w *world) lead() {
	w.store.epoch++
	l := &leader{w: w, epoch: w.store.epoch, deposed: w.leader, acked: map[stream.CheckpointID][]string{}}
	if l.deposed != nil {
		l.deposed.deposed = nil
	}
	w.leader = l
	w.after(w.between(1, 8), fmt.Sprintf("leader %d takes over", l.epoch), l.takeOver)
}

func (l *leader) takeOver() {
	w := l.w
	if l.dead {
		return
	}
	l.coordinator = coordinator.New(coordinator.Config{
		Interval: 20 * time.Millisecond, Timeout: 60 * time.Millisecond, MinPause: w.pause(), Concurrent: w.concurrent,
		TolerableFailures: coordinator.DefaultTolerableFailures, Retained: w.retained, IDBatch: 1 + w.rng.IntN(4), OrphansAfter: 15 * time.Millisecond,
		Alignment: w.alignment, AlignmentTimeout: w.alignmentTimeout,
	}, coordinator.Identity{ClusterID: "sim", JobID: "0123456789abcdef0123456789abcdef", JobName: "sim", Epoch: l.epoch})
	for _, k := range w.workers {
		if k.reachable() {
			k.epoch = max(k.epoch, l.epoch)
		}
	}
	found := w.store.read()
	l.incarnation, l.attempt = found.Incarnation, w.store.attempt
	if w.Mutant == ForgetReservation {
		found.Reserved = 0
	}
	loaded := operations.Loaded{}
	for _, c := range found.Completed {
		loaded.Pointers = append(loaded.Pointers, c.Pointer)
	}
	if w.store.ended {
		loaded.Result = "FINISHED"
	}
	var recorded []*metapb.Operation
	for _, trigger := range slices.Sorted(maps.Keys(w.store.operations)) {
		recorded = append(recorded, proto.CloneOf(w.store.operations[trigger]))
	}
	l.operations = operations.New("the job", keptOperations, recorded)
	l.step(found)
	if w.Mutant != ForgetPromises || l.epoch == 1 {
		l.operate(loaded)
	}
	switch {
	case w.store.ended:
		l.phase = ending
		l.step(coordinator.JobEnded{State: "FINISHED"})
	case w.store.graph == nil:
		l.restart("a new leader starts it")
	default:
		l.collect()
	}
}

func (l *leader) gone() bool {
	return l.dead || l.coordinator == nil || l.coordinator.Phase() == coordinator.PhaseStopped
}

// hear takes in what a subtask says.
func (l *leader) hear(e coordinator.Event) {
	if l.gone() {
		return
	}
	if r, ok := e.(coordinator.SubtaskRunning); ok && l.phase == collecting {
		l.heardRunning(r.Execution)
		return
	}
	if a, ok := e.(coordinator.Acked); ok {
		for _, x := range l.executions {
			if x.Subtask == a.Execution.Subtask && x != a.Execution {
				l.w.LateAcks++
			}
			if l.w.Mutant == LateAcks && x.Subtask == a.Execution.Subtask && a.ID < l.triggered {
				a.ID, a.Execution = l.triggered, x
				e = a
			}
		}
		for _, op := range a.Operators {
			for _, run := range op.Subtasks[0].Runs {
				if run.FirstAck == uint64(a.ID) {
					l.acked[a.ID] = append(l.acked[a.ID], run.Id)
				}
			}
		}
	}
	l.step(e)
}

// step is one step of the coordinator and what follows from it.
func (l *leader) step(e coordinator.Event) {
	if l.dead {
		return
	}
	var effects []coordinator.Effect
	func() {
		defer func() {
			if r := recover(); r != nil {
				l.w.fail("BUG", "%v (event %T)", r, e)
			}
		}()
		effects = l.coordinator.Step(time.Unix(0, int64(l.w.now)), e, nil)
	}()
	for _, effect := range effects {
		l.w.trace(fmt.Sprintf("leader %d: %T", l.epoch, effect))
		l.carryOut(effect)
	}
}

// answer hands e in after the time that a store takes.
func (l *leader) answer(after time.Duration, what string, e func() coordinator.Event) {
	l.w.after(after+l.w.between(0, 4), fmt.Sprintf("leader %d: %s", l.epoch, what), func() {
		if !l.gone() {
			l.step(e())
		}
	})
}

func (l *leader) carryOut(effect coordinator.Effect) {
	w := l.w
	s := w.store
	switch e := effect.(type) {
	case coordinator.ReserveIDs:
		l.answer(e.After, "reserve ids", func() coordinator.Event {
			return coordinator.IDsReserved{UpTo: e.UpTo, Outcome: s.commit(l.epoch, func() { s.reserved = e.UpTo })}
		})
	case coordinator.Trigger:
		if w.taken[e.Barrier.ID] {
			w.fail("I7", "checkpoint id %d is used twice", e.Barrier.ID)
		}
		if e.Barrier.ID > s.reserved && l.epoch == s.epoch {
			w.fail("I7", "checkpoint id %d is used, only those up to %d are reserved", e.Barrier.ID, s.reserved)
		}
		w.taken[e.Barrier.ID] = true
		l.triggered = e.Barrier.ID
		for _, x := range e.Roots {
			l.tell(x, "barrier", func(t *subtask) {
				t.align(align.Event{Kind: align.BarrierInjected, Channel: align.Local, Barrier: e.Barrier})
			})
		}
	case coordinator.Abort:
		for _, x := range e.To {
			for id := e.First; id <= e.Last; id++ {
				l.tell(x, "abort", func(t *subtask) {
					t.align(align.Event{Kind: align.BarrierCancelled, Channel: align.Local, Barrier: stream.Barrier{ID: id}})
				})
			}
		}
	case coordinator.WriteMetadata:
		l.writeMetadata(e)
	case coordinator.CommitPointer:
		l.commitPointer(e)
	case coordinator.ReadPointer:
		w.ReadBacks++
		l.answer(e.After, "read pointer", func() coordinator.Event {
			if w.chance(w.flaky) {
				return coordinator.PointerRead{ID: e.ID, Outcome: coordinator.Unknown}
			}
			_, found := s.pointers[e.ID]
			return coordinator.PointerRead{ID: e.ID, Outcome: coordinator.OK, Found: found}
		})
	case coordinator.NotifyCompleted:
		for _, x := range e.To {
			l.tell(x.Execution, "completed", func(t *subtask) { t.completed(e.ID, e.Terminal) })
		}
	case coordinator.DeletePointers:
		l.answer(e.After, "delete pointers", func() coordinator.Event {
			return coordinator.PointersDeleted{IDs: e.IDs, Outcome: s.commit(l.epoch, func() { s.deletePointers(e.IDs) })}
		})
	case coordinator.DeleteObjects:
		l.answer(0, "delete objects", func() coordinator.Event {
			if w.chance(w.flaky) {
				return coordinator.ObjectsDeleted{Names: e.Names, Outcome: coordinator.Failed}
			}
			s.delete(e.Names)
			return coordinator.ObjectsDeleted{Names: e.Names, Outcome: coordinator.OK}
		})
	default:
		l.carryOutRest(effect)
	}
}

func (l *leader) carryOutRest(effect coordinator.Effect) {
	w := l.w
	switch e := effect.(type) {
	case coordinator.RestoreFrom:
		if e.Problem != "" || len(e.Skipped) > 0 {
			w.fail("I5", "nothing to restore: %s", e.Problem)
		}
		l.deploy(e)
	case coordinator.SetTimer:
		l.timer++
		if n := l.timer; !e.At.IsZero() {
			w.after(max(0, time.Duration(e.At.UnixNano())-w.now), fmt.Sprintf("leader %d: timer", l.epoch), func() {
				if n == l.timer && !l.gone() {
					l.step(coordinator.Tick{})
				}
			})
		}
	case coordinator.FailJob:
		w.after(0, "too many checkpoints failed", func() { l.restart("too many checkpoints failed") })
	case coordinator.Finished:
		w.checkResults(e.Results, e.Problem)
		l.finish()
	case coordinator.ListObjects:
		l.answer(0, "list objects", func() coordinator.Event {
			return coordinator.ObjectsListed{Names: slices.Sorted(maps.Keys(w.store.objects)), Outcome: coordinator.OK}
		})
	case coordinator.CheckpointTaken:
		l.operate(operations.Taken{Trigger: e.TriggerID, Pointer: e.Pointer})
	case coordinator.Refused:
		l.operate(operations.Refused{Trigger: e.TriggerID, Reason: e.Reason})
	case coordinator.Pinned:
		l.pinned(e)
	case coordinator.PinRefused: // the other job is not started
	case coordinator.DrainSources:
		for _, x := range e.To {
			l.tell(x, "drain", func(t *subtask) { t.drained = true })
		}
	case coordinator.LeadershipLost:
		l.dead = true
	case coordinator.CleanedUp:
		l.close(e)
	case coordinator.Record:
		if o, ok := e.Info.(coordinator.OrphansInfo); ok {
			w.Orphans += o.Objects
		}
		if f, ok := e.Info.(coordinator.CheckpointFailedInfo); ok {
			w.Aborts++
			if w.Mutant == DeleteOnAbort {
				w.store.delete(l.acked[f.ID])
			}
		}
	}
}

// finish puts the end of the job on record.
func (l *leader) finish() {
	l.phase = ending
	l.operate(operations.JobEnding{State: "FINISHED"})
	l.w.after(l.w.between(0, 3), "persist the result", func() {
		if l.gone() {
			return
		}
		switch l.w.store.commit(l.epoch, func() { l.w.store.ended = true }) {
		case coordinator.OK:
			l.operate(operations.JobEnded{State: "FINISHED"})
			if l.w.calm {
				l.step(coordinator.JobEnded{State: "FAILED"}) // keeps what is retained
			} else {
				l.step(coordinator.JobEnded{State: "FINISHED"})
			}
		case coordinator.Fenced:
			l.dead = true
		default:
			l.finish()
		}
	})
}

func (l *leader) writeMetadata(e coordinator.WriteMetadata) {
	l.answer(0, "write metadata", func() coordinator.Event {
		file, err := metadata.Encode(e.Metadata)
		if err != nil {
			l.w.fail("BUG", "%v", err)
		}
		return coordinator.MetadataWritten{ID: e.ID, Outcome: l.w.store.put(e.Object, file), Size: uint64(len(file)), Problem: "store"}
	})
}

func (l *leader) commitPointer(e coordinator.CommitPointer) {
	w := l.w
	m, err := metadata.Decode(w.metadataOf(e.ID))
	if err != nil && l.epoch == w.store.epoch {
		w.fail("I3", "pointer %d is to be committed: %v", e.ID, err)
	}
	if w.Mutant == NotifyFirst {
		for _, x := range l.executions {
			l.tell(x, "completed", func(t *subtask) { t.completed(e.ID, e.Pointer.Terminal) })
		}
	}
	p := proto.CloneOf(e.Pointer)
	if w.Mutant == ForgetPins {
		e.Pointer.Pins = nil
	}
	l.answer(0, "commit pointer", func() coordinator.Event {
		outcome := w.store.commit(l.epoch, func() { w.store.putPointer(p, m) })
		if outcome == coordinator.Unknown && w.Mutant == UnknownIsFailure {
			outcome = coordinator.Failed
		}
		return coordinator.PointerCommitted{ID: e.ID, Outcome: outcome, Problem: "store"}
	})
}

func (w *world) metadataOf(id stream.CheckpointID) []byte {
	file, _ := w.store.objects[id.String()+"/_metadata"].([]byte)
	return file
}

// tell sends a message to an attempt; a worker that does not have it ignores it.
func (l *leader) tell(x coordinator.Execution, what string, do func(*subtask)) {
	i, known := l.on[x.Subtask]
	if !known {
		return
	}
	k := l.w.workers[i]
	k.deliver(l.epoch, fmt.Sprintf("leader %d: %s to %v", l.epoch, what, x.Subtask), func() {
		for _, t := range k.subtasks {
			if t.execution == x && !t.gone && t.running {
				do(t)
			}
		}
	})
}

func (l *leader) workerLost(index int) {
	if !l.gone() && l.phase == collecting {
		l.adopt(adoption.Lost{TaskManager: l.w.workers[index].name()})
		return
	}
	if l.gone() || l.phase != watching && l.phase != deploying {
		return
	}
	for _, i := range l.on {
		if i == index {
			l.restart(fmt.Sprintf("worker %d is lost", index))
			return
		}
	}
}

// restart ends all attempts and starts new ones from the newest checkpoint.
func (l *leader) restart(reason string) {
	w := l.w
	if l.gone() || l.phase == stopping || l.phase == ending {
		return
	}
	l.phase = stopping
	l.round++
	round := l.round
	l.step(coordinator.AttemptsLost{Executions: l.executions, Reason: reason})
	w.after(w.between(1, 6), fmt.Sprintf("leader %d: all attempts have ended", l.epoch), func() {
		if l.gone() || l.round != round || l.phase == ending {
			return
		}
		if w.store.epoch == l.epoch {
			for _, k := range w.workers {
				if k.reachable() {
					k.stopAll()
				}
			}
		}
		if w.Mutant == RestoreEarly {
			var r coordinator.RestoreFrom
			if found := w.store.read().Completed; len(found) > 0 {
				r.Pointer, r.Metadata = found[len(found)-1].Pointer, found[len(found)-1].Metadata
			}
			l.deploy(r)
			return
		}
		l.step(coordinator.RestoreWanted{})
	})
}

// deploy persists the next incarnation, then starts it.
func (l *leader) deploy(from coordinator.RestoreFrom) {
	w := l.w
	var up []int
	for _, k := range w.workers {
		if k.reachable() {
			up = append(up, k.index)
		}
	}
	if len(up) == 0 {
		round := l.round
		w.after(w.between(3, 8), "wait for workers", func() {
			if !l.gone() && l.round == round && l.phase != ending {
				l.deploy(from)
			}
		})
		return
	}
	l.phase = deploying
	g, err := job.NewGraphOf(w.plan, []*metapb.VertexParallelism{
		{Vertex: 0, Parallelism: sources}, {Vertex: 1, Parallelism: uint32(1 + w.rng.IntN(3))}, {Vertex: 2, Parallelism: sinks},
	})
	if err != nil {
		panic(err)
	}
	if w.store.graph != nil && w.store.graph.Vertices[1].Parallelism != g.Vertices[1].Parallelism {
		w.Rescales++
	}
	l.graph = g
	l.incarnation++
	l.attempt++
	l.executions, l.on = nil, map[job.SubtaskID]int{}
	for _, s := range g.Subtasks() {
		l.executions = append(l.executions, coordinator.Execution{Subtask: s, Attempt: job.Attempt{Epoch: l.epoch, N: l.attempt}, Incarnation: l.incarnation})
		l.on[s] = up[s.Index%len(up)] // slot i has subtask i of every vertex
	}
	l.persist(from)
}

func (l *leader) persist(from coordinator.RestoreFrom) {
	w := l.w
	round := l.round
	w.after(w.between(0, 4), fmt.Sprintf("leader %d: persist incarnation", l.epoch), func() {
		if l.gone() || l.round != round || l.phase == ending {
			return
		}
		restored := stream.CheckpointID(from.Pointer.GetCheckpointId())
		incarnation, attempt, graph := l.incarnation, l.attempt, l.graph
		var slots []string
		for i := range graph.Slots() {
			slots = append(slots, w.workers[l.on[job.SubtaskID{Vertex: widest(graph), Index: i}]].name())
		}
		outcome := w.store.commit(l.epoch, func() {
			if newest := w.store.newest(); restored != newest {
				w.fail("I5", "checkpoint %d is restored, the newest is %d", restored, newest)
			}
			w.store.incarnation, w.store.attempt, w.store.graph = incarnation, attempt, graph
			w.store.deployedBy, w.store.slots = l.epoch, slots
		})
		switch outcome {
		case coordinator.OK:
			l.start(from, restored)
		case coordinator.Fenced:
			l.dead = true
		default:
			l.persist(from)
		}
	})
}

// start creates the attempts on their workers.
func (l *leader) start(from coordinator.RestoreFrom, restored stream.CheckpointID) {
	w := l.w
	w.Restores++
	switch {
	case from.Pointer.GetTerminal() && stream.BarrierKind(from.Pointer.Kind) == stream.StopBarrier:
		w.StopRestores++
	case from.Pointer.GetTerminal():
		w.TerminalRestores++
	}
	l.step(coordinator.Deployed{Graph: l.graph, Executions: l.executions, NextStateID: 1, Restored: restored})
	if l.gone() {
		return
	}
	l.phase = watching
	parts, err := restore.Plan(from.Metadata, l.graph, restore.Options{Folder: "/job"})
	if err != nil {
		w.fail("BUG", "%v", err)
		return
	}
	channels := map[edge]*channel{}
	w.fabric[l.incarnation] = channels
	executions, graph := l.executions, l.graph
	for i, x := range executions {
		k := w.workers[l.on[x.Subtask]]
		if !k.reachable() {
			w.after(0, "a worker is gone already", func() { l.workerLost(k.index) })
			continue
		}
		life := k.life
		w.after(w.between(0, 4), fmt.Sprintf("deploy %v", x.Subtask), func() {
			k.arrive(life, l.epoch, "deploy", func() { k.start(graph, x, parts[i], from.Pointer, channels) })
		})
	}
}

// start one attempt in a worker.
func (k *worker) start(g *job.Graph, x coordinator.Execution, part restore.Subtask, from *metapb.CheckpointPointer, channels map[edge]*channel) {
	w := k.w
	restored := stream.CheckpointID(from.GetCheckpointId())
	live := k.subtasks[:0]
	for _, s := range k.subtasks {
		if s.execution.Incarnation < x.Incarnation {
			s.gone = true
		} else {
			live = append(live, s)
		}
	}
	s := &subtask{w: w, worker: k, execution: x, graph: g, started: restored}
	if stream.BarrierKind(from.GetKind()) == stream.StopBarrier {
		s.silent = restored
	}
	k.subtasks = append(live, s)
	get := func(from, to job.SubtaskID) *channel {
		e := edge{from, to}
		if channels[e] == nil {
			channels[e] = new(channel)
		}
		return channels[e]
	}
	if v := x.Subtask.Vertex; v > 0 {
		for i := range g.Vertices[v-1].Parallelism {
			s.inputs = append(s.inputs, get(job.SubtaskID{Vertex: v - 1, Index: i}, x.Subtask))
		}
	}
	if v := x.Subtask.Vertex; v < sinkVertex {
		for i := range g.Vertices[v+1].Parallelism {
			s.outputs = append(s.outputs, get(x.Subtask, job.SubtaskID{Vertex: v + 1, Index: i}))
		}
	}
	s.blocked = make([]bool, len(s.inputs))
	s.aligner = align.New(align.Options{Channels: len(s.inputs), Restored: restored, Overtakes: slices.Repeat([]bool{true}, len(s.inputs))})
	s.restore(part)
	s.commit(restored) // of what the snapshot says was prepared
	w.after(w.between(0, 5), fmt.Sprintf("%v runs", s), func() {
		s.running = true
		s.report(coordinator.SubtaskRunning{Execution: x})
	})
	s.tick()
}
