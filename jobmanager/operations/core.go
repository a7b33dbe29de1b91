package operations

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
)

// ErrRunning says that another operation excludes this one.
var ErrRunning = errors.New("another operation is under way")

// ErrEnded says that the job has ended, or is about to.
var ErrEnded = errors.New("the job has ended")

// Core is the operations of one job, or those of none. It belongs to one goroutine, that
// of its shell's loop.
type Core struct {
	whose string // "job 4f…", for messages
	keep  int    // ended operations that stay on record

	byTrigger map[string]*operation // those that ended, too
	loaded    bool
	ending    string // terminal state that is being put on record, or is; "" = none
	result    string // terminal state on record; "" = none
}

// operation is one of them.
type operation struct {
	rec     *metapb.Operation
	phase   Phase
	asked   []uint64                  // requests that wait for its record
	resumed bool                      // an earlier leader has begun it
	pointer *metapb.CheckpointPointer // from copying on
	intent  *metapb.Intent            // recorded with its end
	kept    bool                      // its end leaves the pin: the checkpoint is all there is
	forget  []string                  // deleted with its end
}

// New returns what an earlier leader has left on record. Of operations that ended, the
// newest keep stay on record.
func New(whose string, keep int, recorded []*metapb.Operation) *Core {
	c := &Core{whose: whose, keep: keep, byTrigger: map[string]*operation{}}
	for _, rec := range recorded {
		o := &operation{rec: rec, phase: Waiting, resumed: true}
		if rec.State != metapb.Operation_STATE_IN_PROGRESS {
			o.phase, o.kept = Ended, keepsState(rec)
		}
		c.byTrigger[rec.TriggerId] = o
	}
	return c
}

// all operations in order of their trigger ids.
func (c *Core) all() []*operation {
	var all []*operation
	for _, id := range slices.Sorted(maps.Keys(c.byTrigger)) {
		all = append(all, c.byTrigger[id])
	}
	return all
}

// Records are those of all operations that are on record, by trigger id.
func (c *Core) Records() []*metapb.Operation {
	var all []*metapb.Operation
	for _, o := range c.all() {
		if o.phase != Recording {
			all = append(all, o.rec)
		}
	}
	return all
}

// Busy reports whether some operation goes on.
func (c *Core) Busy() bool {
	for _, o := range c.byTrigger { // any
		if o.phase != Ended {
			return true
		}
	}
	return false
}

// View is how an operation is.
type View struct {
	Record *metapb.Operation
	Phase  Phase
	Bytes  uint64 // of state, from copying on
}

// Look returns how an operation is.
func (c *Core) Look(trigger string) (View, bool) {
	o := c.byTrigger[trigger]
	if o == nil {
		return View{}, false
	}
	return View{Record: o.rec, Phase: o.phase, Bytes: o.pointer.GetStateBytes()}, true
}

// Pins are those of p that are to be on record: without those of operations whose end is
// being recorded, or is.
func (c *Core) Pins(p *metapb.CheckpointPointer) []string {
	return slices.DeleteFunc(slices.Clone(p.Pins), func(pin string) bool {
		o := c.byTrigger[pin]
		return o != nil && o.phase >= Ending && !o.kept
	})
}

// keepsState reports whether the checkpoint of an ended operation is all that is left of
// the job: a stop whose copy failed.
func keepsState(rec *metapb.Operation) bool {
	return rec.Kind == metapb.Operation_KIND_STOP && rec.State == metapb.Operation_STATE_FAILED && rec.CheckpointId != 0
}

// forgettable are the operations that ended long ago, beyond those that are kept.
func (c *Core) forgettable() []string {
	var ended []*operation
	for _, o := range c.all() {
		if o.phase == Ended {
			ended = append(ended, o)
		}
	}
	slices.SortStableFunc(ended, func(a, b *operation) int { return cmp.Compare(a.rec.EndedAtMs, b.rec.EndedAtMs) })
	var ids []string
	for i := 0; i < len(ended)-c.keep+1; i++ {
		if !ended[i].kept { // else it says that its checkpoint is to be kept
			ids = append(ids, ended[i].rec.TriggerId)
		}
	}
	return ids
}

var names = map[metapb.Operation_Kind]string{
	metapb.Operation_KIND_CHECKPOINT: "checkpoint", metapb.Operation_KIND_SAVEPOINT: "savepoint", metapb.Operation_KIND_STOP: "stop",
	metapb.Operation_KIND_CANCEL: "cancel with savepoint", metapb.Operation_KIND_RESCALE: "rescale", metapb.Operation_KIND_DISPOSAL: "disposal",
}

// Name is what people call operations of kind k.
func Name(k metapb.Operation_Kind) string {
	if n := names[k]; n != "" {
		return n
	}
	return fmt.Sprintf("operation of kind %d", k)
}
