package restore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// ErrIncompatible marks a snapshot that the new program can't be started from. The
// message names operator and state.
var ErrIncompatible = errors.New("snapshot does not fit the program")

// Options of a restore.
type Options struct {
	// AllowNonRestored drops the state of operators, and states, that the new program
	// does not have; otherwise they are an error.
	AllowNonRestored bool
	// Folder is the absolute folder that run files' names are relative to: that of the
	// job whose snapshot it is.
	Folder string
	// Foreign says that Folder belongs to somebody else: the runs carry its path from
	// now on, and are never deleted on behalf of this job.
	Foreign bool
}

// Subtask is what one subtask of the new graph starts from.
type Subtask struct {
	ID        job.SubtaskID
	Operators []Operator // in the order of the chain; only those with something to restore
}

// Operator is what one operator of one subtask starts from.
type Operator struct {
	UID     string
	Keyed   []Keyed
	States  []*metapb.OperatorState // redistributed, sorted by name
	Ended   Ended
	Results []*metapb.Result // base of the subtask's named results: its own, or after a rescale all of them at subtask 0
	// Owned are the task-owned files of all old subtasks: which one needs which is known
	// to the operator.
	Owned []*metapb.OwnedFile
	// Channels are the records that were in flight, in the order in which they are to be
	// taken.
	Channels []Channel
	// Watermark in ms: the least of the old subtasks taken over; NoWatermark if one
	// had none.
	Watermark int64
}

// NoWatermark is an absent watermark.
const NoWatermark int64 = -1 << 63

// Keyed is what an old subtask of the operator contributes.
type Keyed struct {
	Range   stream.KeyGroupRange // clip the runs to it
	Runs    []*metapb.Run        // oldest first
	Schemas []*metapb.Schema
	Folder  string // of the runs that have no base path of their own
}

// Ended says on how many of an operator's old subtasks the end-of-input hook had
// run.
type Ended uint8

// Values of Ended. EndedMixed can stand only in a checkpoint that was taken while
// the end of input was on its way: a subtask with an old one of its index keeps that
// one's flag, others (after a rescale) run their hook when their inputs end.
const (
	EndedNone Ended = iota
	EndedAll
	EndedMixed
)

// Plan divides the snapshot m over the subtasks of g, in the order of g.Subtasks. A
// nil m gives an empty start.
func Plan(m *metapb.CheckpointMetadata, g *job.Graph, o Options) ([]Subtask, error) {
	all := make([]Subtask, 0, len(g.Vertices))
	for _, s := range g.Subtasks() {
		all = append(all, Subtask{ID: s})
	}
	if m == nil {
		return all, nil
	}
	old := map[string]*metapb.OperatorSnapshot{}
	for _, op := range m.Operators {
		old[op.Uid] = op
	}
	if err := checkLeftOver(m, g.Plan, o); err != nil {
		return nil, err
	}
	at := 0
	for v := range g.Vertices {
		vertex := &g.Vertices[v]
		mine := all[at : at+vertex.Parallelism]
		at += vertex.Parallelism
		for _, i := range vertex.Operators {
			op := g.Plan.Operators[i]
			if snapshot := old[op.Uid]; snapshot != nil {
				if err := divide(g, i, snapshot, mine, o); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// checkLeftOver finds state that no operator of the new program takes.
func checkLeftOver(m *metapb.CheckpointMetadata, plan *metapb.Plan, o Options) error {
	known := map[string]*metapb.Operator{}
	for _, op := range plan.Operators {
		known[op.Uid] = op
	}
	for _, op := range m.Operators {
		if known[op.Uid] == nil && hasState(op) && !o.AllowNonRestored {
			return fmt.Errorf("%w: checkpoint %d has state of operator %q, which the program does not have; give it that uid again, or allow non-restored state",
				ErrIncompatible, m.CheckpointId, op.Uid)
		}
	}
	for _, s := range m.StateIds {
		op := known[s.Uid]
		if op == nil || o.AllowNonRestored || stateOf(op, s.Name) != nil || !keyedStateIn(m, s) {
			continue
		}
		return fmt.Errorf("%w: checkpoint %d has state %q of operator %q, which the program no longer declares; declare it, or allow non-restored state",
			ErrIncompatible, m.CheckpointId, s.Name, s.Uid)
	}
	return nil
}

// keyedStateIn reports whether entries of state s can stand in a run of m.
func keyedStateIn(m *metapb.CheckpointMetadata, s *metapb.StateID) bool {
	for _, op := range m.Operators {
		if op.Uid != s.Uid {
			continue
		}
		for _, sub := range op.Subtasks {
			if len(sub.Runs) > 0 && slices.ContainsFunc(sub.Schemas, func(c *metapb.Schema) bool { return c.StateId == s.Id && c.Ordinal == 0 }) {
				return true
			}
		}
	}
	return false
}

func hasState(op *metapb.OperatorSnapshot) bool {
	for _, s := range op.Subtasks {
		if len(s.Runs) > 0 || len(s.ChannelStates) > 0 || len(s.Results) > 0 {
			return true
		}
		for _, state := range s.OperatorStates {
			if len(state.Entries) > 0 {
				return true
			}
		}
	}
	return false
}

func stateOf(op *metapb.Operator, name string) *metapb.State {
	for _, s := range op.States {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// divide gives the snapshot of one operator to its new subtasks.
func divide(g *job.Graph, index int, snapshot *metapb.OperatorSnapshot, subtasks []Subtask, o Options) error {
	op := g.Plan.Operators[index]
	states, err := redistribute(op, snapshot, len(subtasks), o)
	if err != nil {
		return err
	}
	ended := endedOf(snapshot)
	all := make([]*Operator, len(subtasks))
	for i := range subtasks {
		r := Operator{UID: op.Uid, States: states[i], Ended: ended, Watermark: NoWatermark}
		if ended == EndedMixed && len(subtasks) == len(snapshot.Subtasks) {
			r.Ended = EndedNone
			if snapshot.Subtasks[i].Ended {
				r.Ended = EndedAll
			}
		}
		switch {
		case len(subtasks) == len(snapshot.Subtasks):
			r.Results = snapshot.Subtasks[i].Results // a text is set again by who has set it
		case i == 0:
			if r.Results, err = mergedResults(op.Uid, snapshot); err != nil {
				return err
			}
		}
		takeKeyed(&r, snapshot, stream.RangeOf(i, len(subtasks)), o)
		r.Owned = ownedFiles(snapshot, o)
		all[i] = &r
	}
	if err := divideChannels(g, index, snapshot, all, o); err != nil {
		return err
	}
	for i, r := range all {
		subtasks[i].Operators = append(subtasks[i].Operators, *r)
	}
	return nil
}

// ownedFiles are the task-owned files of all subtasks, with the path of whoever they
// belong to.
func ownedFiles(snapshot *metapb.OperatorSnapshot, o Options) (all []*metapb.OwnedFile) {
	for _, s := range snapshot.Subtasks {
		for _, f := range s.Owned {
			if o.Foreign && f.BasePath == "" {
				f = &metapb.OwnedFile{Name: f.Name, Size: f.Size, Digest: f.Digest, File: f.File, BasePath: strings.TrimSuffix(o.Folder, "/")}
			}
			all = append(all, f)
		}
	}
	return all
}

// takeKeyed adds what r's range shares with the old subtasks'.
func takeKeyed(r *Operator, snapshot *metapb.OperatorSnapshot, groups stream.KeyGroupRange, o Options) {
	first := true
	for _, s := range snapshot.Subtasks {
		shared, ok := groups.Intersect(stream.KeyGroupRange{First: stream.KeyGroup(s.FirstGroup), Last: stream.KeyGroup(s.LastGroup)})
		if !ok {
			continue
		}
		if first || s.Watermark < r.Watermark {
			r.Watermark, first = s.Watermark, false
		}
		k := Keyed{Range: shared, Schemas: s.Schemas, Folder: o.Folder}
		for _, run := range s.Runs {
			if run.FirstGroup > uint32(shared.Last) || run.LastGroup < uint32(shared.First) {
				continue
			}
			k.Runs = append(k.Runs, owned(run, o))
		}
		if len(k.Runs) > 0 || len(k.Schemas) > 0 { // all subtasks number schemas alike
			r.Keyed = append(r.Keyed, k)
		}
	}
}

// owned returns run with the path of whoever it belongs to.
func owned(run *metapb.Run, o Options) *metapb.Run {
	if !o.Foreign || run.BasePath != "" || len(run.Files) == 0 {
		return run
	}
	return &metapb.Run{
		Id: run.Id, Files: run.Files, FirstGroup: run.FirstGroup, LastGroup: run.LastGroup, Entries: run.Entries,
		Bytes: run.Bytes, FirstAck: run.FirstAck, Attempt: run.Attempt, BasePath: strings.TrimSuffix(o.Folder, "/"),
	}
}

func endedOf(snapshot *metapb.OperatorSnapshot) Ended {
	n := 0
	for _, s := range snapshot.Subtasks {
		if s.Ended {
			n++
		}
	}
	switch n {
	case 0:
		return EndedNone
	case len(snapshot.Subtasks):
		return EndedAll
	}
	return EndedMixed
}
