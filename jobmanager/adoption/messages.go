package adoption

import (
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
)

// RecordOf is what an earlier leader has left of the deployments of a job whose regions
// have these subtasks.
func RecordOf(regions [][]job.SubtaskID, inc *metapb.Incarnation) Record {
	r := Record{TaskManagers: inc.Taskmanagers}
	for i, subtasks := range regions {
		region := Region{Subtasks: subtasks}
		if i < len(inc.Regions) {
			d := inc.Regions[i]
			region.Incarnation, region.Attempt = job.Incarnation(d.Number), job.Attempt{Epoch: d.LeaderEpoch, N: d.Attempt}
		}
		r.Regions = append(r.Regions, region)
	}
	return r
}

// RegisteredOf is what a registration says of a job.
func RegisteredOf(id job.ID, hello *weirpb.RegisterTaskManager) Registered {
	r := Registered{TaskManager: hello.TaskmanagerId}
	for _, x := range hello.Exited {
		if x.JobId == string(id) {
			r.Exited = append(r.Exited, exitedOf(x))
		}
	}
	for _, w := range hello.Workers {
		if w.JobId == string(id) && (r.Worker == nil || w.WorkerId > r.Worker.ID) { // one is being stopped
			r.Worker = workerOf(hello, w)
		}
	}
	return r
}

func exitedOf(x *weirpb.WorkerExited) Exited {
	return Exited{Worker: x.WorkerId, Reason: x.Reason, UserError: x.UserError}
}

func workerOf(hello *weirpb.RegisterTaskManager, w *weirpb.RunningWorker) *Worker {
	worker := &Worker{ID: w.WorkerId, Ready: w.Ready, Graph: execgraph.Worker{
		TaskManager: hello.TaskmanagerId, ID: w.WorkerId, Ready: true, Data: w.DataAddress, Unix: w.UnixAddress,
		Host: hello.Host, Machine: hello.Machine, PID: w.Pid, HostPID: hello.Pid,
	}}
	incarnations := map[job.SubtaskID]job.Incarnation{}
	for _, s := range w.Subtasks {
		sub := subtaskOf(s)
		worker.Subtasks = append(worker.Subtasks, sub)
		incarnations[sub.ID] = sub.Incarnation
	}
	for _, e := range w.Ended {
		worker.Facts = append(worker.Facts, ended(e, incarnations[idOf(e.Subtask)]))
	}
	for _, c := range w.Committed {
		worker.Facts = append(worker.Facts, committed(c, incarnations[idOf(c.Subtask)]))
	}
	return worker
}

// EventOf is what a TaskManager says of the job after it has registered; nil if it is of no
// concern here.
func EventOf(taskManager string, m *weirpb.FromTaskManager) Event {
	if x := m.GetWorkerExited(); x != nil {
		return WorkerExited{taskManager, exitedOf(x)}
	}
	inc := job.Incarnation(m.GetFromSubtasks().GetIncarnation())
	switch e := m.GetFromSubtasks().GetEvent().(type) {
	case *weirpb.FromSubtasks_Status:
		return Said{taskManager, subtaskOf(e.Status)}
	case *weirpb.FromSubtasks_SourceEnded:
		return Told{ended(e.SourceEnded, inc)}
	case *weirpb.FromSubtasks_Committed:
		return Told{committed(e.Committed, inc)}
	}
	return nil
}

func idOf(s *weirpb.SubtaskRef) job.SubtaskID {
	return job.SubtaskID{Vertex: job.VertexID(s.GetVertex()), Index: int(s.GetSubtask())}
}

func attemptOf(a *weirpb.Attempt) job.Attempt { return job.Attempt{Epoch: a.GetEpoch(), N: a.GetN()} }

func ended(e *weirpb.SourceEnded, inc job.Incarnation) coordinator.Event {
	return coordinator.SourceEnded{Execution: coordinator.Execution{Subtask: idOf(e.Subtask), Attempt: attemptOf(e.Attempt), Incarnation: inc}}
}

func committed(c *weirpb.Committed, inc job.Incarnation) coordinator.Event {
	x := coordinator.Execution{Subtask: idOf(c.Subtask), Attempt: attemptOf(c.Attempt), Incarnation: inc}
	return coordinator.Committed{ID: stream.CheckpointID(c.CheckpointId), Execution: x}
}

var wireStates = map[weirpb.SubtaskStatus_State]State{
	weirpb.SubtaskStatus_STATE_RUNNING:  Running,
	weirpb.SubtaskStatus_STATE_FINISHED: Finished,
	weirpb.SubtaskStatus_STATE_CANCELED: Canceled,
	weirpb.SubtaskStatus_STATE_FAILED:   Failed,
}

func subtaskOf(s *weirpb.SubtaskStatus) Subtask {
	return Subtask{
		ID: idOf(s.Subtask), Attempt: attemptOf(s.Attempt), Incarnation: job.Incarnation(s.Incarnation), State: wireStates[s.State],
		Failure: s.Failure, Detail: s.FailureDetail, UID: s.FailedUid, Fatal: s.Fatal,
	}
}

var graphStates = [states]execgraph.ExecutionState{
	Starting: execgraph.Deploying,
	Running:  execgraph.TaskRunning,
	Finished: execgraph.TaskFinished,
	Canceled: execgraph.TaskCanceled,
	Failed:   execgraph.TaskFailed,
}

// Graph is what the execution graph begins with.
func (e Settled) Graph(now time.Time) execgraph.Adopt {
	a := execgraph.Adopt{Slots: e.Slots, Workers: e.Workers}
	for _, v := range e.Regions {
		a.Regions = append(a.Regions, v.graph(now))
	}
	return a
}

func (v Verdict) graph(now time.Time) execgraph.Found {
	r := execgraph.Found{Running: v.Adopt, Fatal: v.Fatal, Reason: v.Reason}
	for _, f := range v.Found {
		r.Executions = append(r.Executions, execgraph.Execution{
			Subtask: f.Subtask.ID, State: graphStates[f.Subtask.State], Attempt: f.Subtask.Attempt, Incarnation: f.Subtask.Incarnation,
			TaskManager: f.Worker.TaskManager, Worker: f.Worker.ID, Host: f.Worker.Host, PID: f.Worker.PID, HostPID: f.Worker.HostPID,
		})
	}
	if v.Failure {
		f := execgraph.Failure{Time: now, Cause: v.Reason, UID: v.Blame.UID, Detail: v.Blame.Detail}
		if v.Blame.State == Failed {
			f.Subtask = &v.Blame.ID
		}
		r.Failure, r.Lost = &f, f.Subtask == nil
	}
	return r
}

// Count is how many attempts go on, and how many subtasks are started again.
func (c *Core) Count(e Settled) (adopted, restarted int) {
	for i, v := range e.Regions {
		if v.Adopt {
			adopted += len(c.record.Regions[i].Subtasks)
		} else {
			restarted += len(c.record.Regions[i].Subtasks)
		}
	}
	return adopted, restarted
}
