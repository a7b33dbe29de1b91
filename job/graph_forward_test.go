package job_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// TestForwardEdgeOfARescale: subtask i of one vertex can hand on to subtask i of another only
// while both have as many. A rescale of one of them makes the edge a rebalanced one, and a
// rescale back a forward one; what is chained stays so.
func TestForwardEdgeOfARescale(t *testing.T) {
	forward := metapb.Distribution_DISTRIBUTION_FORWARD
	op := func(uid string, kind metapb.OperatorKind, from ...uint32) *metapb.Operator {
		o := &metapb.Operator{Uid: uid, Kind: kind}
		for _, f := range from {
			o.Inputs = append(o.Inputs, &metapb.Input{From: f, Distribution: forward})
		}
		return o
	}
	plan := &metapb.Plan{Name: "union", Operators: []*metapb.Operator{ // a ∪ b → union → sink
		op("a", metapb.OperatorKind_OPERATOR_KIND_SOURCE), op("b", metapb.OperatorKind_OPERATOR_KIND_SOURCE),
		op("union", metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, 0, 1), op("sink", metapb.OperatorKind_OPERATOR_KIND_SINK, 2),
	}}
	for _, c := range []struct {
		a, b, union int
		want        string
	}{
		{2, 2, 2, "a→union forward, b→union forward"},
		{2, 2, 3, "a→union rebalance, b→union rebalance"},
		{2, 3, 3, "a→union rebalance, b→union forward"},
		{1, 1, 1, "a→union forward, b→union forward"},
	} {
		g, err := job.NewGraphOf(plan, []*metapb.VertexParallelism{
			{Vertex: 0, Parallelism: uint32(c.a)}, {Vertex: 1, Parallelism: uint32(c.b)}, {Vertex: 2, Parallelism: uint32(c.union)},
		})
		if err != nil {
			t.Fatal(err)
		}
		var edges []string
		for _, e := range g.Edges {
			d := strings.ToLower(strings.TrimPrefix(e.Distribution.String(), "DISTRIBUTION_"))
			edges = append(edges, fmt.Sprintf("%s→%s %s", g.VertexUID(e.From), g.VertexUID(e.To), d))
		}
		if got := strings.Join(edges, ", "); got != c.want {
			t.Errorf("%d, %d → %d: %s, want %s", c.a, c.b, c.union, got, c.want)
		}
	}
}
