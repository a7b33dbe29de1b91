package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
)

// A job may be started from a checkpoint of another one that goes on. Its files are the
// other's, who deletes them when newer ones have come: so the checkpoint is pinned, on
// record before the new job is accepted, until the new job says that it needs it no more
// or ends.

// pinPrefix begins the pins of jobs; no trigger id has a colon.
const pinPrefix = "job:"

func pinOf(id job.ID) string { return pinPrefix + string(id) }

// errNoCheckpoint says that the checkpoint that is to be pinned is not one of the job's, or
// not any more.
var errNoCheckpoint = errors.New("it is not a checkpoint that the job keeps")

// pinRequests are submissions that wait for their pin to be on record, by pin.
type pinRequests map[string][]chan<- error

func (r pinRequests) answer(pin string, err error) {
	for _, reply := range r[pin] {
		reply <- err
	}
	delete(r, pin)
}

func (r pinRequests) abandon() {
	for pin := range r {
		r.answer(pin, ErrNotLeader)
	}
}

// pinWanted: the job by is about to start from the checkpoint at path. It is answered when
// the pin is on record.
type pinWanted struct {
	path  string
	by    job.ID
	reply chan<- error
}

func (e *pinWanted) abandon() { e.reply <- ErrNotLeader }

func (e *pinWanted) apply(m *JobMaster) {
	i := slices.IndexFunc(m.state.Pointers, func(p *metapb.CheckpointPointer) bool { return snapshots.LocalPath(p.Path) == e.path })
	switch {
	case m.takeover == takeoverReading:
		e.reply <- fmt.Errorf("%w: it is being taken over; try again", errNoCheckpoint)
	case i < 0:
		e.reply <- errNoCheckpoint
	default:
		pin := pinOf(e.by)
		m.pins[pin] = append(m.pins[pin], e.reply)
		m.forCoord(coordinator.PinWanted{ID: streamID(m.state.Pointers[i].CheckpointId), Pin: pin})
	}
}

// doPin puts the pins of a checkpoint on record, or tells that there is none.
func (m *JobMaster) doPin(f coordinator.Effect) {
	switch f := f.(type) {
	case coordinator.PinRefused:
		m.pins.answer(f.Pin, fmt.Errorf("%w: %v", errNoCheckpoint, f.ID))
	case coordinator.Pinned:
		p := m.pointerRecord(f.Pointer)
		m.write(0, func(ctx context.Context) masterEvent {
			return &pinRecorded{f.Pin, p, certain(ctx, func() error { return m.d.jobs.UpdatePointer(ctx, m.id, p) })}
		})
	}
}

// pointerRecord is p as it is to be on record now.
func (m *JobMaster) pointerRecord(p *metapb.CheckpointPointer) *metapb.CheckpointPointer {
	r := proto.CloneOf(p)
	r.Pins = m.ops.Pins(p)
	return r
}

type pinRecorded struct {
	pin string
	p   *metapb.CheckpointPointer
	err error
}

func (e *pinRecorded) apply(m *JobMaster) {
	if e.err != nil {
		m.log.Warn("the pin of a checkpoint is not on record", "checkpoint", e.p.CheckpointId, "pin", e.pin, "cause", e.err)
		m.fenced(e.err)
		m.forCoord(coordinator.Unpinned{ID: streamID(e.p.CheckpointId), TriggerID: e.pin})
	}
	m.pins.answer(e.pin, e.err)
}

// unpinWanted: the job by needs no checkpoint of this one any more.
type unpinWanted struct{ by job.ID }

func (e *unpinWanted) apply(m *JobMaster) {
	if m.takeover == takeoverReading {
		return // looked at when it is
	}
	pin := pinOf(e.by)
	for _, p := range m.state.Pointers {
		if !slices.Contains(p.Pins, pin) {
			continue
		}
		id := streamID(p.CheckpointId)
		r := m.pointerRecord(p)
		r.Pins = slices.DeleteFunc(r.Pins, func(q string) bool { return q == pin })
		m.write(0, func(ctx context.Context) masterEvent {
			return &pinDropped{coordinator.Unpinned{ID: id, TriggerID: pin}, certain(ctx, func() error { return m.d.jobs.UpdatePointer(ctx, m.id, r) })}
		})
	}
}

type pinDropped struct {
	e   coordinator.Unpinned
	err error
}

func (e *pinDropped) apply(m *JobMaster) {
	if e.err != nil { // the next leader tries again
		m.log.Warn("a checkpoint stays pinned", "checkpoint", uint64(e.e.ID), "pin", e.e.TriggerID, "cause", e.err)
		m.fenced(e.err)
		return
	}
	m.forCoord(e.e)
}

// pinsFound: a job that was taken over has checkpoints that others have pinned.
type pinsFound struct {
	m    *JobMaster
	pins map[job.ID]string // by whom: path of the checkpoint
}

func (e *pinsFound) handle(d *Dispatcher) {
	for by, path := range e.pins {
		if !d.users.Needs(by, path) {
			e.m.post(&unpinWanted{by})
		}
	}
}

// lookAtPins has the pins looked over that an earlier leader has left.
func (m *JobMaster) lookAtPins() {
	found := map[job.ID]string{}
	for _, p := range m.state.Pointers {
		for _, pin := range p.Pins {
			if by, ok := strings.CutPrefix(pin, pinPrefix); ok {
				found[job.ID(by)] = snapshots.LocalPath(p.Path)
			}
		}
	}
	if len(found) > 0 {
		_ = m.d.loop.Post(&pinsFound{m, found}) // closed: the next leader does it
	}
}

// sourceFreed: a job may need the snapshot that it was started from no more, or has not
// come to be.
type sourceFreed struct {
	id   job.ID
	path string
}

func (e *sourceFreed) handle(d *Dispatcher) {
	if e.path == "" || d.users.Needs(e.id, e.path) {
		return
	}
	for _, m := range d.masters {
		m.post(&unpinWanted{e.id})
	}
}

// pin has the checkpoint at path, which is owner's, kept for the job by.
func (d *Dispatcher) pin(ctx context.Context, owner job.ID, path string, by job.ID) error {
	f, err := d.manager.find(ctx, owner)
	if err != nil {
		return err
	}
	if f.master == nil {
		return fmt.Errorf("%w: it has just ended", errNoCheckpoint)
	}
	reply := make(chan error, 1)
	f.master.post(&pinWanted{path, by, reply})
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
