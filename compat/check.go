package compat

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// Options say how the program is to be started.
type Options struct {
	// AllowNonRestored drops state that the program does not have, and records in flight
	// that have nowhere to go.
	AllowNonRestored bool
	// Graph is the program as it is to be run, at its parallelism: it says which operators
	// are chained, and so what can be divided among whom. nil: that is not looked at.
	Graph *job.Graph
}

// Check compares the snapshot m, its operators under the uids that they are to have, with
// the plan of a program.
func Check(m *metapb.CheckpointMetadata, plan *metapb.Plan, o Options) *Report {
	r := &Report{Checkpoint: m.CheckpointId, JobName: m.JobName, Operators: []Operator{}, Warnings: []string{}}
	stored := map[string]*metapb.OperatorSnapshot{}
	for _, op := range m.Operators {
		stored[op.Uid] = op
	}
	known := map[string]bool{}
	for _, op := range plan.Operators {
		known[op.Uid] = true
		if op.AutoUid && len(op.States) > 0 && !op.Hidden {
			r.Warnings = append(r.Warnings, fmt.Sprintf("operator %q keeps state and has no uid of its own: "+
				"its state is found again only as long as the program does not change around it; give it a uid", op.Uid))
		}
		c := checker{m: m, plan: plan, o: o, now: op, old: stored[op.Uid]}
		if c.old != nil && hasState(c.old) || len(op.States) > 0 {
			r.Operators = append(r.Operators, c.both())
		}
	}
	for _, op := range m.Operators {
		if !known[op.Uid] && hasState(op) {
			c := checker{m: m, plan: plan, o: o, old: op}
			r.Operators = append(r.Operators, c.gone(stored))
		}
	}
	slices.SortFunc(r.Operators, func(a, b Operator) int { return cmp.Compare(a.UID, b.UID) })
	for _, op := range r.Operators {
		if op.Absent {
			r.Dropped += op.Bytes
		} else {
			r.Bytes += op.Bytes
		}
	}
	if o.Graph != nil && r.Err() == nil {
		if _, err := restore.Plan(m, o.Graph, restore.Options{AllowNonRestored: o.AllowNonRestored}); err != nil {
			r.Reason = strings.TrimPrefix(err.Error(), restore.ErrIncompatible.Error()+": ")
		}
	}
	r.Restorable = r.Err() == nil
	return r
}

// checker looks at one operator: now is the program's, old the snapshot's; one of them
// may be missing.
type checker struct {
	m    *metapb.CheckpointMetadata
	plan *metapb.Plan
	o    Options
	now  *metapb.Operator
	old  *metapb.OperatorSnapshot
}

// both is the report of an operator that the program has.
func (c *checker) both() Operator {
	op := Operator{UID: c.now.Uid, Verdict: New, States: []State{}}
	if c.old != nil {
		op.Verdict, op.Parallelism, op.Bytes = Mapped, int(c.old.Parallelism), bytesOf(c.old)
		op.Detail = c.keys()
		nowhere, changed := c.inFlight()
		if changed != "" || nowhere != "" && !c.o.AllowNonRestored {
			op.Detail = cmp.Or(changed, nowhere)
		}
		switch {
		case op.Detail != "":
			op.Verdict = Incompatible
		case nowhere != "":
			op.Verdict, op.Detail = Dropped, nowhere
		}
	}
	storedStates := c.stored()
	for _, st := range c.now.States {
		s := State{Name: st.Name, Kind: kindOf(st.Kind), Verdict: New, Program: typeOf(st.ValueSchema)}
		if old, ok := storedStates[st.Name]; ok {
			s = compare(old, st)
			delete(storedStates, st.Name)
		}
		op.States = append(op.States, s)
	}
	for _, old := range storedStates {
		op.States = append(op.States, c.lost(old))
	}
	slices.SortFunc(op.States, func(a, b State) int { return cmp.Compare(a.Name, b.Name) })
	for _, s := range op.States {
		if s.Verdict != New {
			op.Verdict = worse(op.Verdict, s.Verdict)
		}
	}
	return op
}

// gone is the report of an operator that the program does not have.
func (c *checker) gone(stored map[string]*metapb.OperatorSnapshot) Operator {
	op := Operator{UID: c.old.Uid, Parallelism: int(c.old.Parallelism), Bytes: bytesOf(c.old), States: []State{}, Verdict: Unmapped, Absent: true}
	if c.o.AllowNonRestored {
		op.Verdict = Dropped
	}
	states := c.stored()
	for _, old := range states {
		op.States = append(op.States, c.lost(old))
	}
	slices.SortFunc(op.States, func(a, b State) int { return cmp.Compare(a.Name, b.Name) })
	// An operator of the program that the snapshot has not and that declares the same.
	for _, now := range c.plan.Operators {
		if stored[now.Uid] == nil && len(states) > 0 && now.Hidden == (job.EnumeratorOf(op.UID) != "") && fits(states, now) {
			op.Closest = now.Uid
			break
		}
	}
	return op
}

// fits reports whether now takes all the states.
func fits(states map[string]*storedState, now *metapb.Operator) bool {
	for name, old := range states {
		i := slices.IndexFunc(now.States, func(s *metapb.State) bool { return s.Name == name })
		if i < 0 || compare(old, now.States[i]).Verdict == Incompatible {
			return false
		}
	}
	return true
}

func (c *checker) lost(old *storedState) State {
	v := Unmapped
	if c.o.AllowNonRestored || old.empty || old.kind == metapb.StateKind_STATE_KIND_RESULT && c.now != nil {
		v = Dropped // a result that nobody asks for any more is no loss
	}
	return State{Name: old.name, Kind: kindOf(old.kind), Verdict: v, Stored: typeOf(old.newest())}
}

// keys says why the keys of the operator don't go on, "" if they do.
func (c *checker) keys() string {
	was, is := c.old.KeySchema, c.now.KeySchema
	switch {
	case !hasKeyedState(c.old) || len(was) == 0 || string(was) == string(is):
		return ""
	case len(is) == 0:
		return "it keeps state for each key in the snapshot, and has no key in the program"
	}
	if v, why := codec.Compatible(was, is); v != codec.AsIs {
		return why
	}
	return ""
}

// inFlight says which records of an unaligned checkpoint have nowhere to go, and which can't
// be read; "" if there are none.
func (c *checker) inFlight() (nowhere, changed string) {
	for _, sub := range c.old.Subtasks {
		for _, ch := range sub.ChannelStates {
			in := c.input(ch.FromUid)
			if in == nil {
				nowhere = cmp.Or(nowhere, fmt.Sprintf("the snapshot has records on their way to it from operator %q, from which the program's gets none", ch.FromUid))
				continue
			}
			if len(ch.RecordSchema) == 0 || len(in.RecordSchema) == 0 {
				continue
			}
			if v, why := codec.Compatible(ch.RecordSchema, in.RecordSchema); v == codec.Incompatible {
				changed = cmp.Or(changed, fmt.Sprintf("the snapshot has records on their way to it from operator %q, and their type has changed: %s", ch.FromUid, why))
			}
		}
	}
	return nowhere, changed
}

func (c *checker) input(from string) *metapb.Input {
	for _, in := range c.now.Inputs {
		if int(in.From) < len(c.plan.Operators) && c.plan.Operators[in.From].Uid == from {
			return in
		}
	}
	return nil
}

// storedState is what the snapshot says of a state.
type storedState struct {
	name       string
	kind       metapb.StateKind
	namespaces []byte
	schemas    [][]byte // that values may have, the newest last
	empty      bool     // operator state without an element
}

func (s *storedState) newest() []byte {
	if len(s.schemas) == 0 {
		return nil
	}
	return s.schemas[len(s.schemas)-1]
}

// stored are the states that the snapshot has of the operator, by name.
func (c *checker) stored() map[string]*storedState {
	all := map[string]*storedState{}
	if c.old == nil {
		return all
	}
	names := map[uint32]string{}
	for _, id := range c.m.StateIds {
		if id.Uid == c.old.Uid {
			names[id.Id] = id.Name
		}
	}
	live := map[uint32]bool{} // those whose first schema is listed: others were dropped
	for _, sub := range c.old.Subtasks {
		for _, l := range sub.Schemas {
			live[l.StateId] = live[l.StateId] || l.Ordinal == 0
		}
	}
	for _, sub := range c.old.Subtasks {
		for _, l := range sub.Schemas {
			if name, ok := names[l.StateId]; ok && live[l.StateId] {
				s := at(all, name, l.Kind)
				s.namespaces = l.NamespaceSchema
				s.add(l.Schema)
			}
		}
		for _, st := range sub.OperatorStates {
			s, known := all[st.Name]
			if !known {
				s = at(all, st.Name, st.Kind)
				s.empty = true
			}
			s.empty = s.empty && len(st.Entries) == 0
			s.add(st.Schema)
		}
		for _, r := range sub.Results {
			s := at(all, r.Name, metapb.StateKind_STATE_KIND_RESULT)
			s.add(resultSchema(r))
		}
	}
	return all
}

func at(all map[string]*storedState, name string, kind metapb.StateKind) *storedState {
	if all[name] == nil {
		all[name] = &storedState{name: name, kind: kind}
	}
	return all[name]
}

func (s *storedState) add(schema []byte) {
	if !slices.ContainsFunc(s.schemas, func(o []byte) bool { return string(o) == string(schema) }) {
		s.schemas = append(s.schemas, schema)
	}
}

// compare is what becomes of a state that both have.
func compare(old *storedState, now *metapb.State) State {
	s := State{Name: now.Name, Kind: kindOf(now.Kind), Verdict: Mapped, Stored: typeOf(old.newest()), Program: typeOf(now.ValueSchema)}
	if old.kind != now.Kind && old.kind != metapb.StateKind_STATE_KIND_UNSPECIFIED {
		s.Verdict, s.Detail = Incompatible, fmt.Sprintf("it was a %s and is a %s now", kindOf(old.kind), kindOf(now.Kind))
		return s
	}
	if now.Kind == metapb.StateKind_STATE_KIND_RESULT {
		if len(old.schemas) > 0 && len(now.ValueSchema) > 0 && s.Stored != s.Program {
			s.Verdict, s.Detail = Incompatible, fmt.Sprintf("it was a %s and is a %s now", resultWord(s.Stored), resultWord(s.Program))
		}
		return s
	}
	if string(old.namespaces) != string(now.NamespaceSchema) {
		if v, why := codec.Compatible(old.namespaces, now.NamespaceSchema); v != codec.AsIs {
			s.Verdict, s.Detail = Incompatible, "the keys of its map: "+why
			return s
		}
	}
	var notes []string
	for _, schema := range old.schemas {
		if len(schema) == 0 || string(schema) == string(now.ValueSchema) {
			continue // whoever wrote it has not said what it is: its reader will find out
		}
		switch v, why := codec.Compatible(schema, now.ValueSchema); v {
		case codec.Incompatible:
			s.Verdict, s.Detail = Incompatible, why
			return s
		case codec.Migrate:
			s.Verdict, notes = Migrated, append(notes, why)
		}
	}
	s.Detail = strings.Join(notes, "; and from an older version: ")
	return s
}

// resultSchema is the schema that package operator gives such a result.
func resultSchema(r *metapb.Result) codec.Schema {
	if _, text := r.Value.(*metapb.Result_Text); text {
		return codec.NewSchema("text", 0, "string")
	}
	return codec.NewSchema("sum", 0, "uint64")
}

func resultWord(description string) string {
	if description == "string" {
		return "text"
	}
	return "sum"
}

func hasState(op *metapb.OperatorSnapshot) bool {
	for _, s := range op.Subtasks {
		if len(s.Runs) > 0 || len(s.ChannelStates) > 0 || len(s.Results) > 0 {
			return true
		}
		if slices.ContainsFunc(s.OperatorStates, func(st *metapb.OperatorState) bool { return len(st.Entries) > 0 }) {
			return true
		}
	}
	return false
}

func hasKeyedState(op *metapb.OperatorSnapshot) bool {
	return slices.ContainsFunc(op.Subtasks, func(s *metapb.SubtaskSnapshot) bool { return len(s.Runs) > 0 })
}

// bytesOf is the size of an operator's state.
func bytesOf(op *metapb.OperatorSnapshot) (n uint64) {
	seen := map[string]bool{}
	for _, s := range op.Subtasks {
		for _, r := range s.Runs {
			if id := r.BasePath + "\x00" + r.Id; !seen[id] {
				seen[id] = true
				n += r.Bytes
			}
		}
		for _, st := range s.OperatorStates {
			for _, e := range st.Entries {
				n += uint64(len(e))
			}
		}
		for _, ch := range s.ChannelStates {
			n += max(ch.Size, uint64(len(ch.Pieces)))
		}
	}
	return n
}

const kindResult = "result" // kindOf of a named result

// kindOf is a kind as people read it: "value", "split list".
func kindOf(k metapb.StateKind) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k.String(), "STATE_KIND_")), "_", " ")
}

// typeOf is a schema's type as people read it, "" if it has none.
func typeOf(schema []byte) string {
	if len(schema) == 0 {
		return ""
	}
	info, err := codec.Schema(schema).Parse()
	if err != nil {
		return "?"
	}
	return info.Description
}
