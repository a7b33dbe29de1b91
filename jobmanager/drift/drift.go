package drift

import (
	"cmp"
	"maps"
	"slices"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream/watermark"
)

// Watch follows the sources of a job.
type Watch struct {
	groups map[string]int64              // as told last
	told   map[job.SubtaskID]job.Attempt // who was
}

// Telling is what the sources on a TaskManager are to be told.
type Telling struct {
	TaskManager string
	Align       *weirpb.AlignTime
}

// Look says whom to tell what, by the newest reports of a job's subtasks: all sources of
// groups, when the earliest of one has got on, or when one is new. current returns the
// present attempt of a subtask.
func (w *Watch) Look(reports map[job.SubtaskID]*weirpb.Counters, current func(job.SubtaskID) (execgraph.Execution, bool)) []Telling {
	groups, sources := map[string]int64{}, map[job.SubtaskID]job.Attempt{}
	type place struct {
		taskManager string
		incarnation job.Incarnation
	}
	places := map[place]bool{}
	for s, r := range reports {
		x, ok := current(s)
		if !ok || r.TimeGroup == "" || (job.Attempt{Epoch: r.Attempt.GetEpoch(), N: r.Attempt.GetN()}) != x.Attempt {
			continue
		}
		sources[s] = x.Attempt
		places[place{x.TaskManager, x.Incarnation}] = true
		at := watermark.Max // it keeps nobody waiting
		if r.Watermark != nil && !r.TimeIdle {
			at = *r.Watermark
		}
		if least, ok := groups[r.TimeGroup]; !ok || at < least {
			groups[r.TimeGroup] = at
		}
	}
	if maps.Equal(groups, w.groups) && maps.Equal(sources, w.told) {
		return nil
	}
	w.groups, w.told = groups, sources
	var all []*weirpb.TimeGroup
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, &weirpb.TimeGroup{Name: name, Watermark: groups[name]})
	}
	var tell []Telling
	for p := range places {
		tell = append(tell, Telling{p.taskManager, &weirpb.AlignTime{Incarnation: uint64(p.incarnation), Groups: all}})
	}
	slices.SortFunc(tell, func(a, b Telling) int {
		return cmp.Or(cmp.Compare(a.TaskManager, b.TaskManager), cmp.Compare(a.Align.Incarnation, b.Align.Incarnation))
	})
	return tell
}
