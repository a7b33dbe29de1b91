package settings

import (
	"cmp"
	"fmt"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// Job is the effective settings of a job, as its JobMaster needs them.
type Job struct {
	Parallelism   int
	Checkpoint    coordinator.Config
	CheckpointDir string // execution.checkpointing.dir, absolute
	SavepointDir  string // execution.checkpointing.savepoint-dir; "" = none
	Restart       job.RestartPolicy
	SlotWait      time.Duration
	// InlineThreshold is the size in bytes up to which a run is kept in _metadata.
	InlineThreshold int64
	AllInline       bool              // storage jobmanager: nothing is kept elsewhere
	Fallback        string            // execution.checkpointing.fallback
	Effective       []*metapb.Setting // all of them, sorted by key
}

// CheckpointOf is how a job with that plan is checkpointed.
func (s Job) CheckpointOf(plan *metapb.Plan) coordinator.Config {
	c := s.Checkpoint
	for _, op := range plan.Operators {
		if op.Commits {
			c.TwoPhase = append(c.TwoPhase, op.Uid)
		}
	}
	if s.Fallback == "ask" || s.Fallback == "auto" && len(c.TwoPhase) > 0 {
		c.Fallback = coordinator.FallbackAsk
	}
	return c
}

// DeletesOnCancellation reports whether a cancelled job keeps no checkpoint.
func (s Job) DeletesOnCancellation() bool {
	return s.Checkpoint.Retention == coordinator.DeleteOnCancellation
}

// Setting is the effective value of one setting, as text.
func (s Job) Setting(key string) string {
	for _, kv := range s.Effective {
		if kv.Key == key {
			return kv.Value
		}
	}
	return ""
}

// CheckpointFolder is {dir}/{job-id}.
func (s Job) CheckpointFolder(id job.ID) string { return s.CheckpointDir + "/" + string(id) }

// Of decides the settings of a submission (config.ResolveJob has the order)
// in a cluster whose high-availability store is the folder storage.
func Of(cluster map[string]string, plan *metapb.Plan, submitted map[string]string, storage string) (Job, error) {
	c, err := config.Resolve(config.Layer{Origin: "cluster", Values: cluster})
	if err != nil {
		return Job{}, err
	}
	e, err := config.ResolveJob(plan, submitted, c)
	if err != nil {
		return Job{}, err
	}
	effective := e.JobSettings()
	if e.Get(config.CheckpointDir) == "" {
		if c.Get(config.CheckpointStorage) == "jobmanager" && e.Get(config.CheckpointStorage) == "filesystem" {
			// Only the JobManager's own host has its folder, and TaskManagers may be elsewhere.
			return Job{}, fmt.Errorf("%s filesystem needs %s, a folder that all hosts share: this cluster keeps checkpoints with the JobManager",
				config.CheckpointStorage.Key, config.CheckpointDir.Key)
		}
		dir, err := filepath.Abs(filepath.Join(storage, "checkpoints"))
		if err != nil {
			return Job{}, fmt.Errorf("folder for checkpoints: %w", err)
		}
		effective = append(effective, &metapb.Setting{Key: config.CheckpointDir.Key, Value: dir})
	}
	return parse(effective)
}

// OfRecord reads the settings of a recorded job back.
func OfRecord(rec *metapb.JobRecord) (Job, error) {
	s, err := parse(rec.Config)
	if err != nil {
		return s, fmt.Errorf("settings of job %s: %w", rec.JobId, err)
	}
	return s, nil
}

func parse(effective []*metapb.Setting) (Job, error) {
	c, err := config.OfSettings(effective)
	if err != nil {
		return Job{}, err
	}
	s := Job{
		Effective: effective, Parallelism: cmp.Or(c.Parallelism, 1), CheckpointDir: c.Checkpoints.Dir, InlineThreshold: c.Checkpoints.InlineThreshold, AllInline: c.Checkpoints.AllInline, SavepointDir: c.Checkpoints.SavepointDir, Restart: c.Restart, Fallback: c.Checkpoints.Fallback,
		Checkpoint: coordinator.Config{
			Interval: c.Checkpoints.Interval, Timeout: c.Checkpoints.Timeout, MinPause: c.Checkpoints.MinPause,
			TolerableFailures: c.Checkpoints.TolerableFailures, Retained: c.Checkpoints.Retained, Concurrent: c.Checkpoints.Concurrent,
		},
	}
	if c.Checkpoints.Unaligned {
		s.Checkpoint.Alignment, s.Checkpoint.AlignmentTimeout = coordinator.UnalignedAfterTimeout, c.Checkpoints.AlignmentTimeout
	}
	if c.Checkpoints.DeleteOnCancellation {
		s.Checkpoint.Retention = coordinator.DeleteOnCancellation
	}
	return s, nil
}
