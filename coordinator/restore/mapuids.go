package restore

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/proto/metapb"
)

// hidden is what the uids of operators that belong to another one begin with, after that
// one's: "lines#splits" is the enumerator of "lines". Users can't give such uids.
const hidden = "#"

// MapUIDs gives the state of operators in m to others: every from becomes to, and what
// belongs to it goes along. A from
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
	mapped := func(uid string) string {
		own, rest, belongs := strings.Cut(uid, hidden)
		if other, ok := to[own]; ok {
			own = other
		}
		if belongs {
			return own + hidden + rest
		}
		return own
	}
	seen := map[string]bool{}
	for _, op := range m.Operators {
		op.Uid = mapped(op.Uid)
		if seen[op.Uid] {
			return fmt.Errorf("%w: two operators of checkpoint %d would have the uid %q", ErrIncompatible, m.CheckpointId, op.Uid)
		}
		seen[op.Uid] = true
	}
	for _, id := range m.StateIds {
		id.Uid = mapped(id.Uid)
	}
	slices.SortFunc(m.Operators, func(a, b *metapb.OperatorSnapshot) int { return cmp.Compare(a.Uid, b.Uid) })
	return nil
}
