package jobmanager

import (
	"context"
	"fmt"
	"strings"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/statebackend/objstore"
)

// usage is what a job that has not ended needs of the file system: nobody may delete it.
type usage struct {
	folder string // of its checkpoints
	source string // snapshot that it was started from; "" = none, or not needed any more
}

// use notes what a job needs. Any goroutine may call it.
func (d *Dispatcher) use(id job.ID, folder, source string) {
	d.usages.Lock()
	defer d.usages.Unlock()
	d.usages.byID[id] = usage{folder, source}
}

func (d *Dispatcher) useNothing(id job.ID) {
	d.usages.Lock()
	defer d.usages.Unlock()
	delete(d.usages.byID, id)
}

// owner is the job, not ended, in whose checkpoint folder path lies; "" if it is no
// job's. Any goroutine may call it.
func (d *Dispatcher) owner(path string) job.ID {
	return d.user(func(u usage) bool {
		local, err := objstore.LocalPath(u.folder)
		return err == nil && strings.HasPrefix(path+"/", local+"/")
	})
}

// startedFrom is the job, not ended, that still needs the snapshot at path; "" if none
// does.
func (d *Dispatcher) startedFrom(path string) job.ID {
	return d.user(func(u usage) bool { return u.source == path })
}

func (d *Dispatcher) user(is func(usage) bool) job.ID {
	d.usages.Lock()
	defer d.usages.Unlock()
	for id, u := range d.usages.byID {
		if is(u) {
			return id
		}
	}
	return ""
}

// disposal is a savepoint that is being deleted. It lives in memory only: deleting
// again does no harm.
type disposal struct {
	trigger string
	now     *api.Operation
}

// mostDisposals bounds how many are remembered.
const mostDisposals = 100

// disposeWanted: a client wants a savepoint deleted.
type disposeWanted struct {
	trigger, path string
	reply         chan<- error
}

func (e *disposeWanted) abandon() { e.reply <- ErrNotLeader }

func (e *disposeWanted) handle(d *Dispatcher) {
	if d.disposal(e.trigger) != nil {
		e.reply <- nil // the same request again
		return
	}
	p := &disposal{e.trigger, api.InProgress(api.OperationProgress{})}
	if d.disposals = append(d.disposals, p); len(d.disposals) > mostDisposals {
		d.disposals = d.disposals[1:]
	}
	e.reply <- nil
	d.loop.Go("delete savepoint", func(ctx context.Context) event { return &disposed{p, d.dispose(ctx, e.path)} })
}

func (d *Dispatcher) disposal(trigger string) *disposal {
	for _, p := range d.disposals {
		if p.trigger == trigger {
			return p
		}
	}
	return nil
}

// dispose deletes the savepoint at path, unless some job needs it.
func (d *Dispatcher) dispose(ctx context.Context, path string) *api.Operation {
	fail := func(e *api.Error) *api.Operation { return api.FailedOperation(e) }
	s, err := savepoint.Open(ctx, path)
	if err != nil {
		return fail(sourceError(err))
	}
	folder := s.Folder()
	if err := s.Close(); err != nil {
		return fail(sourceError(err))
	}
	if id := d.startedFrom(folder); id != "" {
		return fail(api.NewError(api.ErrConflict, "SNAPSHOT_IN_USE", fmt.Sprintf("job %s was started from %s and still needs it", id, folder),
			"wait for its first checkpoints: weir describe "+string(id)))
	}
	if id := d.owner(folder); id != "" {
		return fail(api.NewError(api.ErrConflict, "SNAPSHOT_IN_USE", fmt.Sprintf("%s is a checkpoint of job %s, which has not ended", folder, id)))
	}
	if _, err := savepoint.Delete(ctx, folder); err != nil {
		return fail(sourceError(err))
	}
	return api.Completed(api.OperationResult{})
}

type disposed struct {
	p   *disposal
	now *api.Operation
}

func (e *disposed) handle(*Dispatcher) { e.p.now = e.now }

// Dispose implements rest.Cluster.
func (a API) Dispose(ctx context.Context, r api.DisposalRequest) (string, error) {
	if r.TriggerID == "" {
		r.TriggerID = randomHex(16)
	}
	if r.Path == "" {
		return "", api.NewError(api.ErrInvalid, "NO_SNAPSHOT", "the request names no savepoint")
	}
	d := a.m.leader()
	reply := make(chan error, 1)
	if d == nil || d.loop.Post(&disposeWanted{r.TriggerID, r.Path, reply}) != nil {
		return "", apiError(ErrNotLeader)
	}
	select {
	case err := <-reply:
		return r.TriggerID, apiError(err)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// disposalLook asks how a disposal goes.
type disposalLook struct {
	trigger string
	reply   chan<- *api.Operation
}

func (e *disposalLook) abandon() { e.reply <- nil }

func (e *disposalLook) handle(d *Dispatcher) {
	if p := d.disposal(e.trigger); p != nil {
		e.reply <- p.now
		return
	}
	e.reply <- nil
}

// Disposal implements rest.Cluster.
func (a API) Disposal(ctx context.Context, trigger string) (*api.Operation, error) {
	d := a.m.leader()
	reply := make(chan *api.Operation, 1)
	if d == nil || d.loop.Post(&disposalLook{trigger, reply}) != nil {
		return nil, apiError(ErrNotLeader)
	}
	select {
	case o := <-reply:
		if o == nil {
			return nil, api.NewError(api.ErrNotFound, "OPERATION_NOT_FOUND", fmt.Sprintf("no savepoint is being deleted under %.80q, or that ended long ago", trigger))
		}
		return o, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// copySavepoint writes a savepoint out of a completed checkpoint, and returns its size.
func copySavepoint(ctx context.Context, from, to string, t metapb.SnapshotType) (uint64, error) {
	d, err := savepoint.Copy(ctx, from, to, t)
	return uint64(d.Bytes), err
}
