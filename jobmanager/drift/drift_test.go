package drift

import (
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream/watermark"
)

// TestGroups: which reports count.
func TestGroups(t *testing.T) {
	report := func(attempt uint64, group string, at int64, idle bool) *weirpb.Counters {
		return &weirpb.Counters{Attempt: &weirpb.Attempt{Epoch: 1, N: attempt}, TimeGroup: group, Watermark: proto.Int64(at), TimeIdle: idle}
	}
	begun := report(2, "a", 0, false)
	begun.Watermark = nil
	reports := map[job.SubtaskID]*weirpb.Counters{
		{Vertex: 0, Index: 0}: report(2, "a", 500, false),
		{Vertex: 0, Index: 1}: report(2, "a", 400, false),
		{Vertex: 0, Index: 2}: report(1, "a", 100, false), // over
		{Vertex: 0, Index: 3}: report(2, "a", 200, true),
		{Vertex: 0, Index: 4}: begun,
		{Vertex: 0, Index: 5}: report(2, "a", 50, false), // runs no more
		{Vertex: 1, Index: 0}: report(2, "", 10, false),
		{Vertex: 2, Index: 0}: report(2, "b", -7, false),
		{Vertex: 3, Index: 0}: report(2, "c", 9, true),
	}
	current := func(s job.SubtaskID) (job.Attempt, bool) { return job.Attempt{Epoch: 1, N: 2}, s.Index < 5 }
	want := map[string]int64{"a": 400, "b": -7, "c": watermark.Max}
	if got := Groups(reports, current); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
