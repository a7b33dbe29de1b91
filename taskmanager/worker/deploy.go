package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
)

// deployment is one incarnation of subtasks in this worker.
type deployment struct {
	incarnation job.Incarnation
	fabric      *exchange.Fabric
	tasks       map[job.SubtaskID]*task.Task
	live        int           // tasks that have not returned
	over        chan struct{} // closed when all have
	shared      *shared       // what its cold tiers share
	tables      *tables       // its keyed state in memory
	keyed       int           // subtasks of all deployments that share the memory for it
}

// deployGrace is how long a deployment waits for the goroutines of an older one.
const deployGrace = 2 * time.Second

// deploy starts the subtasks of d, or has it wait until older attempts of them
// have returned (I2).
func (w *Worker) deploy(d *weirpb.Deploy) {
	if old := w.olderOf(d); old != "" {
		w.waiting = append(w.waiting, d)
		time.AfterFunc(deployGrace, func() { w.post(&waitOver{d, old}) })
		return
	}
	w.startDeployment(d)
}

// olderOf names a subtask of d whose older attempt still runs here, "" if none.
func (w *Worker) olderOf(d *weirpb.Deploy) string {
	for _, old := range w.deployments {
		if old.live == 0 || old.incarnation >= job.Incarnation(d.Incarnation) {
			continue
		}
		for _, s := range d.Subtasks {
			id := subtaskOf(s.Subtask)
			if t := old.tasks[id]; t != nil {
				select {
				case <-t.Done():
				default:
					return id.String()
				}
			}
		}
	}
	return ""
}

func subtaskOf(s *weirpb.SubtaskRef) job.SubtaskID {
	return job.SubtaskID{Vertex: job.VertexID(s.GetVertex()), Index: int(s.GetSubtask())}
}

// waitOver: a deployment has waited long enough.
type waitOver struct {
	d   *weirpb.Deploy
	old string
}

func (e *waitOver) handle(w *Worker) {
	for _, d := range w.waiting {
		if d == e.d {
			w.failure = fmt.Errorf("the old attempt of subtask %s has not returned in %v (user code does not return)", e.old, deployGrace)
		}
	}
}

// dropWaiting ends what has not begun: a deployment that is cancelled while it waits
// must not start afterwards.
func (w *Worker) dropWaiting(c *weirpb.CancelAttempts) {
	var left []*weirpb.Deploy
	for _, d := range w.waiting {
		if d.Incarnation != c.Incarnation {
			left = append(left, d)
			continue
		}
		w.report(d, weirpb.SubtaskStatus_STATE_CANCELED, "")
	}
	w.waiting = left
}

// report says the same of all subtasks of a deployment.
func (w *Worker) report(d *weirpb.Deploy, state weirpb.SubtaskStatus_State, failure string) {
	for _, s := range d.Subtasks {
		w.reporter(job.Incarnation(d.Incarnation)).Status(&weirpb.SubtaskStatus{
			Subtask: s.Subtask, Attempt: d.Attempt, Incarnation: d.Incarnation, State: state, Failure: failure,
		})
	}
}

func (w *Worker) startDeployment(d *weirpb.Deploy) {
	if w.deployments[job.Incarnation(d.Incarnation)] != nil {
		return // a repeated command
	}
	dep, err := w.newDeployment(d)
	if err != nil {
		w.report(d, weirpb.SubtaskStatus_STATE_FAILED, err.Error())
		return
	}
	w.deployments[dep.incarnation] = dep
	dep.live, dep.shared = len(dep.tasks), w.backends.take(dep.tables, dep.keyed)
	for _, t := range dep.tasks {
		go func() {
			err := t.Run(context.Background())
			w.post(&returned{dep, t, err})
		}()
	}
	go w.watch(dep)
}

func (w *Worker) newDeployment(d *weirpb.Deploy) (*deployment, error) {
	graph, err := job.NewGraphOf(w.plan, d.Parallelism)
	if err != nil {
		return nil, fmt.Errorf("deploy incarnation %d: %w", d.Incarnation, err)
	}
	store, err := w.openStore(d)
	if err != nil {
		return nil, fmt.Errorf("deploy incarnation %d: open checkpoint folder: %w", d.Incarnation, err)
	}
	dep := &deployment{incarnation: job.Incarnation(d.Incarnation), tasks: map[job.SubtaskID]*task.Task{}, over: make(chan struct{})}
	locations := map[job.SubtaskID]exchange.Location{}
	for _, l := range d.Locations {
		locations[subtaskOf(l.Subtask)] = exchange.Location{
			Worker: fmt.Sprint(l.WorkerId), Machine: l.Machine, TCP: l.DataAddress, Unix: l.UnixAddress,
		}
	}
	dep.fabric, err = w.network.NewFabric(exchange.FabricOptions{
		Incarnation: dep.incarnation, Secret: []byte(d.Secret), Graph: graph, Locations: locations, Worker: fmt.Sprint(w.o.WorkerID),
		Memory: w.memory.exchange,
	})
	if err != nil {
		return nil, fmt.Errorf("deploy: %w", err)
	}
	attempt := job.Attempt{Epoch: d.Attempt.GetEpoch(), N: d.Attempt.GetN()}
	dep.tables, dep.keyed = w.backends.newTables(), w.keyedSubtasks(graph, d)
	newBackend := w.backends.factory(store, attempt, w.o.WorkerID, dep.tables, int64(d.InlineLimit))
	for _, s := range d.Subtasks {
		t, err := w.newTask(d, s, graph, dep.fabric, attempt, newBackend, store)
		if err != nil {
			dep.fabric.Close()
			return nil, err
		}
		dep.tasks[subtaskOf(s.Subtask)] = t
	}
	return dep, nil
}

func (w *Worker) newTask(d *weirpb.Deploy, s *weirpb.SubtaskDeployment, g *job.Graph, f *exchange.Fabric, a job.Attempt,
	newBackend func(task.BackendConfig) (task.Backend, error), store objstore.Store,
) (*task.Task, error) {
	program, err := w.o.NewProgram() // anew for each attempt: nothing captured is shared or survives
	if err != nil {
		return nil, fmt.Errorf("build the program for subtask %v: %w", subtaskOf(s.Subtask), err)
	}
	return task.New(task.Options{
		Graph: g, Subtask: subtaskOf(s.Subtask), Program: program, Attempt: a, Incarnation: job.Incarnation(d.Incarnation),
		Fabric: f, NewBackend: newBackend, StateIDs: d.StateIds, Store: store, InlineLimit: int(d.InlineLimit), Mode: w.mode(), Stopped: d.Stopped,
		RestoredCheckpoint: stream.CheckpointID(d.RestoredCheckpoint), Restored: s.Operators,
		Reporter: w.reporter(job.Incarnation(d.Incarnation)), Log: w.log.With("job", d.GetClusterId()+"/"+string(w.o.JobID)),
		JobID: w.o.JobID, JobName: w.start.JobName, ClusterID: d.ClusterId,
	})
}

// mode is the guarantee that the job asks for.
func (w *Worker) mode() align.Mode {
	if settingsOf(w.start.Config)["execution.checkpointing.mode"] == "AT_LEAST_ONCE" {
		return align.AtLeastOnce
	}
	return align.ExactlyOnce
}

// keyedSubtasks counts the subtasks that share the worker's state memory with those of d:
// the job's other regions run here, too.
func (w *Worker) keyedSubtasks(g *job.Graph, d *weirpb.Deploy) int {
	here := map[job.SubtaskID]bool{}
	for _, s := range d.Subtasks {
		here[subtaskOf(s.Subtask)] = true
	}
	for _, l := range d.Locations {
		if l.WorkerId == w.o.WorkerID {
			here[subtaskOf(l.Subtask)] = true
		}
	}
	n := 0
	for s := range here {
		if int(s.Vertex) < len(g.Vertices) && len(g.Head(s.Vertex).KeySchema) > 0 {
			n++
		}
	}
	return n
}

// watch fails the subtasks whose connection to another worker broke.
func (w *Worker) watch(dep *deployment) {
	for {
		select {
		case e := <-dep.fabric.Failed():
			w.post(&peerLost{dep, e})
		case <-dep.over:
			return
		case <-w.done:
			return
		}
	}
}

type peerLost struct {
	dep *deployment
	err *exchange.PeerError
}

func (e *peerLost) handle(w *Worker) {
	for _, s := range e.err.Subtasks {
		if t := e.dep.tasks[s]; t != nil {
			t.Post(task.Command{Kind: task.Fail, Err: e.err})
		}
	}
}

// returned: a subtask's goroutine has ended.
type returned struct {
	dep *deployment
	t   *task.Task
	err error
}

func (e *returned) handle(w *Worker) {
	if e.err != nil {
		w.log.Error("subtask failed", "subtask", e.t.Subtask().String(), "incarnation", e.dep.incarnation, "cause", e.err)
	}
	e.dep.live--
	if e.dep.live == 0 {
		e.dep.fabric.Close()
		close(e.dep.over)
		w.backends.give(e.dep.tables, e.dep.shared)
		delete(w.deployments, e.dep.incarnation)
	}
	waiting := w.waiting
	w.waiting = nil
	for _, d := range waiting {
		if w.olderOf(d) != "" {
			w.waiting = append(w.waiting, d)
			continue
		}
		w.startDeployment(d)
	}
}
