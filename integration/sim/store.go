package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// store is etcd and the checkpoint store.
type store struct {
	w           *world
	epoch       uint64 // of the leader
	sequence    uint64 // of transactions: one that arrives out of its place is not applied
	reserved    stream.CheckpointID
	incarnation job.Incarnation
	attempt     uint32
	graph       *job.Graph // of the incarnation
	deployedBy  uint64     // epoch of its leader
	slots       []string   // TaskManager by slot
	ended       bool       // the result is on record
	pointers    map[stream.CheckpointID]*metapb.CheckpointPointer
	refs        map[stream.CheckpointID][]string // objects that the pointer's _metadata names
	ever        map[stream.CheckpointID]bool     // pointers that were ever there
	objects     map[string]any                   // run (map[int]int) or _metadata ([]byte)
	used        map[string]bool                  // names, ever
	uploaded    map[string]bool                  // runs that were there once
	blobs       map[string]any                   // what a _metadata embeds, by token
	operations  map[string]*metapb.Operation     // by trigger id
}

func newStore(w *world) *store {
	return &store{
		w: w, pointers: map[stream.CheckpointID]*metapb.CheckpointPointer{}, refs: map[stream.CheckpointID][]string{},
		ever: map[stream.CheckpointID]bool{}, objects: map[string]any{}, used: map[string]bool{}, uploaded: map[string]bool{}, blobs: map[string]any{}, operations: map[string]*metapb.Operation{},
	}
}

// commit runs one transaction guarded by the epoch; its result may be lost, and so may
// it be, or it arrives late.
func (s *store) commit(epoch uint64, do func()) coordinator.Outcome {
	if epoch != s.epoch {
		return coordinator.Fenced
	}
	apply := func() {
		s.sequence++
		do()
	}
	if s.w.chance(s.w.flaky) {
		switch s.w.rng.IntN(4) {
		case 0:
			return coordinator.Failed
		case 1:
			apply()
		case 2:
			after := s.sequence
			s.w.after(s.w.between(1, 400), "late transaction", func() {
				if epoch == s.epoch && (s.sequence == after || s.w.Mutant == LateTransactions) {
					s.w.LateApplied++
					apply()
				}
			})
		}
		s.w.Unknown++
		return coordinator.Unknown
	}
	apply()
	return coordinator.OK
}

// put writes an object; its result may be lost.
func (s *store) put(name string, content any) coordinator.Outcome {
	if s.used[name] {
		s.w.fail("I12", "the name %s is used twice", name)
	}
	if s.w.chance(s.w.flaky) {
		switch s.w.rng.IntN(3) {
		case 0:
			return coordinator.Failed
		case 1:
			s.objects[name], s.used[name] = content, true
		}
		return coordinator.Unknown
	}
	s.objects[name], s.used[name] = content, true
	return coordinator.OK
}

// putPointer completes a checkpoint.
func (s *store) putPointer(p *metapb.CheckpointPointer, m *metapb.CheckpointMetadata) {
	id := stream.CheckpointID(p.CheckpointId)
	if _, there := s.pointers[id]; there {
		return // the same transaction again
	}
	if s.ever[id] {
		s.w.fail("I7", "checkpoint %d completes a second time", id)
	}
	if job.Incarnation(p.Incarnation) != s.incarnation {
		s.w.fail("I5", "checkpoint %d of incarnation %d completes after incarnation %d was restored", id, p.Incarnation, s.incarnation)
	}
	s.w.Completed++
	s.pointers[id], s.ever[id] = proto.CloneOf(p), true
	if p.Terminal {
		s.w.ends = s.positions(m)
	}
	s.refs[id] = append(objectsOf(m), id.String()+"/_metadata")
	s.w.checkSnapshot(id, m)
	s.checkRefs()
}

// positions are how far the sources had come in m.
func (s *store) positions(m *metapb.CheckpointMetadata) (all []int) {
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, state := range sub.OperatorStates {
				for _, e := range state.Entries {
					if at, ok := s.blobs[string(e)].(int); ok {
						all = append(all, at)
					}
				}
			}
		}
	}
	return all
}

// deletePointers takes checkpoints out of the records.
func (s *store) deletePointers(ids []stream.CheckpointID) {
	for _, id := range ids {
		if p := s.pointers[id]; len(p.GetPins()) > 0 {
			s.w.fail("I12", "checkpoint %d is deleted while %v pins it", id, p.Pins)
		}
		delete(s.pointers, id)
		delete(s.refs, id)
	}
}

func (s *store) newest() stream.CheckpointID {
	newest := stream.CheckpointID(0)
	for id := range s.pointers {
		newest = max(newest, id)
	}
	return newest
}

// read returns what a new leader finds.
func (s *store) read() coordinator.TookOver {
	t := coordinator.TookOver{Reserved: s.reserved, Incarnation: s.incarnation}
	for _, id := range slices.Sorted(maps.Keys(s.pointers)) {
		c := coordinator.Completed{Pointer: proto.CloneOf(s.pointers[id])}
		file, _ := s.objects[id.String()+"/_metadata"].([]byte)
		m, err := metadata.Decode(file)
		if err != nil {
			s.w.fail("I3", "pointer %d: %v", id, err)
			c.Problem = err.Error()
		}
		c.Metadata = m
		t.Completed = append(t.Completed, c)
	}
	return t
}

func (s *store) delete(names []string) {
	for _, name := range names {
		if _, there := s.objects[name]; there {
			s.w.Deleted++
		}
		delete(s.objects, name)
	}
	s.checkRefs()
}

// checkRefs is I12 (and I4, I3): what a pointer names is there.
func (s *store) checkRefs() {
	for _, id := range slices.Sorted(maps.Keys(s.pointers)) {
		for _, name := range s.refs[id] {
			if _, there := s.objects[name]; !there {
				s.w.fail("I12", "checkpoint %d names %s, which is gone", id, name)
			}
		}
	}
}

// leftOver are objects that no pointer names, sorted.
func (s *store) leftOver() []string {
	named := map[string]bool{}
	for _, refs := range s.refs {
		for _, name := range refs {
			named[name] = true
		}
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if !named[name] {
			left = append(left, name)
		}
	}
	return left
}

// objectsOf are the files that m names.
func objectsOf(m *metapb.CheckpointMetadata) []string {
	names := slices.Clone(m.StillReads)
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, run := range sub.Runs {
				for _, f := range run.Files {
					names = append(names, f.Name)
				}
			}
			for _, c := range sub.ChannelStates {
				if c.File != "" {
					names = append(names, c.File)
				}
			}
		}
	}
	return names
}

// blob puts something that a _metadata embeds aside and returns its token.
func (s *store) blob(v any) []byte {
	token := fmt.Sprintf("blob-%d", len(s.blobs))
	s.blobs[token] = v
	return []byte(token)
}

func isMetadata(name string) bool { return strings.HasSuffix(name, "/_metadata") }
