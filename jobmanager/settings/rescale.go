package settings

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Graph is the graph of a job at the parallelism that its settings and its rescales
// give it.
func Graph(plan *metapb.Plan, parallelism int, rec *metapb.JobRecord) (*job.Graph, error) {
	g, err := job.NewGraph(plan, cmp.Or(int(rec.JobParallelism), parallelism))
	if err != nil || len(rec.Parallelism) == 0 {
		return g, err
	}
	ps := make([]*metapb.VertexParallelism, len(g.Vertices))
	for i, v := range g.Vertices {
		ps[i] = &metapb.VertexParallelism{Vertex: uint32(v.ID), Parallelism: uint32(v.Parallelism)}
	}
	for _, p := range rec.Parallelism {
		at := slices.IndexFunc(plan.Operators, func(op *metapb.Operator) bool { return op.Uid == p.Uid })
		switch {
		case at < 0 || plan.Operators[at].Hidden:
			return nil, fmt.Errorf("the job has no operator %q", p.Uid)
		case p.Parallelism == 0 || p.Parallelism > stream.KeyGroups:
			return nil, fmt.Errorf("parallelism %d of operator %q is not possible, the most is %d", p.Parallelism, p.Uid, stream.KeyGroups)
		}
		ps[g.VertexOf(at)].Parallelism = p.Parallelism // of its whole chain
	}
	return job.NewGraphOf(plan, ps)
}

// Rescaled is rec with the parallelism that an operation asks for.
func Rescaled(rec *metapb.JobRecord, op *metapb.Operation) *metapb.JobRecord {
	r := proto.CloneOf(rec)
	r.JobParallelism = cmp.Or(op.JobParallelism, r.JobParallelism)
	for _, p := range op.Parallelism {
		r.Parallelism = slices.DeleteFunc(r.Parallelism, func(q *metapb.OperatorParallelism) bool { return q.Uid == p.Uid })
		r.Parallelism = append(r.Parallelism, p)
	}
	slices.SortFunc(r.Parallelism, func(a, b *metapb.OperatorParallelism) int { return cmp.Compare(a.Uid, b.Uid) })
	return r
}
