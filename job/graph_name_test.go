package job

import (
	"testing"

	"github.com/weirstream/weir/proto/metapb"
)

func TestSubtaskName(t *testing.T) {
	g := &Graph{
		Plan:     &metapb.Plan{Operators: []*metapb.Operator{{Uid: "lines#splits"}, {Uid: "lines"}}},
		Vertices: []Vertex{{ID: 0, Operators: []int{0}, Parallelism: 1, Hidden: true}, {ID: 1, Operators: []int{1}, Parallelism: 2}},
	}
	for s, want := range map[SubtaskID]string{{Vertex: 0}: "enumerator of lines", {Vertex: 1, Index: 1}: "lines[1]"} {
		if got := g.SubtaskName(s); got != want {
			t.Errorf("%v is called %q, want %q", s, got, want)
		}
	}
}
