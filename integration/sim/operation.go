package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/coordinator"
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

// want hands an operation to the coordinator.
func (l *leader) want(o *operation) {
	l.step(coordinator.CheckpointWanted{TriggerID: o.trigger, Kind: o.kind, Drain: o.drain})
}

// resume goes on with what an earlier leader had promised.
func (l *leader) resume() {
	s := l.w.store
	for _, trigger := range slices.Sorted(maps.Keys(s.operations)) {
		o := s.operations[trigger]
		if o.ended {
			continue
		}
		taken := (*metapb.CheckpointPointer)(nil)
		for _, id := range slices.Sorted(maps.Keys(s.pointers)) {
			if slices.Contains(s.pointers[id].Pins, trigger) {
				taken = s.pointers[id]
			}
		}
		if taken != nil {
			l.copy(taken, trigger)
		} else {
			l.want(o)
		}
	}
}

// copy reads everything that a pinned checkpoint refers to.
func (l *leader) copy(p *metapb.CheckpointPointer, trigger string) {
	w := l.w
	id := stream.CheckpointID(p.CheckpointId)
	names := slices.Clone(w.store.refs[id])
	w.after(w.between(5, 120), fmt.Sprintf("leader %d: %s is copied", l.epoch, trigger), func() {
		if l.gone() || l.epoch != w.store.epoch || w.store.operations[trigger].ended {
			return
		}
		for _, name := range names {
			if _, there := w.store.objects[name]; !there {
				w.fail("I12", "the copy of checkpoint %d for %s finds that %s is gone", id, trigger, name)
			}
		}
		w.Savepoints++
		if w.store.operations[trigger].kind == stream.StopBarrier {
			w.Stops++
		}
		l.end(id, trigger)
	})
}

// end puts the end of an operation on record, and lets its checkpoint go.
func (l *leader) end(id stream.CheckpointID, trigger string) {
	l.w.after(l.w.between(0, 3), fmt.Sprintf("leader %d: end of %s", l.epoch, trigger), func() {
		if l.gone() {
			return
		}
		switch l.w.store.commit(l.epoch, func() { l.w.store.unpin(id, trigger) }) {
		case coordinator.OK:
			if id != 0 {
				l.step(coordinator.Unpinned{ID: id, TriggerID: trigger})
			}
		case coordinator.Fenced:
			l.dead = true
		default:
			l.end(id, trigger)
		}
	})
}

// close ends the job once the end of every operation is on record.
func (l *leader) close(e coordinator.CleanedUp) {
	w := l.w
	for _, o := range w.store.operations { // any
		if !o.ended {
			w.after(w.between(1, 5), fmt.Sprintf("leader %d: waits for operations", l.epoch), func() {
				if !l.gone() {
					l.close(e)
				}
			})
			return
		}
	}
	if e.Folder {
		clear(w.store.objects)
	} else {
		w.checkLeftOver()
	}
	w.over = true
}
