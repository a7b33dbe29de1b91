package taskmanager

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weirstream/weir/internal/machine"
	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/weirpb"
)

// workerPhase is where a worker is in its life.
//
//	fetching ──binary and place here──▶ starting ──attach──▶ building ──plan matches──▶ ready
//	    │                                  │                    │                        │
//	    └──────────── stop, failure, exit ─┴────────────────────┴──────▶ stopping ◀──────┘
//	                                                                       │ exit
//	                                                                       ▼
//	                                                              (removed, exit reported)
type workerPhase uint8

const (
	workerFetching workerPhase = iota + 1 // the binary is on its way, or the job's older worker is
	workerStarting                        // the process runs but has not attached
	workerBuilding                        // attached; it builds its program
	workerReady                           // its plan is the submitted one; the JobManager knows it
	workerStopping                        // told to end, or killed
)

// String returns the phase's name in logs.
func (p workerPhase) String() string {
	return [...]string{"?", "fetching", "starting", "building", "ready", "stopping"}[p]
}

// worker is one job's process on this host. Owned by the loop.
type worker struct {
	tm        *TaskManager
	start     *weirpb.StartWorker
	phase     workerPhase
	process   Process                            // nil while fetching
	to        *sendqueue.Queue[*weirpb.ToWorker] // nil until attached
	fetched   bool                               // the binary is here, or the fetch has failed; or none is needed
	binary    string
	data      string // its folder
	attached  *weirpb.AttachWorker
	statuses  map[subtaskKey]*weirpb.SubtaskStatus // last reported
	ends      map[subtaskKey]*weirpb.SourceEnded   // of sources that have said so
	commits   map[subtaskKey]*weirpb.Committed     // last reported
	stuck     []*weirpb.SubtaskRef                 // it is killed because they ignored their cancel
	reason    string                               // why it was stopped or killed
	killed    bool                                 // its end can't be far
	userError bool                                 // the program is at fault
}

type subtaskKey struct{ vertex, subtask uint32 }

func keyOf(s *weirpb.SubtaskRef) subtaskKey { return subtaskKey{s.GetVertex(), s.GetSubtask()} }

func (t *TaskManager) startWorker(s *weirpb.StartWorker) {
	if err := job.ID(s.JobId).Validate(); err != nil {
		t.log.Error("refused to start a worker", "cause", err)
		return
	}
	if _, dup := t.workers[s.WorkerId]; dup {
		return // a repeated command
	}
	// A job has one worker here (I2). Ids rise, so a lower one is a command that was
	// overtaken; a higher one replaces what runs, once that is gone.
	var before []*worker
	for _, id := range slices.Sorted(maps.Keys(t.workers)) {
		if old := t.workers[id]; old.start.JobId == s.JobId {
			before = append(before, old)
		}
	}
	if n := len(before); n > 0 && before[n-1].start.WorkerId > s.WorkerId {
		t.send(exited(s, Exit{Reason: fmt.Sprintf("worker %d of the job is newer", before[n-1].start.WorkerId)}))
		return
	}
	for _, old := range before {
		old.kill("another worker of the job takes its place")
	}
	w := &worker{
		tm: t, start: s, phase: workerFetching, statuses: map[subtaskKey]*weirpb.SubtaskStatus{},
		ends: map[subtaskKey]*weirpb.SourceEnded{}, commits: map[subtaskKey]*weirpb.Committed{},
		data: filepath.Join(t.cfg.Data, "workers", fmt.Sprintf("%s-%d", s.JobId, s.WorkerId)),
	}
	t.workers[s.WorkerId] = w
	if t.stopping {
		w.ended(Exit{Reason: "the TaskManager is stopping"})
		return
	}
	if !t.cfg.Launcher.NeedsBinary() {
		w.fetched = true
		w.maybeLaunch()
		return
	}
	session := t.session
	go func() {
		path, err := t.binaries.fetch(session.client, s.BinarySha256)
		t.post(&binaryFetched{w, path, err})
	}()
}

// maybeLaunch starts the process when its binary is here and no older worker of the
// job lives.
func (w *worker) maybeLaunch() {
	if w.phase != workerFetching || !w.fetched {
		return
	}
	for _, old := range w.tm.workers {
		if old != w && old.start.JobId == w.start.JobId && old.start.WorkerId < w.start.WorkerId {
			return
		}
	}
	w.launch(w.binary)
}

type binaryFetched struct {
	w    *worker
	path string
	err  error
}

func (e *binaryFetched) handle(t *TaskManager) {
	w := e.w
	switch {
	case t.workers[w.start.WorkerId] != w: // stopped meanwhile
	case e.err != nil:
		w.ended(Exit{Reason: fmt.Sprintf("fetch binary %x of job %s: %v", w.start.BinarySha256, w.start.JobId, e.err), NeverStarted: true})
	default:
		w.fetched, w.binary = true, e.path
		w.maybeLaunch()
	}
}

// attachTimeout is how long a process may take to attach and to build its program.
const attachTimeout = time.Minute

// notReady: the time to attach and build is over.
type notReady struct{ w *worker }

func (e *notReady) handle(t *TaskManager) {
	if w := e.w; t.workers[w.start.WorkerId] == w && (w.phase == workerStarting || w.phase == workerBuilding) {
		w.userError = true
		w.kill(fmt.Sprintf("it is still %v after %v: main must call the job's Run soon, and build must return", w.phase, attachTimeout))
	}
}

func (w *worker) launch(binary string) {
	t := w.tm
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		w.ended(Exit{Reason: fmt.Sprintf("make folder of worker: %v", err)})
		return
	}
	p, err := t.cfg.Launcher.Launch(WorkerSpec{
		Binary: binary, Args: w.start.Args, Params: w.start.Params, JobID: w.start.JobId, WorkerID: w.start.WorkerId,
		Host: t.cfg.Host, Agent: t.agentAddress(), Logs: filepath.Join(t.cfg.Data, "logs", w.start.JobId), Dir: w.data,
		Memory: w.memory(),
	})
	if err != nil {
		w.ended(Exit{
			Reason: fmt.Sprintf("start worker of job %s: %v", w.start.JobId, err), NeverStarted: true,
			UserError: errors.Is(err, syscall.ENOEXEC), // everything else may be this host's fault
		})
		return
	}
	w.process, w.phase = p, workerStarting
	time.AfterFunc(attachTimeout, func() { t.post(&notReady{w}) })
	t.log.Info("worker started", "job", w.start.JobId, "worker", w.start.WorkerId, "pid", p.PID())
	go func() {
		exit := p.Wait()
		t.post(&workerExited{w, exit})
	}()
}

// memory is the worker's share: what the TaskManager has × its slots ÷ all slots.
func (w *worker) memory() int64 {
	return w.tm.cfg.Memory * int64(max(1, w.start.Slots)) / int64(max(1, w.tm.cfg.Slots))
}

// resizeWorker gives the job's worker the share of the slots that the job has now.
func (t *TaskManager) resizeWorker(c *weirpb.WorkerSlots) {
	for _, w := range t.workers {
		if w.start.JobId != c.JobId || w.start.Slots == c.Slots || w.phase == workerStopping {
			continue
		}
		w.start.Slots = c.Slots
		t.log.Info("the job's slots here have changed", "job", c.JobId, "worker", w.start.WorkerId, "slots", c.Slots, "memory", w.memory())
		w.send(&weirpb.ToWorker{LeaderEpoch: t.epoch, Message: &weirpb.ToWorker_Memory{Memory: &weirpb.WorkerMemory{MemoryBytes: uint64(w.memory())}}})
	}
}

type workerExited struct {
	w    *worker
	exit Exit
}

func (e *workerExited) handle(t *TaskManager) {
	exit := e.exit
	if e.w.reason != "" {
		exit.Reason = e.w.reason
	}
	exit.UserError = exit.UserError || e.w.userError
	exit.NeverStarted = exit.NeverStarted || e.w.attached == nil
	e.w.ended(exit)
}

// ended removes the worker and reports why it is gone.
func (w *worker) ended(exit Exit) {
	t := w.tm
	delete(t.workers, w.start.WorkerId)
	if w.to != nil {
		w.to.Close()
	}
	t.remove(w.data)
	t.log.Info("worker ended", "job", w.start.JobId, "worker", w.start.WorkerId, "reason", exit.Reason)
	gone := exited(w.start, exit)
	gone.GetWorkerExited().Stuck = w.stuck
	t.send(gone)
	if t.session == nil { // nor is it certain that the one which is being registered with leads
		t.exited = append(t.exited, gone.GetWorkerExited())
	}
	for _, next := range t.workers {
		if next.start.JobId == w.start.JobId {
			next.maybeLaunch()
		}
	}
}

func exited(s *weirpb.StartWorker, exit Exit) *weirpb.FromTaskManager {
	return &weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_WorkerExited{WorkerExited: &weirpb.WorkerExited{
		JobId: s.JobId, WorkerId: s.WorkerId, Reason: exit.Reason, UserError: exit.UserError, NeverStarted: exit.NeverStarted,
	}}}
}

// send hands m to the worker's process. One that does not read is killed.
func (w *worker) send(m *weirpb.ToWorker) {
	if w.to != nil && !w.to.Put(m) {
		w.kill(sendqueue.ErrBehind.Error())
	}
}

func (t *TaskManager) stopWorkers(s *weirpb.StopWorker) {
	for _, w := range t.workers {
		if w.start.JobId == s.JobId && (s.WorkerId == 0 || s.WorkerId == w.start.WorkerId) {
			w.stop(s.Reason, time.Duration(s.GraceMs)*time.Millisecond)
		}
	}
}

// stop asks the worker to end and kills it after grace. With no grace it is killed
// at once.
func (w *worker) stop(reason string, grace time.Duration) {
	if w.phase == workerStopping {
		if grace == 0 {
			w.kill(reason)
		}
		return
	}
	if w.process == nil || grace == 0 {
		w.kill(reason)
		return
	}
	w.phase, w.reason = workerStopping, reason
	w.process.Terminate()
	time.AfterFunc(grace, func() { w.tm.post(&graceOver{w, "killed because it did not end in time"}) })
}

// kill ends the worker. The first reason stays: it is the cause of those after it.
func (w *worker) kill(reason string) {
	if w.killed {
		return
	}
	if w.phase == workerStopping && reason != w.reason {
		reason = w.reason + "; " + reason
	}
	w.phase, w.reason, w.killed = workerStopping, reason, true
	if w.process == nil { // no process: a fetch that goes on is of no consequence
		w.ended(Exit{Reason: reason, UserError: w.userError, NeverStarted: true})
		return
	}
	w.process.Kill()
}

// graceOver: a worker has had its time to end.
type graceOver struct {
	w    *worker
	what string
}

func (e *graceOver) handle(t *TaskManager) {
	if t.workers[e.w.start.WorkerId] == e.w {
		e.w.kill(e.what)
	}
}

func (w *worker) leaderLost() {
	w.send(&weirpb.ToWorker{LeaderEpoch: w.tm.epoch, Message: &weirpb.ToWorker_LeaderLost{LeaderLost: &weirpb.LeaderLost{}}})
}

// relay hands a command to the worker of its job.
func (t *TaskManager) relay(epoch uint64, m *weirpb.ToSubtasks) {
	for _, w := range t.workers {
		if w.start.JobId == m.JobId && w.phase == workerReady {
			if d := m.GetDeploy(); d != nil { // what is deployed lives, also before it says so
				for _, s := range d.Subtasks {
					delete(w.ends, keyOf(s.Subtask))
					delete(w.commits, keyOf(s.Subtask))
					w.statuses[keyOf(s.Subtask)] = &weirpb.SubtaskStatus{Subtask: s.Subtask, Attempt: d.Attempt, Incarnation: d.Incarnation}
				}
			}
			w.send(&weirpb.ToWorker{LeaderEpoch: epoch, Message: &weirpb.ToWorker_ToSubtasks{ToSubtasks: m}})
			if c := m.GetCancel(); c != nil {
				time.AfterFunc(time.Duration(c.GraceMs)*time.Millisecond, func() { t.post(&cancelGraceOver{w, c}) })
			}
		}
	}
}

// cancelGraceOver kills a worker whose cancelled attempts did not return: a
// goroutine stuck in user code can't be ended in any other way.
type cancelGraceOver struct {
	w *worker
	c *weirpb.CancelAttempts
}

func (e *cancelGraceOver) handle(t *TaskManager) {
	if t.workers[e.w.start.WorkerId] != e.w || e.c.GraceMs == 0 {
		return
	}
	w := e.w
	for _, s := range w.statuses {
		if s.Incarnation == e.c.Incarnation && !ended(s.State) {
			w.stuck = append(w.stuck, s.Subtask)
		}
	}
	if len(w.stuck) == 0 {
		return
	}
	slices.SortFunc(w.stuck, func(a, b *weirpb.SubtaskRef) int {
		return cmp.Or(cmp.Compare(a.GetVertex(), b.GetVertex()), cmp.Compare(a.GetSubtask(), b.GetSubtask()))
	})
	var names []string
	for _, s := range w.stuck {
		names = append(names, w.name(s))
	}
	who := strings.Join(names, ", ")
	grace := time.Duration(e.c.GraceMs) * time.Millisecond
	t.log.Warn("subtasks ignored their cancel; their worker is killed", "subtasks", who, "grace", grace, "job", w.start.JobId, "worker", w.start.WorkerId)
	w.kill(fmt.Sprintf("worker killed: %s ignored the cancel for %v (user code does not return)", who, grace))
}

// name is what users call a subtask of the job.
func (w *worker) name(s *weirpb.SubtaskRef) string {
	id := job.SubtaskID{Vertex: job.VertexID(s.GetVertex()), Index: int(s.GetSubtask())}
	if w.start.Plan == nil {
		return id.String()
	}
	g, err := job.NewGraph(w.start.Plan, 1) // its vertices are those of any parallelism
	if err != nil || int(id.Vertex) >= len(g.Vertices) {
		return id.String()
	}
	return g.SubtaskName(id)
}

func ended(s weirpb.SubtaskStatus_State) bool {
	switch s {
	case weirpb.SubtaskStatus_STATE_FINISHED, weirpb.SubtaskStatus_STATE_CANCELED, weirpb.SubtaskStatus_STATE_FAILED:
		return true
	}
	return false
}

// inventory tells a JobManager what this process is and what runs in it.
func (t *TaskManager) inventory() *weirpb.RegisterTaskManager {
	r := &weirpb.RegisterTaskManager{
		ProtocolVersion: weirpb.ProtocolVersion, Version: t.cfg.Version, TaskmanagerId: t.cfg.ID, Host: t.cfg.Host,
		Slots: uint32(t.cfg.Slots), Pid: uint32(os.Getpid()), ClusterId: t.cfg.ClusterID, MemoryBytes: uint64(t.cfg.Memory), Machine: machine.ID(),
		Local: !t.cfg.Launcher.NeedsBinary(), Exited: slices.Clone(t.exited),
	}
	if !t.leftAt.IsZero() {
		r.LeaderlessMs = uint64(max(1, time.Since(t.leftAt).Milliseconds()))
	}
	for _, id := range slices.Sorted(maps.Keys(t.workers)) {
		w := t.workers[id]
		running := &weirpb.RunningWorker{JobId: w.start.JobId, WorkerId: id, Slots: w.start.Slots, Ready: w.phase == workerReady}
		if w.attached != nil {
			running.Pid, running.DataAddress, running.UnixAddress = w.attached.Pid, w.attached.DataAddress, w.attached.UnixAddress
		}
		running.Subtasks = slices.AppendSeq(running.Subtasks, maps.Values(w.statuses))
		running.Ended = slices.AppendSeq(running.Ended, maps.Values(w.ends))
		running.Committed = slices.AppendSeq(running.Committed, maps.Values(w.commits))
		r.Workers = append(r.Workers, running)
	}
	return r
}
