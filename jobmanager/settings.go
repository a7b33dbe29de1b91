package jobmanager

import (
	"path/filepath"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// jobSettings are the effective settings of a job, as the JobMaster needs them.
type jobSettings struct {
	Parallelism   int
	Checkpoint    coordinator.Config
	CheckpointDir string // execution.checkpointing.dir
	Restart       job.RestartPolicy
	SlotWait      time.Duration
	Effective     []*metapb.Setting // all of them, sorted by key
}

// checkpointFolder is {dir}/{job-id}.
func (s jobSettings) checkpointFolder(id job.ID) string { return s.CheckpointDir + "/" + string(id) }

// defaultCheckpointDir lies in the high-availability store.
func defaultCheckpointDir(storage string) string { return filepath.Join(storage, "checkpoints") }
