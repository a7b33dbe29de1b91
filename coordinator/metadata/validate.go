package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Validate reports what is impossible or not allowed in m.
func Validate(m *metapb.CheckpointMetadata) error {
	if m == nil {
		return fmt.Errorf("%w: there is none", ErrInvalid)
	}
	if m.FormatVersion != Version1 {
		return fmt.Errorf("%w: content version %d, this program reads %d", ErrVersion, m.FormatVersion, Version1)
	}
	if m.HashName != stream.HashName || m.KeyGroups != stream.KeyGroups {
		return fmt.Errorf("%w: keys are placed by %q in %d groups, this program places them by %q in %d",
			ErrInvalid, m.HashName, m.KeyGroups, stream.HashName, stream.KeyGroups)
	}
	if err := validateStateIDs(m); err != nil {
		return err
	}
	for i, op := range m.Operators {
		if op.Uid == "" {
			return fmt.Errorf("%w: operator %d has no uid", ErrInvalid, i)
		}
		if i > 0 && m.Operators[i-1].Uid >= op.Uid {
			return fmt.Errorf("%w: operator %q follows %q: twice there, or not sorted", ErrInvalid, op.Uid, m.Operators[i-1].Uid)
		}
		if err := validateOperator(op); err != nil {
			return err
		}
	}
	if err := validateSelfContained(m); err != nil {
		return err
	}
	for _, name := range m.StillReads {
		if strings.HasPrefix(name, "/") || strings.Contains(name, "://") {
			continue // somebody else's, read and never deleted
		}
		if err := validateName(name); err != nil {
			return fmt.Errorf("%w (still read)", err)
		}
	}
	return nil
}

func validateStateIDs(m *metapb.CheckpointMetadata) error {
	type key struct{ uid, name string }
	seen := map[key]uint32{}
	for i, s := range m.StateIds {
		if s.Id == 0 || i > 0 && m.StateIds[i-1].Id >= s.Id {
			return fmt.Errorf("%w: state id %d of %q/%q is zero, twice there, or not sorted", ErrInvalid, s.Id, s.Uid, s.Name)
		}
		if s.Id >= m.NextStateId {
			return fmt.Errorf("%w: state id %d of %q/%q, but the next to be given is %d", ErrInvalid, s.Id, s.Uid, s.Name, m.NextStateId)
		}
		if other, dup := seen[key{s.Uid, s.Name}]; dup {
			return fmt.Errorf("%w: state %q/%q has the ids %d and %d", ErrInvalid, s.Uid, s.Name, other, s.Id)
		}
		seen[key{s.Uid, s.Name}] = s.Id
	}
	return nil
}

func validateOperator(op *metapb.OperatorSnapshot) error {
	if op.Parallelism == 0 || op.Parallelism > stream.KeyGroups || int(op.Parallelism) != len(op.Subtasks) {
		return fmt.Errorf("%w: operator %q has parallelism %d and %d subtasks", ErrInvalid, op.Uid, op.Parallelism, len(op.Subtasks))
	}
	for i, s := range op.Subtasks {
		if int(s.Index) != i {
			return fmt.Errorf("%w: operator %q: subtask %d stands at place %d", ErrInvalid, op.Uid, s.Index, i)
		}
		if s.FirstGroup > s.LastGroup || s.LastGroup >= stream.KeyGroups {
			return fmt.Errorf("%w: operator %q subtask %d: key groups [%d,%d]", ErrInvalid, op.Uid, i, s.FirstGroup, s.LastGroup)
		}
		if i > 0 && op.Subtasks[i-1].LastGroup >= s.FirstGroup {
			return fmt.Errorf("%w: operator %q: the key groups of subtasks %d and %d overlap", ErrInvalid, op.Uid, i-1, i)
		}
		if err := validateSubtask(op.Uid, s); err != nil {
			return err
		}
	}
	return nil
}

func validateSubtask(uid string, s *metapb.SubtaskSnapshot) error {
	runs := map[string][]*metapb.Run{}
	for _, r := range s.Runs {
		at := fmt.Sprintf("operator %q subtask %d run %q", uid, s.Index, r.Id)
		if r.Id == "" {
			return fmt.Errorf("%w: %s has no id", ErrInvalid, at)
		}
		// A run that two old subtasks had clipped comes back twice when their ranges are
		// joined again.
		for _, other := range runs[r.Id] {
			if r.FirstGroup <= other.LastGroup && other.FirstGroup <= r.LastGroup {
				return fmt.Errorf("%w: %s is twice there, for [%d,%d] and [%d,%d]", ErrInvalid, at, other.FirstGroup, other.LastGroup, r.FirstGroup, r.LastGroup)
			}
		}
		runs[r.Id] = append(runs[r.Id], r)
		if r.FirstGroup > r.LastGroup || r.LastGroup >= stream.KeyGroups {
			return fmt.Errorf("%w: %s: key groups [%d,%d]", ErrInvalid, at, r.FirstGroup, r.LastGroup)
		}
		if len(r.InlineTable) > 0 && len(r.Files) > 0 {
			return fmt.Errorf("%w: %s is inline and has %d files", ErrInvalid, at, len(r.Files))
		}
		if r.BasePath != "" && !strings.HasPrefix(r.BasePath, "/") && !strings.Contains(r.BasePath, "://") {
			return fmt.Errorf("%w: %s: base path %q is not absolute", ErrInvalid, at, r.BasePath)
		}
		for _, f := range r.Files {
			if err := validateName(f.Name); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			if f.Offset > f.PackSize || f.PackSize > 0 && f.Size > f.PackSize-f.Offset {
				return fmt.Errorf("%w: %s: %d bytes at %d of pack %q, which has %d", ErrInvalid, at, f.Size, f.Offset, f.Name, f.PackSize)
			}
		}
	}
	if err := validateBeside(s); err != nil {
		return fmt.Errorf("operator %q subtask %d: %w", uid, s.Index, err)
	}
	if !slices.IsSortedFunc(s.Schemas, func(a, b *metapb.Schema) int { return cmp.Compare(a.StateId, b.StateId) }) {
		return fmt.Errorf("%w: operator %q subtask %d: schemas are not sorted", ErrInvalid, uid, s.Index)
	}
	return nil
}

// validateBeside looks at what lies beside the runs: records in flight and task-owned files.
func validateBeside(s *metapb.SubtaskSnapshot) error {
	for _, c := range s.ChannelStates {
		if c.File == "" {
			continue
		}
		if err := validateName(c.File); err != nil {
			return fmt.Errorf("records in flight from %q: %w", c.FromUid, err)
		}
		if len(c.Pieces) > 0 || c.Offset+c.Size < c.Offset {
			return fmt.Errorf("%w: records in flight from %q: %d bytes inline, and %d at %d of %q", ErrInvalid, c.FromUid, len(c.Pieces), c.Size, c.Offset, c.File)
		}
	}
	for _, f := range s.Owned {
		for _, name := range []string{f.Name, f.File} {
			if err := validateName(name); err != nil && (name != "" || f.Name == "") {
				return fmt.Errorf("task-owned file: %w", err)
			}
		}
		if f.BasePath != "" && !strings.HasPrefix(f.BasePath, "/") && !strings.Contains(f.BasePath, "://") {
			return fmt.Errorf("%w: task-owned file %q: base path %q is not absolute", ErrInvalid, f.Name, f.BasePath)
		}
	}
	return nil
}

// validateSelfContained: a savepoint can be moved, so it refers to nothing outside.
func validateSelfContained(m *metapb.CheckpointMetadata) error {
	if !m.SelfContained {
		return nil
	}
	if len(m.StillReads) > 0 {
		return fmt.Errorf("%w: it is self-contained and still reads %q", ErrInvalid, m.StillReads[0])
	}
	for _, op := range m.Operators {
		for _, s := range op.Subtasks {
			for _, r := range s.Runs {
				if r.BasePath != "" {
					return fmt.Errorf("%w: it is self-contained and operator %q subtask %d lists run %q of %s", ErrInvalid, op.Uid, s.Index, r.Id, r.BasePath)
				}
			}
			for _, f := range s.Owned {
				if f.BasePath != "" {
					return fmt.Errorf("%w: it is self-contained and operator %q subtask %d lists task-owned file %q of %s", ErrInvalid, op.Uid, s.Index, f.Name, f.BasePath)
				}
			}
		}
	}
	return nil
}

// validateName accepts a relative path that stays below its folder on every
// system: no empty, "." or ".." part, no backslash, colon or control character.
func validateName(name string) error {
	if name == "" || strings.HasPrefix(name, "/") {
		return fmt.Errorf("%w: object name %q is empty or absolute", ErrInvalid, name)
	}
	for _, c := range name {
		if c < ' ' || c == '\\' || c == ':' || c == 0x7f {
			return fmt.Errorf("%w: object name %q has the character %q", ErrInvalid, name, c)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w: object name %q has the part %q", ErrInvalid, name, part)
		}
	}
	return nil
}
