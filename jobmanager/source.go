package jobmanager

import (
	"context"
	"errors"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/compat"
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
)

// checkRestore looks at the snapshot that a submission names, before the job is
// accepted: it is there, it can be read, and the program takes its state.
func (m *JobManager) checkRestore(ctx context.Context, d *Dispatcher, r api.Restore, rec *metapb.JobRecord, g *job.Graph) (warnings []string, _ error) {
	if r.Path == "" {
		if r.AllowNonRestored || len(r.MapUIDs) > 0 || r.Mode != "" {
			return nil, api.NewError(api.ErrInvalid, "NO_SNAPSHOT", "a restore mode, --allowNonRestoredState and --map-uid need a snapshot to start from", "weir run -s PATH …")
		}
		return nil, nil
	}
	var err error
	if rec.RestoreMode, err = snapshots.Mode(r.Mode); err != nil {
		return nil, err
	}
	rec.AllowNonRestored = r.AllowNonRestored
	for _, from := range slices.Sorted(maps.Keys(r.MapUIDs)) {
		rec.UidMap = append(rec.UidMap, &metapb.UIDMapping{From: from, To: r.MapUIDs[from]})
	}
	src, err := snapshots.Read(ctx, r.Path, rec.UidMap)
	if err != nil {
		return nil, snapshots.Error(err)
	}
	rec.RestoreFrom = src.Path
	report := compat.Check(src.Metadata, g.Plan, compat.Options{AllowNonRestored: r.AllowNonRestored, Graph: g})
	if err := report.Err(); err != nil {
		return nil, api.NewError(api.ErrIncompatible, "SNAPSHOT_INCOMPATIBLE", err.Error(), report.Hints()...)
	}
	claim, err := d.users.Claim(src, rec)
	if err == nil && claim.Owner != "" {
		if err = d.pin(ctx, claim.Owner, src.Path, job.ID(rec.JobId)); errors.Is(err, errNoCheckpoint) {
			err = snapshots.NotKept(src, claim.Owner, err)
		}
	}
	return append(report.Lost(), claim.Warnings...), err
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
		err := snapshots.DeleteClaimed(ctx, claimed)
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
	m.d.users.Put(m.id, m.settings.CheckpointFolder(m.id), "")
	_ = m.d.loop.Post(&sourceFreed{m.id, e.rec.RestoreFrom}) // closed: the next leader does it
	m.state.Record = e.rec
}
