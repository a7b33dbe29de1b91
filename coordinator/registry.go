package coordinator

import (
	"maps"
	"slices"
	"strings"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// registry knows the objects of the checkpoint store and which snapshots refer to
// them (I12, I13). It alone decides what is deleted:
//
// An object goes when no snapshot that is retained, pending or pinned lists it
// (as a file of a run, or as still read), and either a completed checkpoint of the
// attempt that wrote it, younger than its first ack, does not list it, or that
// attempt is dead. A run once dropped from a subtask's list is never listed again,
// so the delete needs no fence of its own; and an attempt counts as dead only after
// a guarded transaction has put another in its place.
//
// Objects of others (a snapshot restored from elsewhere) are not in it: they are
// never deleted.
type registry struct {
	objects   map[string]*object
	snapshots map[stream.CheckpointID]map[string]bool // names of objects
}

type objectState uint8

const (
	listed   objectState = iota // an attempt may list it again
	released                    // its attempt has completed a checkpoint without it
	deleting                    // DeleteObjects is under way
)

type object struct {
	attempt  string              // who wrote it
	firstAck stream.CheckpointID // that this leader has seen: never earlier than the true one
	refs     int                 // snapshots that list it
	state    objectState
}

func newRegistry() *registry {
	return &registry{objects: map[string]*object{}, snapshots: map[stream.CheckpointID]map[string]bool{}}
}

// open makes room for snapshot id.
func (r *registry) open(id stream.CheckpointID) { r.snapshots[id] = map[string]bool{} }

// foreign names lie outside of the job's checkpoint folder.
func foreign(name string) bool {
	return strings.HasPrefix(name, "/") || strings.Contains(name, "://")
}

// list notes what the ack of attempt for checkpoint id (or a _metadata) refers to, on
// behalf of the open snapshot id. It returns the name of an object that is being
// deleted if one is listed: the ack can't be right.
func (r *registry) list(id stream.CheckpointID, operators []*metapb.OperatorSnapshot, stillReads []string, attempt string) (gone string) {
	return r.note(r.snapshots[id], id, operators, stillReads, attempt)
}

// know notes the objects of an ack that came too late to count: no snapshot refers
// to them by it, but they may have to be deleted one day.
func (r *registry) know(id stream.CheckpointID, operators []*metapb.OperatorSnapshot, stillReads []string, attempt string) {
	r.note(nil, id, operators, stillReads, attempt)
}

func (r *registry) note(snapshot map[string]bool, id stream.CheckpointID, operators []*metapb.OperatorSnapshot, stillReads []string, attempt string) (gone string) {
	add := func(name, writer string) {
		if foreign(name) {
			return
		}
		o := r.objects[name]
		if o == nil {
			o = &object{attempt: writer, firstAck: id}
			r.objects[name] = o
		}
		if o.state == deleting {
			gone = name
			return
		}
		if snapshot != nil && !snapshot[name] {
			snapshot[name] = true
			o.refs++
		}
	}
	for _, op := range operators {
		for _, s := range op.Subtasks {
			for _, run := range s.Runs {
				if run.BasePath != "" {
					continue
				}
				writer := run.Attempt
				if writer == "" {
					writer = attempt
				}
				for _, f := range run.Files {
					add(f.Name, writer)
				}
			}
			for _, c := range s.ChannelStates {
				if c.File != "" {
					add(c.File, c.Attempt)
				}
			}
		}
	}
	for _, name := range stillReads {
		add(name, attempt)
	}
	return gone
}

// complete applies the rule's second half: checkpoint id, in which attempts took
// part, has completed.
func (r *registry) complete(id stream.CheckpointID, attempts map[string]bool) {
	snapshot := r.snapshots[id]
	for name, o := range r.objects { // the order does not matter
		if o.state == listed && o.firstAck < id && attempts[o.attempt] && !snapshot[name] {
			o.state = released
		}
	}
}

// drop forgets snapshot id and its references.
func (r *registry) drop(id stream.CheckpointID) {
	for name := range r.snapshots[id] { // the order does not matter
		r.objects[name].refs--
	}
	delete(r.snapshots, id)
}

// collect returns the names that may be deleted now, sorted, and marks them.
func (r *registry) collect(dead func(attempt string) bool) []string {
	var names []string
	for name, o := range r.objects { // sorted below
		if o.refs == 0 && (o.state == released || o.state == listed && dead(o.attempt)) {
			o.state = deleting
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// deleted takes objects out of the registry.
func (r *registry) deleted(names []string) {
	for _, name := range names {
		if o := r.objects[name]; o != nil && o.state == deleting {
			delete(r.objects, name)
		}
	}
}

// extra has an object deleted that no snapshot ever referred to.
func (r *registry) extra(name string) {
	r.objects[name] = &object{state: deleting}
}

// outstanding are the objects being deleted, sorted.
func (r *registry) outstanding() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.objects)) {
		if r.objects[name].state == deleting {
			names = append(names, name)
		}
	}
	return names
}

// runIDs of one subtask's snapshot, sorted.
func runIDs(operators []*metapb.OperatorSnapshot, index int) []string {
	var ids []string
	for _, op := range operators {
		for _, s := range op.Subtasks {
			if int(s.Index) != index {
				continue
			}
			for _, run := range s.Runs {
				ids = append(ids, run.Id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
