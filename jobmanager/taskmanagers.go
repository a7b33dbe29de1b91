package jobmanager

import (
	"errors"
	"maps"
	"slices"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/session"
	"github.com/weirstream/weir/proto/weirpb"
)

// leading is the Dispatcher as the streams of TaskManagers know it.
type leading struct{ d *Dispatcher }

var _ session.Leader = leading{}

// Epoch implements session.Leader.
func (l leading) Epoch() uint64 { return l.d.epoch() }

// ClusterIncarnation implements session.Leader.
func (l leading) ClusterIncarnation() string { return l.d.cluster.Incarnation }

// Registered implements session.Leader.
func (l leading) Registered(tm *session.TaskManager) bool {
	return l.d.loop.Post(&registered{tm}) == nil
}

// Said implements session.Leader.
func (l leading) Said(tm *session.TaskManager, m *weirpb.FromTaskManager) bool {
	return l.d.loop.Post(&said{tm, m}) == nil
}

// Disconnected implements session.Leader.
func (l leading) Disconnected(tm *session.TaskManager, cause error) {
	_ = l.d.loop.Post(&disconnected{tm, cause}) // a closed loop has nobody left to tell
}

// Done implements session.Leader.
func (l leading) Done() <-chan struct{} { return l.d.loop.Done() }

// taskManager returns a registered TaskManager, or nil. Any goroutine may call it.
func (d *Dispatcher) taskManager(id string) *session.TaskManager {
	d.tms.Lock()
	defer d.tms.Unlock()
	return d.tms.byID[id]
}

func (d *Dispatcher) taskManagers() []*session.TaskManager {
	d.tms.Lock()
	defer d.tms.Unlock()
	var all []*session.TaskManager
	for _, id := range slices.Sorted(maps.Keys(d.tms.byID)) {
		all = append(all, d.tms.byID[id])
	}
	return all
}

// command sends to a TaskManager under this leader's epoch; to one that is gone it
// sends nothing, its loss is being reported.
func (d *Dispatcher) command(id string, m *weirpb.ToTaskManager) {
	if tm := d.taskManager(id); tm != nil {
		m.LeaderEpoch = d.epoch()
		tm.Send(m)
	}
}

// registered: a TaskManager has connected.
type registered struct{ tm *session.TaskManager }

func (e *registered) handle(d *Dispatcher) {
	hello := e.tm.Hello
	if old := d.taskManager(hello.TaskmanagerId); old != nil {
		old.End(errors.New("it has connected anew"))
		(&disconnected{old, errors.New("it has connected anew")}).handle(d)
	}
	d.tms.Lock()
	d.tms.byID[hello.TaskmanagerId] = e.tm
	d.tms.Unlock()
	d.log.Info("TaskManager registered", "taskmanager", hello.TaskmanagerId, "host", hello.Host, "slots", hello.Slots, "workers", len(hello.Workers))
	d.pool.Add(hello.TaskmanagerId, int(hello.Slots))
	for _, w := range hello.Workers {
		// It may be adopted, by a version that can read its record if this one can't: its slots
		// are not for others.
		if id := job.ID(w.JobId); d.open[id] || d.broken[id] != nil {
			d.pool.Keep(job.ID(w.JobId), hello.TaskmanagerId, int(w.Slots))
			continue
		}
		d.command(hello.TaskmanagerId, &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_StopWorker{
			StopWorker: &weirpb.StopWorker{JobId: w.JobId, WorkerId: w.WorkerId, Reason: goesOn}}})
	}
	for _, id := range slices.Sorted(maps.Keys(d.open)) {
		d.masters[id].post(&taskManagerFound{e.tm})
	}
	d.receipt.heard(hello.LeaderlessMs, len(d.open) > 0)
	d.grant()
}

// disconnected: a TaskManager's stream has ended.
type disconnected struct {
	tm    *session.TaskManager
	cause error
}

func (e *disconnected) handle(d *Dispatcher) {
	id := e.tm.ID()
	if d.taskManager(id) != e.tm {
		return
	}
	d.tms.Lock()
	delete(d.tms.byID, id)
	d.tms.Unlock()
	d.log.Warn("TaskManager lost", "taskmanager", id, "host", e.tm.Hello.Host, "cause", e.cause)
	d.pool.Remove(id)
	for _, jid := range slices.Sorted(maps.Keys(d.masters)) {
		d.masters[jid].post(&taskManagerLost{id, e.cause.Error()})
	}
	d.grant()
}

// said: a TaskManager has sent something for a job.
type said struct {
	tm *session.TaskManager
	m  *weirpb.FromTaskManager
}

func (e *said) handle(d *Dispatcher) {
	if d.taskManager(e.tm.ID()) != e.tm {
		return
	}
	var id string
	switch m := e.m.Message.(type) {
	case *weirpb.FromTaskManager_WorkerStarted:
		id = m.WorkerStarted.JobId
	case *weirpb.FromTaskManager_WorkerExited:
		id = m.WorkerExited.JobId
	case *weirpb.FromTaskManager_FromSubtasks:
		id = m.FromSubtasks.JobId
	}
	if m := d.masters[job.ID(id)]; m != nil {
		m.post(&fromTaskManager{e.tm, e.m})
	}
}
