package drift

import (
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream/watermark"
)

// Groups are the watermarks of the earliest source of each group, by its name. A group of
// which no source counts has watermark.Max: nobody is waited for. current says which attempt
// of a subtask runs, if one does.
func Groups(reports map[job.SubtaskID]*weirpb.Counters, current func(job.SubtaskID) (job.Attempt, bool)) map[string]int64 {
	groups := map[string]int64{}
	for s, r := range reports {
		a, ok := current(s)
		if !ok || r.TimeGroup == "" || (job.Attempt{Epoch: r.Attempt.GetEpoch(), N: r.Attempt.GetN()}) != a {
			continue
		}
		at := watermark.Max
		if r.Watermark != nil && !r.TimeIdle {
			at = *r.Watermark
		}
		if least, ok := groups[r.TimeGroup]; !ok || at < least {
			groups[r.TimeGroup] = at
		}
	}
	return groups
}
