package jobmanager

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/internal/config"
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

// settingsOf decides the settings of a submission. What the program set by its own
// typed flags is stronger than -D and -p, those are stronger than the program's
// defaults, and these than the cluster's configuration.
func settingsOf(cluster map[string]string, plan *metapb.Plan, submitted map[string]string, storage string) (jobSettings, error) {
	values := map[string]string{}
	put := func(key, value string) error {
		o, _, err := config.Lookup(key)
		if err != nil {
			return err
		}
		values[o.Key] = value
		return nil
	}
	for _, o := range config.Options() {
		if o.Scope == config.Job {
			values[o.Key] = o.Default
		}
	}
	for k, v := range cluster {
		if o, _, err := config.Lookup(k); err == nil && o.Scope == config.Job {
			values[o.Key] = v
		}
	}
	for _, s := range plan.Defaults {
		if err := put(s.Key, s.Value); err != nil {
			return jobSettings{}, err
		}
	}
	for k, v := range submitted {
		if err := put(k, v); err != nil {
			return jobSettings{}, err
		}
	}
	for _, s := range plan.Config {
		if err := put(s.Key, s.Value); err != nil {
			return jobSettings{}, err
		}
	}
	values[config.CheckpointDir.Key] = cmp.Or(values[config.CheckpointDir.Key], filepath.Join(storage, "checkpoints"))
	var effective []*metapb.Setting
	for k, v := range values {
		effective = append(effective, &metapb.Setting{Key: k, Value: v})
	}
	slices.SortFunc(effective, func(a, b *metapb.Setting) int { return cmp.Compare(a.Key, b.Key) })
	return parseSettings(effective)
}

// settingsOfRecord reads the settings of a recorded job back.
func settingsOfRecord(rec *metapb.JobRecord) (jobSettings, error) {
	s, err := parseSettings(rec.Config)
	if err != nil {
		return s, fmt.Errorf("settings of job %s: %w", rec.JobId, err)
	}
	return s, nil
}

func parseSettings(effective []*metapb.Setting) (jobSettings, error) {
	values := map[string]string{}
	for _, s := range effective {
		values[s.Key] = s.Value
	}
	r := reader{values: values}
	s := jobSettings{
		Effective:     effective,
		Parallelism:   read(&r, config.Parallelism),
		CheckpointDir: read(&r, config.CheckpointDir),
		Checkpoint: coordinator.Config{
			Interval: read(&r, config.CheckpointInterval), Timeout: read(&r, config.CheckpointTimeout),
			MinPause: read(&r, config.CheckpointMinPause), TolerableFailures: read(&r, config.CheckpointTolerable),
			Retained: read(&r, config.CheckpointRetained),
		},
		Restart: job.RestartPolicy{
			Initial: read(&r, config.RestartInitial), Most: read(&r, config.RestartMost),
			Multiplier: read(&r, config.RestartMultiplier), ResetAfter: read(&r, config.RestartReset),
			Attempts: read(&r, config.RestartAttempts), Delay: read(&r, config.RestartDelay),
		},
	}
	if read(&r, config.CheckpointRetention) == coordinator.DeleteOnCancellation.String() {
		s.Checkpoint.Retention = coordinator.DeleteOnCancellation
	}
	switch kind := read(&r, config.RestartType); kind {
	case job.ExponentialDelay.String():
		s.Restart.Kind = job.ExponentialDelay
	case job.FixedDelay.String():
		s.Restart.Kind = job.FixedDelay
	default:
		s.Restart.Kind = job.NoRestart
	}
	return s, r.err
}

// reader reads values and keeps the first mistake.
type reader struct {
	values map[string]string
	err    error
}

func read[T any](r *reader, k config.Key[T]) T {
	v, err := k.Parse(cmp.Or(r.values[k.Key], k.Default))
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}
