package restore

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
)

// MapUIDs gives the state of operators in m to others: every from becomes to. A from
// that the snapshot does not have, and two operators that would get the same uid, are
// errors that name them.
func MapUIDs(m *metapb.CheckpointMetadata, mappings []*metapb.UIDMapping) error {
	to := map[string]string{}
	for _, u := range mappings {
		if !slices.ContainsFunc(m.Operators, func(op *metapb.OperatorSnapshot) bool { return op.Uid == u.From }) {
			return fmt.Errorf("%w: uid %q is to become %q, but checkpoint %d has no operator %q", ErrIncompatible, u.From, u.To, m.CheckpointId, u.From)
		}
		to[u.From] = u.To
	}
	seen := map[string]bool{}
	for _, op := range m.Operators {
		if uid, mapped := to[op.Uid]; mapped {
			op.Uid = uid
		}
		if seen[op.Uid] {
			return fmt.Errorf("%w: two operators of checkpoint %d would have the uid %q", ErrIncompatible, m.CheckpointId, op.Uid)
		}
		seen[op.Uid] = true
	}
	for _, id := range m.StateIds {
		if uid, mapped := to[id.Uid]; mapped {
			id.Uid = uid
		}
	}
	slices.SortFunc(m.Operators, func(a, b *metapb.OperatorSnapshot) int { return cmp.Compare(a.Uid, b.Uid) })
	return nil
}
