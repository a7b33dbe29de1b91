package runlist

import (
	"time"

	"github.com/weirstream/weir/stream"
)

const (
	// packedSize is the size up to which a file goes into a pack. A store takes about as
	// long for a name as for so many bytes: an fsync of a folder, or a request to an object
	// store, 1 to 30 ms, against 256 KiB at 100 MB/s, 2.5 ms. Above it the bytes count, and a
	// file of its own, which is linked and not copied, costs fewer of them.
	packedSize = 256 << 10
	// packSize closes a pack. It bounds what is read into memory, and what a pack keeps in
	// the store of which one part is still listed.
	packSize = 8 << 20
	// handoverSize bounds what one subtask puts into packs at once. What is beyond goes the
	// ordinary way.
	handoverSize = packSize / 2
	// packLinger is how long a pack waits for subtasks that are still writing: as long as
	// an fsync takes that it may save, so that nobody's ack loses by it.
	packLinger = 5 * time.Millisecond
)

// packing decides which files go together into one pack. It is pure: events in, packs to
// be written out; Packer is its shell.
//
// A subtask that has frozen its state for a checkpoint has joined it, and hands over its
// small files when its run is written, or leaves. A pack is closed when all that joined
// have, when its first part has waited for long enough, or when it is full.
//
// Packs are by checkpoint, so that a pack is in the ack of every checkpoint from its own on,
// of each subtask with a part in it, until that subtask's list has dropped the part for
// ever: what the coordinator's rule of deletion wants of a single file holds of a pack.
type packing struct {
	open map[stream.CheckpointID]*openPack
}

type openPack struct {
	absent int         // have joined and neither handed over nor left
	parts  []*handover // in the order in which they came
	size   int64
	due    time.Time // when it is closed at the latest; only with parts
}

// lostAfter checkpoints later nobody hands anything over: a subtask that joined was lost.
const lostAfter = 64

func (p *packing) of(id stream.CheckpointID) *openPack {
	if p.open == nil {
		p.open = map[stream.CheckpointID]*openPack{}
	}
	o := p.open[id]
	if o == nil {
		o = &openPack{}
		p.open[id] = o
	}
	return o
}

// join: a subtask takes part in checkpoint id.
func (p *packing) join(id stream.CheckpointID) {
	for old, o := range p.open { // the order does not matter
		if old+lostAfter < id && len(o.parts) == 0 {
			delete(p.open, old)
		}
	}
	p.of(id).absent++
}

// leave: a subtask that has joined will hand over nothing. It returns the pack that is
// closed by that, if any.
func (p *packing) leave(id stream.CheckpointID) (closed []*handover) {
	o := p.of(id)
	o.absent = max(0, o.absent-1)
	return p.closeIf(id, o.absent == 0)
}

// hand: a subtask that has joined hands h over, which waits until due for others. It
// returns the packs that are closed by that.
func (p *packing) hand(id stream.CheckpointID, h *handover, due time.Time) (closed [][]*handover) {
	o := p.of(id)
	o.absent = max(0, o.absent-1)
	if len(o.parts) > 0 && o.size+h.size > packSize {
		closed = append(closed, o.parts)
		o.parts, o.size = nil, 0
	}
	if len(o.parts) == 0 {
		o.due = due
	}
	o.parts = append(o.parts, h)
	o.size += h.size
	if done := p.closeIf(id, o.absent == 0); done != nil {
		closed = append(closed, done)
	}
	return closed
}

// expire returns the packs that have waited for long enough.
func (p *packing) expire(now time.Time) (closed [][]*handover) {
	for id, o := range p.open { // the order does not matter
		if len(o.parts) > 0 && !now.Before(o.due) {
			closed = append(closed, p.closeIf(id, true))
		}
	}
	return closed
}

// closeIf closes the pack of checkpoint id.
func (p *packing) closeIf(id stream.CheckpointID, yes bool) (closed []*handover) {
	o := p.open[id]
	if !yes {
		return nil
	}
	closed = o.parts
	o.parts, o.size = nil, 0
	if o.absent == 0 {
		delete(p.open, id)
	}
	return closed
}
