package sim

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// pause is the least time between checkpoints; with one, only one is under way.
func (w *world) pause() time.Duration {
	if w.concurrent > 1 {
		return 0
	}
	return w.between(0, 5)
}

// keptOperations is how many that ended stay on record; few, so that some are forgotten.
const keptOperations = 2

// wish asks the leader for an operation. Without an answer nothing is promised.
func (w *world) wish(trigger string, kind metapb.Operation_Kind, drain bool) {
	if l := w.leader; !l.gone() && !w.store.ended {
		l.operate(operations.Requested{Operation: &metapb.Operation{TriggerId: trigger, Kind: kind, Drain: drain, Target: "/sp/" + trigger}})
	}
}

// operate is one step of the operations and what follows from it.
func (l *leader) operate(e operations.Event) {
	if l.gone() {
		return
	}
	for _, f := range l.operations.Step(time.Unix(0, int64(l.w.now)), e, nil) {
		l.w.trace(fmt.Sprintf("leader %d: %T", l.epoch, f))
		l.carryOutOperation(f)
	}
}

func (l *leader) carryOutOperation(f operations.Effect) {
	s := l.w.store
	switch f := f.(type) {
	case operations.Answer: // to nobody: what is on record is what counts
	case operations.Record:
		rec := f.Operation
		l.write("record "+rec.TriggerId, func() {
			if !s.ended {
				s.operations[rec.TriggerId] = proto.CloneOf(rec)
			}
		}, func() {
			if s.operations[rec.TriggerId] == nil {
				l.operate(operations.Recorded{Trigger: rec.TriggerId, Problem: operations.ErrEnded})
				return
			}
			l.operate(operations.Recorded{Trigger: rec.TriggerId})
		})
	case operations.TakeCheckpoint:
		l.step(f.Wanted)
	case operations.Copy:
		l.copy(f)
	case operations.End:
		if l.w.Mutant == StalePins && f.Pointer != nil {
			f.Pointer.Pins = []string{f.Operation.TriggerId}
		}
		l.write("end of "+f.Operation.TriggerId, func() { s.endOperation(f) }, func() {
			l.operate(operations.EndRecorded{Trigger: f.Operation.TriggerId})
		})
	case operations.Unpin:
		l.step(f.Unpinned)
	default:
		l.w.fail("BUG", "effect %T of the operations", f)
	}
}

// endOperation records the end of an operation.
func (s *store) endOperation(f operations.End) {
	s.operations[f.Operation.TriggerId] = proto.CloneOf(f.Operation)
	if f.Pointer != nil {
		s.setPins(f.Pointer)
	}
	for _, trigger := range f.Forget {
		if o := s.operations[trigger]; o.GetState() == metapb.Operation_STATE_IN_PROGRESS {
			s.w.fail("I6", "operation %s is forgotten before its end", trigger)
		}
		delete(s.operations, trigger)
	}
}

// setPins changes the pins of a pointer that is there.
func (s *store) setPins(p *metapb.CheckpointPointer) {
	if there := s.pointers[stream.CheckpointID(p.CheckpointId)]; there != nil {
		there.Pins = slices.Clone(p.Pins)
	}
}

// copy reads everything that a pinned checkpoint refers to.
func (l *leader) copy(f operations.Copy) {
	w := l.w
	v, _ := l.operations.Look(f.Trigger)
	id := stream.CheckpointID(v.Record.CheckpointId)
	names := slices.Clone(w.store.refs[id])
	w.after(w.between(5, 120), fmt.Sprintf("leader %d: %s is copied", l.epoch, f.Trigger), func() {
		if l.gone() || l.epoch != w.store.epoch {
			return
		}
		for _, name := range names {
			if _, there := w.store.objects[name]; !there {
				w.fail("I12", "the copy of checkpoint %d for %s finds that %s is gone", id, f.Trigger, name)
			}
		}
		w.Savepoints++
		if v.Record.Kind == metapb.Operation_KIND_STOP {
			w.Stops++
		}
		l.operate(operations.Copied{Trigger: f.Trigger, Bytes: 1})
	})
}

// record is a transaction of a leader; they keep their order.
type record struct {
	what  string
	apply func()
	then  func()
}

// write commits apply after everything that waits, again until the result is certain.
func (l *leader) write(what string, apply, then func()) {
	l.records = append(l.records, record{what, apply, then})
	if len(l.records) == 1 {
		l.nextRecord()
	}
}

func (l *leader) nextRecord() {
	l.w.after(l.w.between(0, 3), fmt.Sprintf("leader %d: %s", l.epoch, l.records[0].what), func() {
		if l.gone() {
			return
		}
		r := l.records[0]
		switch l.w.store.commit(l.epoch, r.apply) {
		case coordinator.OK:
			l.records = l.records[1:]
			if len(l.records) > 0 {
				l.nextRecord()
			}
			r.then()
		case coordinator.Fenced:
			l.dead = true
		default:
			l.nextRecord()
		}
	})
}

// otherJob is the pin of a job that is started from a checkpoint of this one.
const otherJob = "job:other"

// startOther has another job start from the newest checkpoint, which it needs for a while.
func (w *world) startOther() {
	if l := w.leader; !l.gone() && !w.store.ended {
		l.step(coordinator.PinWanted{ID: w.store.newest(), Pin: otherJob})
	}
	w.after(w.between(50, 250), "the other job needs it no more", w.endOther)
}

// pinned puts a pin on record.
func (l *leader) pinned(f coordinator.Pinned) {
	p := proto.CloneOf(f.Pointer)
	p.Pins = l.operations.Pins(f.Pointer)
	l.write("pin", func() { l.w.store.setPins(p) }, func() { l.w.Pins++ })
}

// endOther releases the pin, under whoever leads then. A leader that dies before that is on
// record leaves it to the next one: so it is looked for to the end.
func (w *world) endOther() {
	if w.over {
		return
	}
	w.after(w.between(20, 60), "the other job asks again", w.endOther)
	l := w.leader
	if l.gone() || len(l.records) > 0 {
		return
	}
	for _, there := range w.store.pointers { // at most one is pinned
		if !slices.Contains(there.Pins, otherJob) {
			continue
		}
		p := proto.CloneOf(there)
		p.Pins = slices.DeleteFunc(l.operations.Pins(there), func(pin string) bool { return pin == otherJob })
		l.write("unpin", func() { w.store.setPins(p) }, func() {
			l.step(coordinator.Unpinned{ID: stream.CheckpointID(p.CheckpointId), TriggerID: otherJob})
		})
	}
}

// close ends the job once the end of every operation is on record.
func (l *leader) close(e coordinator.CleanedUp) {
	w := l.w
	if l.operations.Busy() {
		w.after(w.between(1, 5), fmt.Sprintf("leader %d: waits for operations", l.epoch), func() {
			if !l.gone() {
				l.close(e)
			}
		})
		return
	}
	if e.Folder {
		clear(w.store.objects)
	} else {
		w.checkLeftOver()
	}
	w.over = true
}
