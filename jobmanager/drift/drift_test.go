package drift

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/weirpb"
)

// TestLook: which reports count, and when anybody is told.
func TestLook(t *testing.T) {
	report := func(attempt uint32, group string, at int64, idle bool) *weirpb.Counters {
		return &weirpb.Counters{Attempt: &weirpb.Attempt{Epoch: 1, N: attempt}, TimeGroup: group, Watermark: proto.Int64(at), TimeIdle: idle}
	}
	at := func(v, i int) job.SubtaskID { return job.SubtaskID{Vertex: job.VertexID(v), Index: i} }
	begun := report(2, "a", 0, false)
	begun.Watermark = nil
	reports := map[job.SubtaskID]*weirpb.Counters{
		at(0, 0): report(2, "a", 500, false),
		at(0, 1): report(2, "a", 400, false),
		at(0, 2): report(1, "a", 100, false), // over
		at(0, 3): report(2, "a", 200, true),
		at(0, 4): begun,
		at(0, 5): report(2, "a", 50, false), // runs no more
		at(1, 0): report(2, "", 10, false),
		at(2, 0): report(2, "b", -7, false),
		at(3, 0): report(2, "c", 9, true),
	}
	current := func(s job.SubtaskID) (execgraph.Execution, bool) {
		return execgraph.Execution{Attempt: job.Attempt{Epoch: 1, N: 2}, TaskManager: fmt.Sprint("tm", s.Index%2), Incarnation: job.Incarnation(1 + s.Vertex/2)}, s.Index < 5
	}
	var w Watch
	for _, c := range []struct {
		change func()
		want   string
	}{
		{func() {}, "tm0/1 tm0/2 tm1/1: a 400, b -7, c 9223372036854775807"},
		{func() {}, ""},
		{func() { reports[at(0, 0)] = report(2, "a", 900, false) }, ""},
		{func() { reports[at(0, 1)] = report(2, "a", 800, false) }, "tm0/1 tm0/2 tm1/1: a 800, b -7, c 9223372036854775807"},
		{func() { reports[at(4, 0)] = report(2, "b", 70, false) }, "tm0/1 tm0/2 tm0/3 tm1/1: a 800, b -7, c 9223372036854775807"},
		{func() { delete(reports, at(2, 0)) }, "tm0/1 tm0/2 tm0/3 tm1/1: a 800, b 70, c 9223372036854775807"},
		{func() { clear(reports) }, ""},
	} {
		c.change()
		var places []string
		said := ""
		for _, to := range w.Look(reports, current) {
			places = append(places, fmt.Sprintf("%s/%d", to.TaskManager, to.Align.Incarnation))
			var groups []string
			for _, g := range to.Align.Groups {
				groups = append(groups, fmt.Sprintf("%s %d", g.Name, g.Watermark))
			}
			said = ": " + strings.Join(groups, ", ")
		}
		if got := strings.Join(places, " ") + said; got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}
