package jobmanager

import (
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/jobmanager/execgraph"
)

// Entries kept of a running job: Flink keeps 10 checkpoints and 16 exceptions.
const (
	checkpointHistory = 32
	failureHistory    = 16
)

// history is what a JobMaster remembers of checkpoints and failures for people.
type history struct {
	infos     []coordinator.Info // newest last
	failures  []execgraph.Failure
	completed int
	failedN   int
	last      *coordinator.CheckpointCompletedInfo
}

func (h *history) record(i coordinator.Info) {
	switch i := i.(type) {
	case coordinator.CheckpointCompletedInfo:
		h.completed++
		h.last = &i
	case coordinator.CheckpointFailedInfo:
		h.failedN++
	}
	h.infos = append(h.infos, i)
	if len(h.infos) > checkpointHistory {
		h.infos = h.infos[1:]
	}
}

func (h *history) failed(f execgraph.RegionFailed) {
	h.failures = append(h.failures, f.Failure)
	if len(h.failures) > failureHistory {
		h.failures = h.failures[1:]
	}
}
