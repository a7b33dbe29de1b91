package snapshots

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/statebackend/objstore"
)

// Users are the jobs that have not ended, with what they need of the file system.
type Users struct {
	mu struct {
		sync.Mutex
		byID map[job.ID]usage
	}
}

// usage is what one job needs: nobody may delete it.
type usage struct {
	folder string // of its checkpoints; "" = not known
	source string // snapshot that it was started from; "" = none, or not needed any more
}

// Put notes what a job needs: the folder of its checkpoints ("" = not known) and the
// snapshot that it was started from ("" = none, or not needed any more).
func (u *Users) Put(id job.ID, folder, source string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.byID == nil {
		u.mu.byID = map[job.ID]usage{}
	}
	if folder != "" {
		folder = LocalPath(folder)
	}
	u.mu.byID[id] = usage{folder, source}
}

// Remove forgets a job that has ended.
func (u *Users) Remove(id job.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.mu.byID, id)
}

// Owner is the job in whose checkpoint folder path lies; "" if it is no job's.
func (u *Users) Owner(path string) job.ID {
	return u.find(func(_ job.ID, n usage) bool { return n.folder != "" && strings.HasPrefix(path+"/", n.folder+"/") })
}

// StartedFrom is a job other than but that still needs the snapshot at path; "" if none
// does.
func (u *Users) StartedFrom(path string, but job.ID) job.ID {
	return u.find(func(id job.ID, n usage) bool { return n.source == path && id != but })
}

// Needs reports whether a job still needs the snapshot at path that it was started from.
func (u *Users) Needs(id job.ID, path string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return path != "" && u.mu.byID[id].source == path
}

func (u *Users) find(is func(job.ID, usage) bool) job.ID {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, n := range u.mu.byID {
		if is(id, n) {
			return id
		}
	}
	return ""
}

// LocalPath is the path of a folder that may be named by a URI.
func LocalPath(folder string) string {
	local, err := objstore.LocalPath(folder)
	if err != nil {
		return folder // no snapshot can be opened there
	}
	return local
}

// Dispose deletes the savepoint at path, unless some job needs it. Again: that it is gone,
// or half gone, is the work of an earlier leader.
func (u *Users) Dispose(ctx context.Context, path string, again bool) *api.Error {
	s, err := savepoint.Open(ctx, path)
	if errors.Is(err, savepoint.ErrNotFound) { // or half gone
		if _, err = savepoint.Delete(ctx, path); err == nil || again && errors.Is(err, savepoint.ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return Error(err)
	}
	folder := s.Folder()
	if err := s.Close(); err != nil {
		return Error(err)
	}
	if id := u.StartedFrom(folder, ""); id != "" {
		return inUse(fmt.Sprintf("job %s was started from %s and still needs it", id, folder), "wait for its first checkpoints: weir describe "+string(id))
	}
	if id := u.Owner(folder); id != "" {
		return inUse(fmt.Sprintf("%s is a checkpoint of job %s, which has not ended", folder, id))
	}
	if _, err := savepoint.Delete(ctx, folder); err != nil {
		return Error(err)
	}
	return nil
}

func inUse(why string, hints ...string) *api.Error {
	return api.NewError(api.ErrConflict, "SNAPSHOT_IN_USE", why, hints...)
}

// Copy writes a savepoint out of a completed checkpoint, and returns its size; see is told
// how much of it is copied.
func Copy(ctx context.Context, from, to string, t metapb.SnapshotType, see func(done, all uint64)) (uint64, error) {
	d, err := savepoint.Copy(ctx, from, to, t, savepoint.Progress(see))
	return uint64(d.Bytes), err
}
