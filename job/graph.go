package job

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

// Graph is a job after chaining, with the parallelism of each vertex decided.
// Immutable.
type Graph struct {
	Plan     *metapb.Plan
	Vertices []Vertex // in topological order; index = VertexID
	Edges    []Edge   // sorted by (From, FromOperator, To, Input)
}

// Vertex is a chain of operators that run in one subtask by direct calls.
type Vertex struct {
	ID          VertexID
	Operators   []int // indices into Plan.Operators, head first, in plan order; a chain may branch
	Parallelism int
	Hidden      bool  // an enumerator: not shown to users
	Inputs      []int // indices into Graph.Edges, in order of the head's inputs
	Outputs     []int // indices into Graph.Edges
}

// Edge leads records from one operator of a vertex to the head of another.
type Edge struct {
	From, To     VertexID
	FromOperator int // index into Plan.Operators
	ToOperator   int
	Input        int // index into the consumer operator's Inputs
	Distribution metapb.Distribution
}

// Head is the plan operator that receives the vertex's records.
func (g *Graph) Head(v VertexID) *metapb.Operator {
	return g.Plan.Operators[g.Vertices[v].Operators[0]]
}

// VertexUID is the uid by which users name a vertex: that of its head.
func (g *Graph) VertexUID(v VertexID) string { return g.Head(v).Uid }

// SubtaskName is what users call a subtask: "count[1]", or "enumerator of lines" for
// the one of a hidden vertex.
func (g *Graph) SubtaskName(s SubtaskID) string {
	uid := g.VertexUID(s.Vertex)
	if source := EnumeratorOf(uid); source != "" {
		return "enumerator of " + source
	}
	return fmt.Sprintf("%s[%d]", uid, s.Index)
}

// EnumeratorOf is the uid of the source whose hidden enumerator has the given one; ""
// for the uid of an operator that a user has declared: '#' is not allowed there.
func EnumeratorOf(uid string) string {
	source, _, hidden := strings.Cut(uid, "#")
	if !hidden {
		return ""
	}
	return source
}

// VertexName joins the names of the chained operators with " -> ".
func (g *Graph) VertexName(v VertexID) string {
	names := make([]string, 0, len(g.Vertices[v].Operators))
	for _, o := range g.Vertices[v].Operators {
		names = append(names, g.Plan.Operators[o].Name)
	}
	return strings.Join(names, " -> ")
}

// IsRoot reports whether barriers are injected into v by RPC: it has no inputs.
// (A source that has an enumerator gets its barriers in band from it.)
func (g *Graph) IsRoot(v VertexID) bool { return len(g.Vertices[v].Inputs) == 0 }

// Subtasks lists every subtask, by vertex and index.
func (g *Graph) Subtasks() []SubtaskID {
	var all []SubtaskID
	for _, v := range g.Vertices {
		for i := range v.Parallelism {
			all = append(all, SubtaskID{v.ID, i})
		}
	}
	return all
}

// Slots is the number of slots the job needs: with slot sharing, one slot holds a
// subtask of every vertex, so it is the largest parallelism.
func (g *Graph) Slots() int {
	n := 0
	for _, v := range g.Vertices {
		n = max(n, v.Parallelism)
	}
	return n
}

// VertexOf returns the vertex that runs the plan operator with the given index.
func (g *Graph) VertexOf(operator int) VertexID {
	for _, v := range g.Vertices {
		if slices.Contains(v.Operators, operator) {
			return v.ID
		}
	}
	panic(fmt.Sprintf("weir: BUG: operator %d of %d is in no vertex", operator, len(g.Plan.Operators)))
}

// NewGraph chains plan. An operator's parallelism is its own, or else
// parallelism, the job's. A forward input joins its producer's vertex when it is
// the operator's only input and both have the same parallelism; a forward input
// between unequal parallelisms is rebalanced.
func NewGraph(plan *metapb.Plan, parallelism int) (*Graph, error) {
	return newGraph(plan, func(op *metapb.Operator) int {
		if op.Parallelism > 0 {
			return int(op.Parallelism)
		}
		return parallelism
	})
}

// NewGraphOf rebuilds the graph of an incarnation from the parallelism of its
// vertices. Chaining follows the plan's own parallelism settings, so that vertex
// numbers stay what they were; only the numbers of subtasks come from vertices.
func NewGraphOf(plan *metapb.Plan, vertices []*metapb.VertexParallelism) (*Graph, error) {
	g, err := NewGraph(plan, 1)
	if err != nil {
		return nil, err
	}
	if len(vertices) != len(g.Vertices) {
		return nil, fmt.Errorf("plan %q has %d vertices, the incarnation records %d", plan.Name, len(g.Vertices), len(vertices))
	}
	for _, p := range vertices {
		if int(p.Vertex) >= len(g.Vertices) || p.Parallelism == 0 {
			return nil, fmt.Errorf("plan %q: recorded parallelism %d of vertex %d is not possible", plan.Name, p.Parallelism, p.Vertex)
		}
		g.Vertices[p.Vertex].Parallelism = int(p.Parallelism)
	}
	for i := range g.Edges { // a rescale may have parted what the plan has equal
		e := &g.Edges[i]
		if e.Distribution == metapb.Distribution_DISTRIBUTION_FORWARD && g.Vertices[e.From].Parallelism != g.Vertices[e.To].Parallelism {
			e.Distribution = metapb.Distribution_DISTRIBUTION_REBALANCE
		}
	}
	return g, nil
}

func newGraph(plan *metapb.Plan, parallelism func(*metapb.Operator) int) (*Graph, error) {
	if err := ValidatePlan(plan); err != nil {
		return nil, err
	}
	g := &Graph{Plan: plan}
	vertexOf := make([]VertexID, len(plan.Operators))
	for i, op := range plan.Operators {
		if from, ok := chainedTo(plan, i); ok {
			v := vertexOf[from]
			g.Vertices[v].Operators = append(g.Vertices[v].Operators, i)
			vertexOf[i] = v
			continue
		}
		vertexOf[i] = VertexID(len(g.Vertices))
		g.Vertices = append(g.Vertices, Vertex{
			ID: vertexOf[i], Operators: []int{i}, Parallelism: parallelism(op), Hidden: op.Hidden,
		})
	}
	for i, op := range plan.Operators {
		if g.Vertices[vertexOf[i]].Operators[0] != i {
			continue
		}
		for n, in := range op.Inputs {
			d := in.Distribution
			from := vertexOf[in.From]
			if d == metapb.Distribution_DISTRIBUTION_FORWARD && !sameParallelism(plan, int(in.From), i) {
				d = metapb.Distribution_DISTRIBUTION_REBALANCE
			}
			g.Edges = append(g.Edges, Edge{
				From: from, To: vertexOf[i], FromOperator: int(in.From), ToOperator: i, Input: n, Distribution: d,
			})
		}
	}
	slices.SortFunc(g.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.FromOperator, b.FromOperator),
			cmp.Compare(a.To, b.To), cmp.Compare(a.Input, b.Input))
	})
	for i, e := range g.Edges {
		g.Vertices[e.From].Outputs = append(g.Vertices[e.From].Outputs, i)
		g.Vertices[e.To].Inputs = append(g.Vertices[e.To].Inputs, i)
	}
	for _, v := range g.Vertices {
		slices.SortFunc(v.Inputs, func(a, b int) int { return cmp.Compare(g.Edges[a].Input, g.Edges[b].Input) })
	}
	return g, nil
}

// sameParallelism compares what the plan asks for. Equal settings stay equal
// under every rescale of the whole job.
func sameParallelism(plan *metapb.Plan, a, b int) bool {
	return plan.Operators[a].Parallelism == plan.Operators[b].Parallelism
}

func chainedTo(plan *metapb.Plan, i int) (from int, ok bool) {
	op := plan.Operators[i]
	if len(op.Inputs) != 1 || op.Inputs[0].Distribution != metapb.Distribution_DISTRIBUTION_FORWARD {
		return 0, false
	}
	from = int(op.Inputs[0].From)
	return from, sameParallelism(plan, from, i)
}

// ErrInvalidPlan marks a plan that cannot be run as it is.
var ErrInvalidPlan = errors.New("invalid plan")

// ValidatePlan checks what a program built: uids present and unique, inputs that
// point backwards, at least one source and one consumer.
func ValidatePlan(plan *metapb.Plan) error {
	if len(plan.Operators) == 0 {
		return fmt.Errorf("%w: program %q declares no operator; call env.From in build", ErrInvalidPlan, plan.Name)
	}
	seen := map[string]int{}
	for i, op := range plan.Operators {
		if op.Uid == "" {
			return fmt.Errorf("%w: operator %d (%q) has no uid", ErrInvalidPlan, i, op.Name)
		}
		if j, dup := seen[op.Uid]; dup {
			return fmt.Errorf("%w: uid %q is used twice, by %q and %q; give each operator a uid of its own",
				ErrInvalidPlan, op.Uid, plan.Operators[j].Name, op.Name)
		}
		seen[op.Uid] = i
		if op.Parallelism > 1<<16 {
			return fmt.Errorf("%w: operator %q asks for parallelism %d, the most is 65536 (one key group each)", ErrInvalidPlan, op.Uid, op.Parallelism)
		}
		if err := validateInputs(op, i); err != nil {
			return err
		}
	}
	if err := validateResults(plan); err != nil {
		return err
	}
	return validateClosing(plan)
}

// validateResults refuses named results that can't be merged in the end.
func validateResults(plan *metapb.Plan) error {
	type declared struct {
		uid    string
		schema []byte
	}
	first := map[string]declared{}
	for _, op := range plan.Operators {
		for _, s := range op.States {
			if s.Kind != metapb.StateKind_STATE_KIND_RESULT {
				continue
			}
			other, known := first[s.Name]
			if known && !bytes.Equal(other.schema, s.ValueSchema) {
				return fmt.Errorf("%w: result %q is a sum in one of the operators %q and %q and a text in the other; results of one name are merged",
					ErrInvalidPlan, s.Name, other.uid, op.Uid)
			}
			first[s.Name] = declared{op.Uid, s.ValueSchema}
		}
	}
	return nil
}

func validateInputs(op *metapb.Operator, i int) error {
	roots := op.Kind == metapb.OperatorKind_OPERATOR_KIND_SOURCE || op.Kind == metapb.OperatorKind_OPERATOR_KIND_ENUMERATOR
	if len(op.Inputs) == 0 && !roots {
		return fmt.Errorf("%w: operator %q has no input", ErrInvalidPlan, op.Uid)
	}
	for _, in := range op.Inputs {
		if int(in.From) >= i {
			return fmt.Errorf("%w: operator %q reads from operator %d, which is declared after it", ErrInvalidPlan, op.Uid, in.From)
		}
		if in.Distribution == metapb.Distribution_DISTRIBUTION_UNSPECIFIED {
			return fmt.Errorf("%w: operator %q has an input without a distribution", ErrInvalidPlan, op.Uid)
		}
	}
	return nil
}

// planBytes is the canonical encoding whose SHA-256 identifies a plan.
func planBytes(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: marshal plan: %v", err))
	}
	return b
}

// PlanHash is the SHA-256 of the plan's canonical bytes.
func PlanHash(plan *metapb.Plan) [sha256.Size]byte { return sha256.Sum256(planBytes(plan)) }

// PlanDifference names the first thing in which got differs from want, the plan
// recorded at submission; "" when they are the same.
func PlanDifference(want, got *metapb.Plan) string {
	if bytes.Equal(planBytes(want), planBytes(got)) {
		return ""
	}
	for i := range max(len(want.Operators), len(got.Operators)) {
		switch {
		case i >= len(got.Operators):
			return fmt.Sprintf("operator %q (number %d) of the submitted plan is missing", want.Operators[i].Uid, i)
		case i >= len(want.Operators):
			return fmt.Sprintf("operator %q (number %d) is not in the submitted plan", got.Operators[i].Uid, i)
		case want.Operators[i].Uid != got.Operators[i].Uid:
			return fmt.Sprintf("operator number %d is %q, in the submitted plan %q", i, got.Operators[i].Uid, want.Operators[i].Uid)
		case !bytes.Equal(planBytes(want.Operators[i]), planBytes(got.Operators[i])):
			return fmt.Sprintf("operator %q differs: %v, in the submitted plan %v", got.Operators[i].Uid, got.Operators[i], want.Operators[i])
		}
	}
	return "the plans have the same operators but other settings, arguments or parameters"
}
