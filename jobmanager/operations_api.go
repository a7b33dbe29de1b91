package jobmanager

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/settings"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// Savepoint implements rest.Cluster.
func (a API) Savepoint(ctx context.Context, id job.ID, r api.SavepointRequest) (string, error) {
	rec := &metapb.Operation{Kind: metapb.Operation_KIND_SAVEPOINT, TriggerId: r.TriggerID}
	if r.CancelJob {
		rec.Kind = metapb.Operation_KIND_CANCEL
	}
	return a.start(ctx, id, rec, &target{r.TargetDirectory, r.FormatType})
}

// Stop implements rest.Cluster.
func (a API) Stop(ctx context.Context, id job.ID, r api.StopRequest) (string, error) {
	rec := &metapb.Operation{Kind: metapb.Operation_KIND_STOP, TriggerId: r.TriggerID, Drain: r.Drain}
	return a.start(ctx, id, rec, &target{r.TargetDirectory, r.FormatType})
}

// Checkpoint implements rest.Cluster.
func (a API) Checkpoint(ctx context.Context, id job.ID, r api.CheckpointRequest) (string, error) {
	rec := &metapb.Operation{Kind: metapb.Operation_KIND_CHECKPOINT, TriggerId: r.TriggerID}
	switch strings.ToUpper(r.CheckpointType) {
	case "", api.CheckpointConfigured:
	case api.CheckpointFull:
		rec.Full = true
	default:
		return "", api.NewError(api.ErrInvalid, "BAD_CHECKPOINT_TYPE",
			fmt.Sprintf("checkpoint type %q is not known; there are %s and %s", r.CheckpointType, api.CheckpointConfigured, api.CheckpointFull))
	}
	return a.start(ctx, id, rec, nil)
}

// Rescale implements rest.Cluster.
func (a API) Rescale(ctx context.Context, id job.ID, r api.RescaleRequest) (string, error) {
	rec := &metapb.Operation{Kind: metapb.Operation_KIND_RESCALE, TriggerId: r.TriggerID}
	if r.Parallelism < 0 || r.Parallelism > stream.KeyGroups || r.Parallelism == 0 && len(r.Operators) == 0 {
		return "", api.NewError(api.ErrInvalid, "BAD_PARALLELISM", fmt.Sprintf("parallelism %d is not possible", r.Parallelism), "weir rescale JOB -p N, or uid=N")
	}
	rec.JobParallelism = uint32(r.Parallelism)
	for _, uid := range slices.Sorted(maps.Keys(r.Operators)) {
		if n := r.Operators[uid]; n < 1 || n > stream.KeyGroups {
			return "", api.NewError(api.ErrInvalid, "BAD_PARALLELISM", fmt.Sprintf("parallelism %d of operator %q is not possible", n, uid))
		}
		rec.Parallelism = append(rec.Parallelism, &metapb.OperatorParallelism{Uid: uid, Parallelism: uint32(r.Operators[uid])})
	}
	return a.start(ctx, id, rec, nil)
}

// target is where a savepoint goes, as the client has it.
type target struct{ folder, format string }

// triggerIDs are those that become keys in the store: what the client chooses must not
// be anything else.
var triggerIDs = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// chooseTrigger gives an operation its id, unless the client has.
func chooseTrigger(id *string) error {
	if *id == "" {
		*id = randomHex(16)
	}
	if !triggerIDs.MatchString(*id) {
		return api.NewError(api.ErrInvalid, "BAD_TRIGGER_ID", fmt.Sprintf("trigger id %.80q is not 1 to 64 letters, digits and dashes", *id))
	}
	return nil
}

// start records an operation and returns its trigger id.
func (a API) start(ctx context.Context, id job.ID, rec *metapb.Operation, to *target) (string, error) {
	if err := chooseTrigger(&rec.TriggerId); err != nil {
		return "", err
	}
	f, err := a.m.find(ctx, id)
	if err != nil {
		return "", apiError(err)
	}
	if f.ended != nil {
		for _, o := range f.ended.Operations {
			switch {
			case o.TriggerId != rec.TriggerId:
			case o.Kind != rec.Kind:
				return "", apiError(fmt.Errorf("%w: the trigger id %s is that of a %s", operations.ErrRunning, o.TriggerId, operations.Name(o.Kind)))
			default:
				return rec.TriggerId, nil // the same request again
			}
		}
		return "", apiError(fmt.Errorf("%w: job %s is %s", ErrEnded, id, f.ended.Result.State))
	}
	if to != nil {
		if err := to.choose(rec, f.master); err != nil {
			return "", err
		}
	}
	reply := make(chan error, 1)
	f.master.post(&operationWanted{rec, reply})
	select {
	case err := <-reply:
		return rec.TriggerId, apiError(err)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// choose decides type and folder of a savepoint.
func (t *target) choose(rec *metapb.Operation, m *JobMaster) error {
	switch strings.ToUpper(t.format) {
	case "", api.FormatCanonical:
		rec.Type = metapb.SnapshotType_SNAPSHOT_TYPE_CANONICAL
	case api.FormatNative:
		rec.Type = metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE
	default:
		return api.NewError(api.ErrInvalid, "BAD_FORMAT", fmt.Sprintf("savepoint type %q is not known; there are canonical and native", t.format))
	}
	folder := t.folder
	if folder == "" {
		folder = m.settings.SavepointDir
	}
	if folder == "" {
		return api.NewError(api.ErrInvalid, "NO_SAVEPOINT_DIR", "no folder for the savepoint was given, and "+config.SavepointDir.Key+" is not set",
			fmt.Sprintf("weir savepoint %s DIR", m.id), "-D "+config.SavepointDir.Key+"=DIR for the job, or in the cluster's configuration")
	}
	if !strings.HasPrefix(folder, "/") && !strings.Contains(folder, ":/") {
		return api.NewError(api.ErrInvalid, "BAD_SAVEPOINT_DIR", fmt.Sprintf("folder for the savepoint %q is not an absolute path", folder))
	}
	local, err := objstore.LocalPath(folder)
	if err != nil {
		return api.NewError(api.ErrInvalid, "BAD_SAVEPOINT_DIR", fmt.Sprintf("folder for the savepoint: %v", err))
	}
	rec.Target = filepath.Join(local, fmt.Sprintf("savepoint-%.6s-%s", m.id, randomHex(6)))
	return nil
}

// Operation implements rest.Cluster.
func (a API) Operation(ctx context.Context, id job.ID, trigger string) (*api.Operation, error) {
	f, err := a.m.find(ctx, id)
	if err != nil {
		return nil, apiError(err)
	}
	unknown := api.NewError(api.ErrNotFound, "OPERATION_NOT_FOUND", fmt.Sprintf("job %s has no operation %.80q, or it ended long ago", id, trigger))
	if f.ended != nil {
		return endedOperation(f.ended.Operations, trigger, unknown)
	}
	reply := make(chan *api.Operation, 1)
	f.master.post(&operationLook{trigger, reply})
	select {
	case o, answered := <-reply:
		switch {
		case !answered: // the job has just ended, or the leadership has
			if err := f.master.gone(ctx); err != nil {
				return nil, err
			}
			return a.Operation(ctx, id, trigger)
		case o == nil:
			return nil, unknown
		}
		return o, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// gone waits for the end of the JobMaster's loop, after which somebody else knows.
func (m *JobMaster) gone(ctx context.Context) error {
	select {
	case <-m.loop.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func endedOperation(all []*metapb.Operation, trigger string, unknown error) (*api.Operation, error) {
	for _, o := range all {
		if o.TriggerId == trigger && o.State != metapb.Operation_STATE_IN_PROGRESS {
			return operationView(o), nil
		}
	}
	return nil, unknown
}

// CheckpointConfig implements rest.Cluster.
func (a API) CheckpointConfig(ctx context.Context, id job.ID) (api.CheckpointConfig, error) {
	f, err := a.m.find(ctx, id)
	if err != nil {
		return api.CheckpointConfig{}, apiError(err)
	}
	var rec *metapb.JobRecord
	if f.ended != nil {
		rec = f.ended.Record
	} else {
		rec = f.master.accepted
	}
	s, err := settings.OfRecord(rec)
	if err != nil {
		return api.CheckpointConfig{}, err
	}
	c := s.Checkpoint
	return api.CheckpointConfig{
		Mode: strings.ToLower(cmp.Or(s.Setting(config.CheckpointMode.Key), "EXACTLY_ONCE")), Interval: c.Interval.Milliseconds(), Timeout: c.Timeout.Milliseconds(), MinPause: c.MinPause.Milliseconds(),
		MaxConcurrent: max(1, c.Concurrent), Externalization: api.Externalization{Enabled: true, DeleteOnCancellation: s.DeletesOnCancellation()},
		StateBackend: s.Setting(config.Backend.Key), CheckpointStorage: s.Setting(config.CheckpointStorage.Key), CheckpointDir: s.CheckpointDir, SavepointDir: s.SavepointDir,
		Retained: c.Retained, Unaligned: c.Alignment == coordinator.UnalignedAfterTimeout, TolerableFailed: c.TolerableFailures,
		AlignedTimeout: c.AlignmentTimeout.Milliseconds(), AfterTasksFinish: true,
	}, nil
}
