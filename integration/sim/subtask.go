package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
)

// worker is a process that hosts subtasks.
type worker struct {
	w        *world
	index    int
	life     int // number of the process
	down     bool
	isolated time.Duration // until then nothing gets in or out
	epoch    uint64        // highest seen
	subtasks []*subtask
}

func (k *worker) crash() {
	if k.down {
		return
	}
	w := k.w
	w.WorkerCrashes++
	w.trace(fmt.Sprintf("crash worker %d", k.index))
	k.stopAll()
	k.down = true
	k.life++
	w.after(w.between(0, 3), fmt.Sprintf("worker %d is seen to be gone", k.index), func() { w.leader.workerLost(k.index) })
	w.after(w.between(10, 30), fmt.Sprintf("worker %d is back", k.index), func() { k.down = false })
}

// isolate cuts the worker off; its subtasks go on, not knowing that they have been
// replaced.
func (k *worker) isolate(d time.Duration) {
	w := k.w
	if k.down || k.isolated > w.now {
		return
	}
	w.trace(fmt.Sprintf("isolate worker %d", k.index))
	k.isolated = w.now + d
	life := k.life
	w.after(15*time.Millisecond, fmt.Sprintf("worker %d is silent", k.index), func() {
		if k.life == life && k.isolated > w.now {
			w.leader.workerLost(k.index)
		}
	})
	w.after(d, fmt.Sprintf("worker %d is heard again", k.index), func() {
		for _, s := range k.subtasks {
			if s.execution.Incarnation < w.store.incarnation {
				s.gone = true // disowned
			}
		}
	})
}

func (k *worker) reachable() bool { return !k.down && k.isolated <= k.w.now }

func (k *worker) stopAll() {
	for _, s := range k.subtasks {
		s.gone = true
	}
	k.subtasks = nil
}

// deliver a leader's message to the worker; what comes from a deposed leader is
// refused.
func (k *worker) deliver(epoch uint64, what string, do func()) {
	life := k.life
	k.w.message(what, func() { k.arrive(life, epoch, what, do) })
}

func (k *worker) arrive(life int, epoch uint64, what string, do func()) {
	switch {
	case k.down || k.life != life || epoch < k.epoch:
	case k.isolated > k.w.now:
		k.w.after(k.isolated-k.w.now, what, func() { k.arrive(life, epoch, what, do) })
	default:
		k.epoch = epoch
		do()
	}
}

type edge struct{ from, to job.SubtaskID }

// channel is the queue of one edge between subtasks.
type channel struct {
	items []message
	last  stream.CheckpointID // of the barriers sent
}

type message struct {
	event  stream.Event // Kind 0 = a record
	record row
	since  time.Duration // of a barrier: when it was sent
	seen   bool          // of a barrier: its consumer has heard of it
	kept   bool          // captured
}

// row is a record: which one it is, its key, and behind count, the key's count.
type row struct{ source, seq, key, count int }

type txn struct {
	id   stream.CheckpointID
	name string
	rows []row
}

// subtask is one attempt of one subtask.
type subtask struct {
	w         *world
	worker    *worker
	execution coordinator.Execution
	graph     *job.Graph
	gone      bool
	running   bool
	ended     bool                // end of input has been passed on
	drained   bool                // the input is to end here
	silent    stream.CheckpointID // of the stop after which nothing is read; 0 = none
	aligner   *align.Aligner
	inputs    []*channel
	blocked   []bool
	outputs   []*channel
	started   stream.CheckpointID
	uploaded  time.Duration // when the last upload ends
	capture   *capture      // of an unaligned checkpoint, or nil
	restored  []row         // that were in flight, taken before all others

	position  int // of a source
	processed uint64
	counts    map[int]int // of count
	dirty     map[int]bool
	runs      []*metapb.Run
	still     []string // objects read although they are in no run
	made      int
	rows      []row // of a sink
	prepared  []txn
	rotation  int
}

func (s *subtask) String() string {
	return fmt.Sprintf("%v#%d", s.execution.Subtask, s.execution.Incarnation)
}

const (
	sourceVertex job.VertexID = iota
	countVertex
	sinkVertex
)

func groupOf(key int) stream.KeyGroup { return stream.GroupOf(uint64(key+1) * 0x9e3779b97f4a7c15) }

func keyOf(source, seq int) int { return (source*7919 + seq*104729 + seq*seq*13) % keys }

// restore fills the subtask from its part of the plan.
func (s *subtask) restore(from restore.Subtask) {
	s.counts, s.dirty = map[int]int{}, map[int]bool{}
	for _, op := range from.Operators {
		s.restoreChannels(op.Channels)
		for _, k := range op.Keyed {
			for _, run := range k.Runs {
				s.readRun(run, k.Range)
			}
		}
		for _, state := range op.States {
			for _, e := range state.Entries {
				switch v := s.w.store.blobs[string(e)].(type) {
				case int:
					s.position = v
				case []txn:
					s.prepared = slices.Clone(v)
				}
			}
		}
		for _, r := range op.Results {
			s.processed += r.GetSum()
		}
	}
}

// readRun applies one run to the counts; the clipped run goes into the list.
func (s *subtask) readRun(run *metapb.Run, groups stream.KeyGroupRange) {
	for _, f := range run.Files {
		content, there := s.w.store.objects[f.Name].(map[int]int)
		if !there {
			s.w.fail("I12", "%v restores run %s, which is gone", s, run.Id)
			return
		}
		clip, ok := groups.Intersect(stream.KeyGroupRange{First: stream.KeyGroup(run.FirstGroup), Last: stream.KeyGroup(run.LastGroup)})
		if !ok {
			return
		}
		for key, n := range content {
			if clip.Contains(groupOf(key)) {
				s.counts[key] = n
			}
		}
		s.runs = append(s.runs, &metapb.Run{
			Id: run.Id, Files: run.Files, FirstGroup: uint32(clip.First), LastGroup: uint32(clip.Last),
			Attempt: run.Attempt, FirstAck: run.FirstAck, Bytes: run.Bytes,
		})
	}
}

// tick is one turn of the subtask's loop.
func (s *subtask) tick() {
	if s.gone {
		return
	}
	pause := s.w.between(0, 2)
	if s.ended {
		pause = s.w.between(2, 10)
	}
	s.w.after(pause, s.String(), s.tick)
	if !s.running {
		return
	}
	if s.w.chance(0.01) {
		s.report(coordinator.SubtaskRunning{Execution: s.execution}) // an agent keeps it until a leader has it
	}
	if s.execution.Incarnation == s.w.store.incarnation && !s.w.store.ended {
		for _, name := range s.still {
			if _, there := s.w.store.objects[name]; !there && s.w.store.uploaded[name] {
				s.w.fail("I12", "%v still reads %s, which is gone", s, name)
			}
		}
	}
	if s.execution.Subtask.Vertex == sourceVertex {
		s.produce()
		return
	}
	s.hear()
	for range s.w.rng.IntN(8) {
		if len(s.restored) > 0 {
			r := s.restored[0]
			s.restored = s.restored[1:]
			s.process(r)
			continue
		}
		var ready []int
		for ch, in := range s.inputs {
			if !s.blocked[ch] && len(in.items) > 0 {
				ready = append(ready, ch)
			}
		}
		if len(ready) == 0 {
			return
		}
		s.take(ready[s.w.rng.IntN(len(ready))])
	}
}

func (s *subtask) produce() {
	if s.silent != 0 {
		return
	}
	for range s.w.rng.IntN(4) {
		if s.position == s.w.records || s.drained {
			break
		}
		r := row{source: s.execution.Subtask.Index, seq: s.position, key: keyOf(s.execution.Subtask.Index, s.position)}
		s.position++
		s.send(stream.SubtaskOf(groupOf(r.key), len(s.outputs)), message{record: r})
	}
	if (s.position == s.w.records || s.drained) && !s.ended {
		s.ended = true
		s.broadcast(stream.Event{Kind: stream.EndOfInputEvent})
		s.report(coordinator.SourceEnded{Execution: s.execution})
	} else if s.ended && s.w.chance(0.02) {
		s.report(coordinator.SourceEnded{Execution: s.execution}) // an agent keeps it until a leader has it
	}
}

func (s *subtask) take(ch int) {
	m := s.inputs[ch].items[0]
	s.inputs[ch].items = s.inputs[ch].items[1:]
	s.keep(ch, &m)
	switch m.event.Kind {
	case stream.BarrierEvent:
		if s.caught(ch, m) {
			return
		}
		m.event.Barrier.Age += s.w.now - m.since
		s.align(align.Event{Kind: align.BarrierArrived, Channel: ch, Barrier: m.event.Barrier})
	case stream.CancelBarrierEvent:
		s.align(align.Event{Kind: align.BarrierCancelled, Channel: ch, Barrier: m.event.Barrier})
	case stream.EndOfInputEvent:
		s.align(align.Event{Kind: align.EndOfInput, Channel: ch})
	default:
		s.process(m.record)
	}
}

func (s *subtask) process(r row) {
	if s.execution.Subtask.Vertex == sinkVertex {
		s.rows = append(s.rows, r)
		return
	}
	s.processed++
	s.counts[r.key]++
	s.dirty[r.key] = true
	r.count = s.counts[r.key]
	s.rotation++
	s.send(s.rotation%len(s.outputs), message{record: r})
}

func (s *subtask) send(to int, m message) {
	c := s.outputs[to]
	if m.event.Kind == stream.BarrierEvent {
		if m.event.Barrier.ID <= c.last {
			s.w.fail("I9", "%v sends barrier %d after %d", s, m.event.Barrier.ID, c.last)
		}
		c.last, m.since = m.event.Barrier.ID, s.w.now
	}
	c.items = append(c.items, m)
}

func (s *subtask) broadcast(e stream.Event) {
	for i := range s.outputs {
		s.send(i, message{event: e})
	}
}

func (s *subtask) align(e align.Event) {
	var captured []int
	for _, effect := range s.aligner.Step(s.w.now, e, nil) {
		switch effect.Kind {
		case align.Block:
			s.blocked[effect.Channel] = s.w.Mutant != NoAlignment
		case align.UnblockAll:
			clear(s.blocked)
		case align.Start:
			s.start(effect.Barrier)
		case align.Capture:
			if s.catch(effect.Channel) {
				captured = append(captured, effect.Channel)
			}
		case align.CaptureComplete:
			s.captured()
		case align.AbortStarted:
			s.capture = nil
			s.resume(effect.Barrier.ID)
		case align.Abort:
			s.resume(effect.Barrier.ID)
			s.broadcast(stream.Event{Kind: stream.CancelBarrierEvent, Barrier: stream.Barrier{ID: effect.Barrier.ID}})
			s.report(coordinator.Declined{ID: effect.Barrier.ID, Execution: s.execution, Reason: "its barrier was cancelled"})
		case align.InputEnded:
			s.ended = true
			s.broadcast(stream.Event{Kind: stream.EndOfInputEvent})
		}
	}
	for _, ch := range captured {
		s.align(align.Event{Kind: align.Captured, Channel: ch})
	}
}

// resume reads on after a stop that has failed.
func (s *subtask) resume(id stream.CheckpointID) {
	if s.silent == id {
		s.silent = 0
	}
}

// start forwards the barrier, takes the cut at once and uploads it behind.
func (s *subtask) start(b stream.Barrier) {
	if b.ID <= s.started {
		s.w.fail("I9", "%v starts checkpoint %d after %d", s, b.ID, s.started)
	}
	s.started = b.ID
	s.silent = 0 // a barrier after a stop's says that the stop has failed
	if b.Kind == stream.StopBarrier && s.execution.Subtask.Vertex == sourceVertex {
		s.silent = b.ID
	}
	s.broadcast(stream.Event{Kind: stream.BarrierEvent, Barrier: b})
	p := &pendingAck{open: 1}
	if s.aligner.Capturing() == b.ID {
		p.open++
		s.beginCapture(b.ID, p)
	}
	if s.w.chance(s.w.flaky * 0.1) {
		p.declined = true
		s.report(coordinator.Declined{ID: b.ID, Execution: s.execution, Reason: "disk full"})
		return
	}
	ack, objects := s.cut(b.ID)
	p.ack = ack
	// An ack is sent when every run in it is durable, so uploads end in order.
	s.uploaded = max(s.uploaded, s.w.now+s.w.between(0, 12))
	s.w.after(s.uploaded-s.w.now, fmt.Sprintf("%v uploaded %d", s, b.ID), func() {
		if s.gone {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			s.w.store.objects[name], s.w.store.uploaded[name] = objects[name], true
		}
		s.part(p)
	})
}

// cut returns the ack of a checkpoint and the objects to be uploaded for it.
func (s *subtask) cut(id stream.CheckpointID) (coordinator.Acked, map[string]map[int]int) {
	x := s.execution
	objects := map[string]map[int]int{}
	snapshot := &metapb.SubtaskSnapshot{Index: uint32(x.Subtask.Index), Ended: s.ended, Watermark: restore.NoWatermark}
	state := func(name string, kind metapb.StateKind, v any) {
		snapshot.OperatorStates = append(snapshot.OperatorStates, &metapb.OperatorState{Name: name, Kind: kind, Entries: [][]byte{s.w.store.blob(v)}})
	}
	state("who", metapb.StateKind_STATE_KIND_UNION_LIST, witness{id, x})
	ack := coordinator.Acked{ID: id, Execution: x}
	switch x.Subtask.Vertex {
	case sourceVertex:
		state("position", metapb.StateKind_STATE_KIND_SPLIT_LIST, s.position)
	case countVertex:
		ack.StillReads = s.still
		s.still = nil
		s.cutCounts(id, objects)
		snapshot.Runs = slices.Clone(s.runs)
		ack.StillReads = append(slices.Clone(ack.StillReads), s.still...)
		snapshot.Results = []*metapb.Result{{Name: "records", Value: &metapb.Result_Sum{Sum: s.processed}}}
	case sinkVertex:
		// What was prepared for an aborted checkpoint stays and goes with the next.
		s.prepared = append(s.prepared, txn{id, fmt.Sprintf("%v/%d", x.Incarnation, id) + x.Subtask.String(), s.rows})
		s.rows = nil
		state("prepared", metapb.StateKind_STATE_KIND_SPLIT_LIST, slices.Clone(s.prepared))
	}
	uid := s.graph.VertexUID(x.Subtask.Vertex)
	ack.Operators = []*metapb.OperatorSnapshot{{Uid: uid, Parallelism: uint32(s.graph.Vertices[x.Subtask.Vertex].Parallelism), Subtasks: []*metapb.SubtaskSnapshot{snapshot}}}
	return ack, objects
}

// cutCounts adds the delta, or now and then one run instead of all.
func (s *subtask) cutCounts(id stream.CheckpointID, objects map[string]map[int]int) {
	content := map[int]int{}
	if s.w.chance(0.25) {
		for _, run := range s.runs {
			s.still = append(s.still, run.Files[0].Name)
		}
		if s.w.chance(0.5) {
			s.still = nil
		}
		s.runs = nil
		maps.Copy(content, s.counts)
	} else {
		for key := range s.dirty {
			content[key] = s.counts[key]
		}
	}
	clear(s.dirty)
	if len(content) == 0 {
		return
	}
	s.made++
	x := s.execution
	name := fmt.Sprintf("shared/%v.%v.%d", x.Attempt, x.Subtask, s.made)
	if s.w.store.used[name] {
		s.w.fail("I12", "the name %s is used twice", name)
	}
	s.w.store.used[name] = true
	objects[name] = content
	r := stream.RangeOf(x.Subtask.Index, s.graph.Vertices[x.Subtask.Vertex].Parallelism)
	s.runs = append(s.runs, &metapb.Run{
		Id: name, Files: []*metapb.RunFile{{Name: name, Size: 1}}, FirstGroup: uint32(r.First), LastGroup: uint32(r.Last),
		Attempt: x.Attempt.String(), FirstAck: uint64(id), Bytes: uint64(len(content)),
	})
}

// witness proves who took a snapshot.
type witness struct {
	id        stream.CheckpointID
	execution coordinator.Execution
}

// completed is CheckpointCompleted.
func (s *subtask) completed(id stream.CheckpointID, terminal bool) {
	if !s.w.store.ever[id] {
		s.w.fail("I24", "%v is told that checkpoint %d has completed, which it has not", s, id)
		return
	}
	s.commit(id)
	if terminal {
		s.report(coordinator.Committed{ID: id, Execution: s.execution})
	}
}

// commit publishes everything prepared at or before id.
func (s *subtask) commit(id stream.CheckpointID) {
	s.prepared = slices.DeleteFunc(s.prepared, func(t txn) bool {
		if t.id > id {
			return false
		}
		if _, done := s.w.output[t.name]; !done {
			s.w.output[t.name] = t.rows
		}
		return true
	})
}

// report tells the leader, whoever it is when the message arrives.
func (s *subtask) report(e coordinator.Event) {
	var what string
	switch e := e.(type) {
	case coordinator.Acked:
		what = fmt.Sprintf("%v acks %d", s, e.ID)
	case coordinator.Declined:
		what = fmt.Sprintf("%v declines %d", s, e.ID)
	default:
		what = fmt.Sprintf("%v reports %T", s, e)
	}
	s.w.message(what, func() { s.hand(what, e) })
}

func (s *subtask) hand(what string, e coordinator.Event) {
	switch {
	case s.worker.isolated > s.w.now:
		s.w.after(s.worker.isolated-s.w.now, what, func() { s.hand(what, e) })
	default:
		if old := s.w.leader.deposed; old != nil && !old.dead && s.w.now < s.w.healed && s.w.chance(0.3) {
			old.hear(e)
			return
		}
		s.w.leader.hear(e)
	}
}
