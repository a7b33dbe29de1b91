package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/history"
	"github.com/weirstream/weir/proto/metapb"
)

// API is the JobManager as the REST API knows it (rest.Cluster).
type API struct{ m *JobManager }

// API returns the JobManager's face to the REST API.
func (m *JobManager) API() API { return API{m} }

// apiError puts the mark that the REST API and the command line act on on err.
func apiError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotLeader), errors.Is(err, ha.ErrFenced):
		return api.NewError(api.ErrUnavailable, "NO_LEADER", "this JobManager has stopped leading", "try again in a moment")
	case errors.Is(err, ErrNoJob):
		return api.NewError(api.ErrNotFound, "JOB_NOT_FOUND", err.Error(), "weir list -a")
	case errors.Is(err, ErrUnreadable):
		return api.NewError(api.ErrConflict, "JOB_UNREADABLE", err.Error(), "run the version of weir that recorded the job")
	case errors.Is(err, ErrRunning):
		return api.NewError(api.ErrConflict, "OPERATION_RUNNING", err.Error(), "weir list shows the job's state; wait for the operation to end")
	case errors.Is(err, ErrEnded):
		return api.NewError(api.ErrConflict, "JOB_ENDED", err.Error())
	case errors.Is(err, ha.ErrConflict):
		return api.NewError(api.ErrConflict, "JOB_ID_USED", "a job of this id was accepted before and is no longer on record; submit it under a new id")
	case errors.Is(err, ErrRefused):
		return api.NewError(api.ErrInvalid, "JOB_REFUSED", err.Error())
	}
	return err
}

// storeAnswers is how long a request waits to be told who leads: a probe of /readyz
// gives up soon after.
const storeAnswers = 2 * time.Second

// Leader implements rest.Cluster.
func (a API) Leader(ctx context.Context) (api.Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, storeAnswers)
	defer cancel()
	r, epoch, err := a.m.Leader(ctx)
	switch {
	case errors.Is(err, ha.ErrNotFound):
		return api.Leader{}, api.NewError(api.ErrUnavailable, "NO_LEADER", "no JobManager leads at the moment", "try again in a moment")
	case err != nil:
		return api.Leader{}, api.NewError(api.ErrUnavailable, "NO_STORE", "who leads is not known: "+err.Error(),
			fmt.Sprintf("start etcd again; what is missing:  curl -s '%s/readyz?verbose'", a.m.cfg.Self.RestAddress))
	}
	l := api.Leader{RESTAddress: r.RestAddress, RPCAddress: r.RpcAddress, Epoch: uint64(epoch)}
	if d := a.m.leader(); d != nil && r.Process == a.m.cfg.Self.Process {
		l.Self, l.Takeover = true, d.receipt.view()
	}
	return l, nil
}

// Ready implements rest.Cluster.
func (a API) Ready(ctx context.Context) []api.Check {
	ctx, cancel := context.WithTimeout(ctx, storeAnswers)
	defer cancel()
	r, _, err := a.m.Leader(ctx)
	store := api.Check{Name: "high-availability store", OK: err == nil || errors.Is(err, ha.ErrNotFound)}
	leader := api.Check{Name: "leader", OK: err == nil}
	switch {
	case !store.OK:
		store.Detail, leader.Detail = err.Error(), "not known"
	case err != nil:
		leader.Detail = "nobody leads"
	case !a.m.Leads():
		leader.Detail = "standing by for " + r.RestAddress
	}
	folder := api.Check{Name: "high-availability.storageDir", OK: true}
	probe := filepath.Join(a.m.cfg.Storage, ".ready-"+randomHex(4))
	if err = os.WriteFile(probe, nil, 0o600); err == nil {
		err = os.Remove(probe)
	}
	if err != nil {
		folder.OK, folder.Detail = false, err.Error()
	}
	return []api.Check{store, folder, leader}
}

// snapshot of the cluster, asked of the dispatcher.
type clusterView struct {
	masters []*JobMaster
	ended   []*api.Job
	total   int
	free    int
	freeOn  map[string]int
	err     error
}

type clusterWanted struct{ reply chan<- clusterView }

func (e *clusterWanted) handle(d *Dispatcher) {
	v := clusterView{total: d.pool.Total(), free: d.pool.Free(), freeOn: map[string]int{}}
	for _, id := range slices.Sorted(maps.Keys(d.masters)) {
		v.masters = append(v.masters, d.masters[id])
	}
	for id, s := range d.ended {
		v.ended = append(v.ended, d.endedView(id, s))
	}
	for _, tm := range d.taskManagers() {
		v.freeOn[tm.ID()] = d.pool.FreeOn(tm.ID())
	}
	e.reply <- v
}

func (e *clusterWanted) abandon() { e.reply <- clusterView{err: ErrNotLeader} }

// endedView is the last view of a job that ended under this leader, or what its
// records say.
func (d *Dispatcher) endedView(id job.ID, s *ha.JobState) *api.Job {
	if v := d.views[id]; v != nil {
		return v
	}
	return history.Ended(s, time.Now())
}

func (a API) cluster(ctx context.Context) (*Dispatcher, clusterView, error) {
	d := a.m.leader()
	if d == nil {
		return nil, clusterView{}, ErrNotLeader
	}
	reply := make(chan clusterView, 1)
	if d.loop.Post(&clusterWanted{reply}) != nil {
		return nil, clusterView{}, ErrNotLeader
	}
	select {
	case v := <-reply:
		return d, v, v.err
	case <-ctx.Done():
		return nil, clusterView{}, context.Cause(ctx)
	}
}

// Overview implements rest.Cluster.
func (a API) Overview(ctx context.Context) (api.Overview, error) {
	d, v, err := a.cluster(ctx)
	if err != nil {
		return api.Overview{}, apiError(err)
	}
	o := api.Overview{
		TaskManagers: len(d.taskManagers()), SlotsTotal: v.total, SlotsAvailable: v.free, JobsRunning: len(v.masters),
		FlinkVersion: a.m.cfg.Version, WeirVersion: a.m.cfg.Version, ClusterID: a.m.cfg.ClusterID, GOARCH: runtime.GOARCH,
	}
	for _, j := range v.ended {
		switch j.State {
		case api.StateFinished:
			o.JobsFinished++
		case api.StateCanceled:
			o.JobsCancelled++
		case api.StateFailed:
			o.JobsFailed++
		}
	}
	return o, nil
}

// Jobs implements rest.Cluster.
func (a API) Jobs(ctx context.Context) ([]*api.Job, error) {
	_, v, err := a.cluster(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	all := v.ended
	for _, m := range v.masters {
		j, err := m.ask(ctx)
		if err != nil {
			return nil, apiError(err)
		}
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *api.Job) int { return b.SubmittedAt.Compare(a.SubmittedAt) })
	return all, nil
}

// ask returns the job's view.
func (m *JobMaster) ask(ctx context.Context) (*api.Job, error) {
	reply := make(chan *api.Job, 1)
	m.post(&viewWanted{reply})
	select {
	case j := <-reply:
		if j != nil {
			return j, nil
		}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select { // it has just ended, or the leadership has; its state is ours once its loop is over
	case <-m.loop.Done():
		return history.Ended(m.state, time.Now()), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Job implements rest.Cluster.
func (a API) Job(ctx context.Context, id job.ID) (*api.Job, error) {
	for {
		f, err := a.m.find(ctx, id)
		if err != nil {
			return nil, apiError(err)
		}
		if f.view != nil {
			return f.view, nil
		}
		reply := make(chan *api.Job, 1)
		f.master.post(&viewWanted{reply})
		select {
		case j := <-reply:
			if j != nil {
				return j, nil
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		select { // its loop ends; then the dispatcher knows, or it ends too
		case <-f.master.loop.Done():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// TaskManagers implements rest.Cluster.
func (a API) TaskManagers(ctx context.Context) ([]api.TaskManager, error) {
	d, v, err := a.cluster(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	jobs, err := a.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	all := []api.TaskManager{}
	for _, tm := range d.taskManagers() {
		h := tm.Hello
		t := api.TaskManager{
			ID: h.TaskmanagerId, Host: h.Host, PID: int(h.Pid), Version: h.Version, SlotsTotal: int(h.Slots),
			SlotsFree: v.freeOn[h.TaskmanagerId], MemoryBytes: int64(h.MemoryBytes), RegisteredAt: tm.Since.UTC(),
			LastHeartbeat: tm.LastHeard().UTC(), RefusedCommands: tm.Refused(), Workers: []api.Worker{},
		}
		for _, j := range jobs {
			if pid := workerPID(j, t.ID); pid != 0 && !api.Terminal(j.State) {
				t.Workers = append(t.Workers, api.Worker{JobID: j.ID, PID: pid})
			}
		}
		all = append(all, t)
	}
	return all, nil
}

func workerPID(j *api.Job, taskManager string) int {
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			if s.TaskManagerID == taskManager && s.WorkerPID != 0 {
				return s.WorkerPID
			}
		}
	}
	return 0
}

// Submit implements rest.Cluster.
func (a API) Submit(ctx context.Context, s *api.Submission) (api.Submitted, error) {
	if !a.m.Leads() {
		return api.Submitted{}, apiError(ErrNotLeader)
	}
	if s.GOARCH != "" && s.GOARCH != runtime.GOARCH {
		return api.Submitted{}, api.NewError(api.ErrInvalid, "WRONG_ARCHITECTURE",
			fmt.Sprintf("the job binary is built for %s, this cluster runs on %s", s.GOARCH, runtime.GOARCH),
			"GOARCH="+runtime.GOARCH+" go build, or let `weir run PKG` build it")
	}
	plan := new(metapb.Plan)
	if err := proto.Unmarshal(s.Plan, plan); err != nil {
		return api.Submitted{}, api.NewError(api.ErrInvalid, "BAD_PLAN", fmt.Sprintf("decode plan of %d bytes: %v", len(s.Plan), err))
	}
	defer a.m.objects.Hold(s.BinarySHA256[:])()
	sum, err := a.m.PutBinary(s.Binary)
	if err != nil {
		return api.Submitted{}, err
	}
	id, warnings, err := a.m.Submit(ctx, Submission{ID: job.ID(s.ID), Plan: plan, BinarySHA256: sum, Settings: s.Settings, Restore: s.Restore})
	return api.Submitted{JobID: string(id), Warnings: warnings}, apiError(err)
}

// Cancel implements rest.Cluster.
func (a API) Cancel(ctx context.Context, id job.ID) error { return apiError(a.m.Cancel(ctx, id)) }
