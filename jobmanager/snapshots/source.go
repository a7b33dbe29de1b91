package snapshots

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
)

// Source is the snapshot of somebody else that a job was started from. It is the
// user's or the job's, as the restore mode says, and is needed until the coordinator
// releases it.
type Source struct {
	Path     string // folder of its _metadata, absolute
	Metadata *metapb.CheckpointMetadata
	// Problem is what a subtask found wrong with it; "" = nothing. There is nothing to fall
	// back to.
	Problem string

	folder string // that the names of its runs are relative to
}

// Read opens the snapshot at path, with its operators under the uids that the job has for
// them.
func Read(ctx context.Context, path string, uids []*metapb.UIDMapping) (*Source, error) {
	s, err := savepoint.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	src := &Source{Path: s.Folder(), folder: s.Base(), Metadata: proto.CloneOf(s.Metadata())}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if err := restore.MapUIDs(src.Metadata, uids); err != nil {
		return nil, err
	}
	return src, nil
}

// Options of the restore of a job that was started from s.
func (s *Source) Options(rec *metapb.JobRecord) restore.Options {
	return restore.Options{AllowNonRestored: rec.AllowNonRestored, Folder: s.folder, Foreign: true}
}

// Pointer stands for the source where a checkpoint of the job's own would stand.
func (s *Source) Pointer() *metapb.CheckpointPointer {
	m := s.Metadata
	return &metapb.CheckpointPointer{CheckpointId: m.CheckpointId, Path: s.Path, Kind: m.Kind, CompletedAtMs: m.TriggeredAtMs + m.DurationMs, DurationMs: m.DurationMs}
}

// restoreModes by their names in the API.
var restoreModes = map[string]metapb.RestoreMode{
	"": metapb.RestoreMode_RESTORE_MODE_NO_CLAIM, api.RestoreNoClaim: metapb.RestoreMode_RESTORE_MODE_NO_CLAIM,
	api.RestoreClaim: metapb.RestoreMode_RESTORE_MODE_CLAIM, api.RestoreLegacy: metapb.RestoreMode_RESTORE_MODE_LEGACY,
}

// Mode is the restore mode of that name.
func Mode(name string) (metapb.RestoreMode, error) {
	mode, known := restoreModes[name]
	if !known {
		return 0, api.NewError(api.ErrInvalid, "BAD_RESTORE_MODE", fmt.Sprintf("restore mode %q is not known; there are NO_CLAIM, CLAIM and LEGACY", name))
	}
	return mode, nil
}

// Error puts the mark on err that the REST API and the command line act on.
func Error(err error) *api.Error {
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

// Claim is who a snapshot belongs to once a job is started from it.
type Claim struct {
	Warnings []string // for the user
	// Owner is the job, not ended, whose checkpoint it is and stays: it is to be pinned
	// there. "" = it is no job's.
	Owner job.ID
}

// Claim says whether the job of rec may be started from s.
func (u *Users) Claim(s *Source, rec *metapb.JobRecord) (c Claim, err error) {
	id, mode := job.ID(rec.JobId), rec.RestoreMode
	if owner := u.Owner(s.Path); owner != id && !s.Metadata.SelfContained { // a savepoint is nobody's
		c.Owner = owner
	}
	switch other := u.StartedFrom(s.Path, id); {
	case c.Owner != "" && mode != metapb.RestoreMode_RESTORE_MODE_NO_CLAIM:
		return c, inUse(fmt.Sprintf("%s is a checkpoint of job %s, which has not ended and will delete it: start from it with restore mode no_claim", s.Path, c.Owner),
			"take a savepoint: weir savepoint "+string(c.Owner)+" DIR")
	case mode == metapb.RestoreMode_RESTORE_MODE_CLAIM && other != "":
		return c, inUse(fmt.Sprintf("job %s was started from %s and still needs it: it can't be claimed", other, s.Path),
			"wait for its first checkpoints: weir describe "+string(other))
	case mode == metapb.RestoreMode_RESTORE_MODE_CLAIM:
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s belongs to job %s from now on, which deletes it when it needs it no more", s.Path, id))
	case mode == metapb.RestoreMode_RESTORE_MODE_LEGACY:
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s stays yours (restore mode LEGACY): keep it as long as job %s lives, its checkpoints refer to it and Weir does not delete it", s.Path, id))
	}
	return c, nil
}

// NotKept is the refusal of a checkpoint that its job does not keep.
func NotKept(s *Source, owner job.ID, why error) error {
	return inUse(fmt.Sprintf("%s can't be started from, job %s goes on and deletes its checkpoints: %v", s.Path, owner, why),
		"start from its newest one: weir describe "+string(owner))
}

// DeleteClaimed deletes the source of a job if the job owns it.
func DeleteClaimed(ctx context.Context, r *metapb.JobRecord) error {
	if r.RestoreFrom == "" || r.SourceReleased || r.RestoreMode != metapb.RestoreMode_RESTORE_MODE_CLAIM {
		return nil
	}
	_, err := savepoint.Delete(ctx, r.RestoreFrom)
	if errors.Is(err, savepoint.ErrNotFound) {
		return nil // deleted before
	}
	return err
}
