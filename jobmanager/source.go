package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/compat"
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
)

// source is the snapshot of somebody else that a job was started from. It is the
// user's or the job's, as the restore mode says, and is needed until the coordinator
// releases it.
type source struct {
	path   string // folder of its _metadata, absolute
	folder string // that the names of its runs are relative to
	meta   *metapb.CheckpointMetadata
	// What a subtask found wrong with it; "" = nothing. There is nothing to fall back to.
	problem string
}

// readSource opens the snapshot at path, with its operators under the uids that the
// job has for them.
func readSource(ctx context.Context, path string, uids []*metapb.UIDMapping) (*source, error) {
	s, err := savepoint.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	src := &source{path: s.Folder(), folder: s.Base(), meta: proto.CloneOf(s.Metadata())}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if err := restore.MapUIDs(src.meta, uids); err != nil {
		return nil, err
	}
	return src, nil
}

// restoreModes by their names in the API.
var restoreModes = map[string]metapb.RestoreMode{
	"": metapb.RestoreMode_RESTORE_MODE_NO_CLAIM, api.RestoreNoClaim: metapb.RestoreMode_RESTORE_MODE_NO_CLAIM,
	api.RestoreClaim: metapb.RestoreMode_RESTORE_MODE_CLAIM, api.RestoreLegacy: metapb.RestoreMode_RESTORE_MODE_LEGACY,
}

// sourceError puts the mark on err that the REST API and the command line act on.
func sourceError(err error) *api.Error {
	for cause, mark := range map[error]*api.Error{
		savepoint.ErrNotFound:   api.NewError(api.ErrNotFound, "SNAPSHOT_NOT_FOUND", ""),
		savepoint.ErrDamaged:    api.NewError(api.ErrIncompatible, "SNAPSHOT_DAMAGED", ""),
		savepoint.ErrNewer:      api.NewError(api.ErrIncompatible, "SNAPSHOT_NEWER", ""),
		savepoint.ErrForeign:    api.NewError(api.ErrIncompatible, "SNAPSHOT_FOREIGN", ""),
		restore.ErrIncompatible: api.NewError(api.ErrIncompatible, "SNAPSHOT_INCOMPATIBLE", ""),
	} {
		if errors.Is(err, cause) {
			mark.Errors = []string{err.Error()}
			return mark
		}
	}
	return api.NewError(api.ErrInvalid, "SNAPSHOT_UNREADABLE", err.Error())
}

// checkRestore looks at the snapshot that a submission names, before the job is
// accepted: it is there, it can be read, and the program takes its state.
func (m *JobManager) checkRestore(ctx context.Context, d *Dispatcher, r api.Restore, rec *metapb.JobRecord, g *job.Graph) (warnings []string, err error) {
	if r.Path == "" {
		if r.AllowNonRestored || len(r.MapUIDs) > 0 || r.Mode != "" {
			return nil, api.NewError(api.ErrInvalid, "NO_SNAPSHOT", "a restore mode, --allowNonRestoredState and --map-uid need a snapshot to start from", "weir run -s PATH …")
		}
		return nil, nil
	}
	mode, known := restoreModes[r.Mode]
	if !known {
		return nil, api.NewError(api.ErrInvalid, "BAD_RESTORE_MODE", fmt.Sprintf("restore mode %q is not known; there are NO_CLAIM, CLAIM and LEGACY", r.Mode))
	}
	rec.RestoreMode, rec.AllowNonRestored = mode, r.AllowNonRestored
	for _, from := range slices.Sorted(maps.Keys(r.MapUIDs)) {
		rec.UidMap = append(rec.UidMap, &metapb.UIDMapping{From: from, To: r.MapUIDs[from]})
	}
	src, err := readSource(ctx, r.Path, rec.UidMap)
	if err != nil {
		return nil, sourceError(err)
	}
	rec.RestoreFrom = src.path
	report := compat.Check(src.meta, g.Plan, compat.Options{AllowNonRestored: r.AllowNonRestored})
	if err := report.Err(); err != nil {
		return nil, api.NewError(api.ErrIncompatible, "SNAPSHOT_INCOMPATIBLE", err.Error(), report.Hints()...)
	}
	warnings = report.Lost()
	if _, err := restore.Plan(src.meta, g, src.options(rec)); err != nil {
		return nil, sourceError(err)
	}
	switch owner := d.owner(src.path); {
	case owner != "" && mode == metapb.RestoreMode_RESTORE_MODE_CLAIM:
		return nil, api.NewError(api.ErrConflict, "SNAPSHOT_IN_USE", fmt.Sprintf("%s is a checkpoint of job %s, which has not ended: it can't be claimed", src.path, owner),
			"take a savepoint: weir savepoint "+string(owner)+" DIR")
	case mode == metapb.RestoreMode_RESTORE_MODE_CLAIM:
		warnings = append(warnings, fmt.Sprintf("%s belongs to job %s from now on, which deletes it when it needs it no more", src.path, rec.JobId))
	case mode == metapb.RestoreMode_RESTORE_MODE_LEGACY:
		warnings = append(warnings, fmt.Sprintf("%s stays yours (restore mode LEGACY): keep it as long as job %s lives, its checkpoints refer to it and Weir does not delete it", src.path, rec.JobId))
	}
	return warnings, nil
}

func (s *source) options(rec *metapb.JobRecord) restore.Options {
	return restore.Options{AllowNonRestored: rec.AllowNonRestored, Folder: s.folder, Foreign: true}
}

// pointer stands for the source where a checkpoint of the job's own would stand.
func (s *source) pointer() *metapb.CheckpointPointer {
	return &metapb.CheckpointPointer{CheckpointId: s.meta.CheckpointId, Path: s.path, Kind: s.meta.Kind, CompletedAtMs: s.meta.TriggeredAtMs + s.meta.DurationMs, DurationMs: s.meta.DurationMs}
}

// sourceState is what the coordinator is told of the source.
func sourceState(rec *metapb.JobRecord) coordinator.SourceState {
	switch {
	case rec.RestoreFrom == "" || rec.SourceReleased:
		return coordinator.SourceNone
	case rec.RestoreMode == metapb.RestoreMode_RESTORE_MODE_CLAIM, rec.RestoreMode == metapb.RestoreMode_RESTORE_MODE_LEGACY:
		return coordinator.SourceShared
	}
	return coordinator.SourceNoClaim
}

// releaseSource: nothing refers to the source any more. What the job owns of it is
// deleted, before that is put on record: a next leader deletes it again.
func (m *JobMaster) releaseSource() {
	m.log.Info("the snapshot that the job was started from is not needed any more", "path", m.record.RestoreFrom, "mode", m.record.RestoreMode.String())
	claimed := m.record
	rec := proto.CloneOf(m.record)
	rec.SourceReleased = true
	m.record = rec // what is written next builds on it
	m.write(0, func(ctx context.Context) masterEvent {
		err := deleteClaimed(ctx, claimed)
		if err == nil {
			err = certain(ctx, func() error { return m.d.jobs.PutRecord(ctx, m.id, rec) })
		}
		return &sourceReleased{rec, err}
	})
}

type sourceReleased struct {
	rec *metapb.JobRecord
	err error
}

func (e *sourceReleased) apply(m *JobMaster) {
	if e.err != nil { // the next leader tries again
		m.log.Warn("the release of the snapshot that the job was started from is not on record", "cause", e.err)
		m.fenced(e.err)
		return
	}
	m.d.use(m.id, m.settings.CheckpointFolder(m.id), "")
	m.state.Record = e.rec
}

// deleteClaimed deletes the source if the job owns it.
func deleteClaimed(ctx context.Context, r *metapb.JobRecord) error {
	if r.RestoreFrom == "" || r.SourceReleased || r.RestoreMode != metapb.RestoreMode_RESTORE_MODE_CLAIM {
		return nil
	}
	_, err := savepoint.Delete(ctx, r.RestoreFrom)
	if errors.Is(err, savepoint.ErrNotFound) {
		return nil // deleted before
	}
	return err
}
