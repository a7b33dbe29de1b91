package compat

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/job"
)

// Verdict is what becomes of a state.
type Verdict string

// Verdicts, the mildest first.
const (
	New          Verdict = "new"          // the snapshot does not have it: it begins empty
	Mapped       Verdict = "mapped"       // it goes on as it is
	Migrated     Verdict = "migrated"     // its values are changed as they are read
	Dropped      Verdict = "dropped"      // the program does not have it, which was allowed
	Unmapped     Verdict = "unmapped"     // the program does not have it: refused
	Incompatible Verdict = "incompatible" // it can't be read: refused
)

var severity = map[Verdict]int{New: 0, Mapped: 1, Migrated: 2, Dropped: 3, Unmapped: 4, Incompatible: 5}

// worse is the one of two verdicts that says more about the whole.
func worse(a, b Verdict) Verdict {
	if severity[b] > severity[a] {
		return b
	}
	return a
}

// Report is the answer of Check. Its JSON form is stable.
type Report struct {
	Checkpoint uint64     `json:"checkpoint-id"`
	JobName    string     `json:"job-name"`
	Restorable bool       `json:"restorable"`
	Bytes      uint64     `json:"bytes"`     // of the state that the program takes
	Dropped    uint64     `json:"dropped"`   // bytes of what it does not
	Operators  []Operator `json:"operators"` // of the snapshot or the program, by uid
	// Reason says what else forbids the start: what can't be divided among the subtasks as
	// the program is laid out.
	Reason   string   `json:"reason,omitempty"`
	Warnings []string `json:"warnings"`
}

// Operator is what becomes of one operator's state.
type Operator struct {
	UID     string  `json:"uid"`
	Verdict Verdict `json:"verdict"` // the worst of its states
	// Detail says why, where it is not the states: another type of keys, records in
	// flight that have nowhere to go.
	Detail      string  `json:"detail,omitempty"`
	Absent      bool    `json:"absent,omitempty"`  // the program has no such operator
	Closest     string  `json:"closest,omitempty"` // uid of the program that it may be meant for
	Parallelism int     `json:"parallelism"`       // when the snapshot was taken; 0: new
	Bytes       uint64  `json:"bytes"`             // of its runs, each counted once, and operator state
	States      []State `json:"states"`            // by name
}

// State is what becomes of one state.
type State struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"`
	Stored  string  `json:"stored,omitempty"`  // the type in the snapshot
	Program string  `json:"program,omitempty"` // the type now
}

// ErrIncompatible marks the error of a report.
var ErrIncompatible = errors.New("the program can't be started from the snapshot")

// Err is nil if the program can be started from the snapshot; else it names the first
// operator and state that forbid it, and how many others do.
func (r *Report) Err() error {
	var reasons []string
	for _, op := range r.Operators {
		if severity[op.Verdict] >= severity[Unmapped] {
			reasons = append(reasons, op.reasons()...)
		}
	}
	if r.Reason != "" {
		reasons = append(reasons, r.Reason)
	}
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w: %s", ErrIncompatible, reasons[0])
	}
	return fmt.Errorf("%w: %s; and %d more", ErrIncompatible, reasons[0], len(reasons)-1)
}

// Lost says what of the snapshot's state the program does not take, a line for each
// operator; it is for a restore that allows it.
func (r *Report) Lost() (lines []string) {
	for _, op := range r.Operators {
		if op.Absent && op.Verdict == Dropped {
			if op.Bytes == 0 {
				continue // results at most
			}
			lines = append(lines, fmt.Sprintf("the state of %s, %d bytes, is dropped: the program has no such operator", op.name(), op.Bytes))
			continue
		}
		if op.Detail != "" && severity[op.Verdict] < severity[Incompatible] {
			lines = append(lines, fmt.Sprintf("records in flight to %s are dropped: %s", op.name(), op.Detail))
		}
		for _, s := range op.States {
			if s.Verdict == Dropped && s.Kind != kindResult {
				lines = append(lines, fmt.Sprintf("the %s state %q of %s is dropped: the program does not declare it", s.Kind, s.Name, op.name()))
			}
		}
	}
	return lines
}

// Hints are what to type about the errors of the report, a line each.
func (r *Report) Hints() (hints []string) {
	for _, op := range r.Operators {
		if op.Verdict == Unmapped && op.Closest != "" && job.EnumeratorOf(op.UID) == "" {
			hints = append(hints, fmt.Sprintf("keep the state of %q:  --map-uid %s=%s", op.UID, op.UID, op.Closest))
		}
	}
	for _, op := range r.Operators {
		if op.Verdict == Unmapped {
			return append(hints, "drop what no operator takes:  -n")
		}
	}
	return hints
}

// reasons says what of op forbids the start.
func (op *Operator) reasons() (all []string) {
	if op.Verdict == Unmapped && op.Absent {
		var names []string
		for _, s := range op.States {
			names = append(names, s.Kind+" "+s.Name)
		}
		what := "state"
		if len(names) > 0 {
			what = "state (" + strings.Join(names, ", ") + ")"
		}
		return []string{fmt.Sprintf("%s of %s, %d bytes, has no operator in the program", what, op.name(), op.Bytes)}
	}
	if op.Detail != "" {
		all = append(all, fmt.Sprintf("%s: %s", op.name(), op.Detail))
	}
	for _, s := range op.States {
		switch s.Verdict {
		case Unmapped:
			all = append(all, fmt.Sprintf("%s does not declare its %s state %q any more", op.name(), s.Kind, s.Name))
		case Incompatible:
			all = append(all, fmt.Sprintf("%s, state %q: %s", op.name(), s.Name, s.Detail))
		}
	}
	return all
}

// name is what users call the operator: an enumerator is its source's.
func (op *Operator) name() string {
	if source := job.EnumeratorOf(op.UID); source != "" {
		return fmt.Sprintf("the enumerator of %q", source)
	}
	return fmt.Sprintf("operator %q", op.UID)
}
