package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/rest"
)

const (
	runningID  = "0123456789abcdef0123456789abcdef"
	finishedID = "fedcba98765432100123456789abcdef"
	failedID   = "aaaabbbbccccddddeeeeffff00001111"
	triggerID  = "0000000000000000000000000000000a"
)

// model is a cluster in memory behind the real REST API. Each look at a job takes one
// step of its script, if it has one.
type model struct {
	mu        sync.Mutex
	jobs      []*api.Job
	script    map[string][]func(*api.Job)
	submitted *api.Submission
	binary    int
	version   string

	asked  []string         // requests that start operations
	steps  []*api.Operation // what looks at one see; the last one stays
	effect func(*api.Job)   // of an operation that has ended
	looked func()           // at an operation; may be nil
}

func (m *model) Leader(context.Context) (api.Leader, error) {
	return api.Leader{Self: true, RESTAddress: "10.0.0.1:8081", Epoch: 7, Takeover: &api.Takeover{
		Epoch: 7, Jobs: 2, LeaderlessMS: 3120, TookMS: 640, Adopted: 12,
	}}, nil
}
func (m *model) Ready(context.Context) []api.Check { return nil }
func (m *model) Overview(context.Context) (api.Overview, error) {
	return api.Overview{GOARCH: runtime.GOARCH}, nil
}
func (m *model) TaskManagers(context.Context) ([]api.TaskManager, error) { return nil, nil }

func (m *model) Jobs(context.Context) ([]*api.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*api.Job{}, m.jobs...), nil
}

func (m *model) Job(_ context.Context, id job.ID) (*api.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		if j.ID != string(id) {
			continue
		}
		if steps := m.script[j.ID]; len(steps) > 0 {
			steps[0](j)
			m.script[j.ID] = steps[1:]
		}
		seen := *j
		return &seen, nil
	}
	return nil, api.NewError(api.ErrNotFound, "JOB_NOT_FOUND", fmt.Sprintf("no job has the id %s", id), "weir list")
}

func (m *model) Submit(_ context.Context, s *api.Submission) (api.Submitted, error) {
	n, err := io.Copy(io.Discard, s.Binary)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.submitted, m.binary = s, int(n)
	m.jobs = append([]*api.Job{{ID: s.ID, Name: "fresh", State: api.StateCreated, SubmittedAt: at(0)}}, m.jobs...)
	m.script[s.ID] = m.script["fresh"]
	return api.Submitted{JobID: s.ID}, err
}

func (m *model) Cancel(_ context.Context, id job.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		if j.ID == string(id) && api.Terminal(j.State) && j.State != api.StateCanceled {
			return api.NewError(api.ErrConflict, "JOB_ENDED", fmt.Sprintf("job %q is %s", j.Name, j.State))
		}
	}
	m.script[string(id)] = []func(*api.Job){state(api.StateCancelling), state(api.StateCanceled)}
	return nil
}

// ask notes a request that starts an operation.
func (m *model) ask(trigger string, r any) (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	text := string(b)
	switch trigger {
	case "":
		text += " without an id: sent again, it would be another operation"
	case triggerID: // as typed
	default:
		text = strings.ReplaceAll(text, trigger, "TRIGGER")
	}
	m.asked = append(m.asked, fmt.Sprintf("%T %s", r, text))
	return triggerID, nil
}

func (m *model) Savepoint(_ context.Context, _ job.ID, r api.SavepointRequest) (string, error) {
	return m.ask(r.TriggerID, r)
}

func (m *model) Stop(_ context.Context, _ job.ID, r api.StopRequest) (string, error) {
	return m.ask(r.TriggerID, r)
}

func (m *model) Checkpoint(_ context.Context, _ job.ID, r api.CheckpointRequest) (string, error) {
	return m.ask(r.TriggerID, r)
}

func (m *model) Rescale(_ context.Context, _ job.ID, r api.RescaleRequest) (string, error) {
	return m.ask(r.TriggerID, r)
}

func (m *model) Dispose(_ context.Context, r api.DisposalRequest) (string, error) {
	return m.ask(r.TriggerID, r)
}

func (m *model) Operation(context.Context, job.ID, string) (*api.Operation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.looked != nil {
		m.looked()
	}
	o := m.steps[0]
	if len(m.steps) > 1 {
		m.steps = m.steps[1:]
	} else if m.effect != nil {
		m.effect(m.jobs[0])
	}
	return o, nil
}

func (m *model) Disposal(ctx context.Context, trigger string) (*api.Operation, error) {
	return m.Operation(ctx, "", trigger)
}

func (m *model) CheckpointConfig(context.Context, job.ID) (api.CheckpointConfig, error) {
	return api.CheckpointConfig{}, api.ErrNotFound
}

func (m *model) CheckpointDetails(_ context.Context, id job.ID, n uint64) (*api.CheckpointDetails, error) {
	if string(id) != runningID || n != 4 {
		return nil, api.NewError(api.ErrNotFound, "CHECKPOINT_NOT_FOUND", fmt.Sprintf("job %s has no checkpoint %d in its history", id, n))
	}
	acked := at(9)
	return &api.CheckpointDetails{Checkpoint: *m.jobs[0].LastCheckpoint, Vertices: []api.CheckpointVertex{{ID: 1, UID: "count", Subtasks: []api.CheckpointSubtask{
		{Index: 0, AckedAt: &acked, DurationMS: 110, StartDelayMS: 1, AlignmentMS: 2, SyncMS: 3, AsyncMS: 90, LongestStallMS: 3, Bytes: 5000, NewBytes: 100, Unaligned: true, InFlightBytes: 2048},
		{Index: 1},
	}}}}, nil
}

func state(s string) func(*api.Job) { return func(j *api.Job) { j.State = s } }

func at(second int) time.Time { return time.Date(2026, 11, 21, 12, 0, second, 0, time.UTC) }

func newModel() *model {
	started, ended := at(1), at(3)
	checkpoint := api.Checkpoint{ID: 4, Status: api.CheckpointCompleted, Kind: "checkpoint", TriggeredAt: at(8), DurationMS: 120, Path: "/data/chk-4", Bytes: 5000, NewBytes: 100, Subtasks: 2, Acked: 2}
	failure := api.Failure{Time: at(3), Task: "count[1]", Cause: "worker 70 was killed (SIGKILL)\nmore", TaskManager: "tm-1"}
	return &model{script: map[string][]func(*api.Job){}, version: buildflags.Version(), jobs: []*api.Job{
		{
			ID: runningID, Name: "orders", State: api.StateRunning, SubmittedAt: at(0), StartedAt: &started, DurationMS: 9000, Parallelism: 2, Restarts: 1, Incarnation: 2,
			Vertices: []api.Vertex{{ID: 1, UID: "count", Name: "count -> sink", Parallelism: 2, State: "RUNNING", Subtasks: []api.Subtask{
				{Index: 0, State: "RUNNING", Attempt: "e3.n2", Since: at(4), Host: "127.0.0.1", TaskManagerID: "tm-1", TaskManagerPID: 7, WorkerPID: 71},
				{Index: 1, State: "DEPLOYING", Attempt: "e3.n2", Since: at(5), Host: "127.0.0.1", TaskManagerID: "tm-2", TaskManagerPID: 8},
			}}},
			LastCheckpoint: &checkpoint, Checkpoints: api.Checkpoints{Completed: 4, History: []api.Checkpoint{checkpoint}},
			LastFailure: &failure, Failures: []api.Failure{failure}, Settings: map[string]string{"parallelism.default": "2"},
		},
		{
			ID: finishedID, Name: "words", State: api.StateFinished, SubmittedAt: at(0), StartedAt: &started, EndedAt: &ended, DurationMS: 2000, Parallelism: 1,
			LastCheckpoint: &api.Checkpoint{ID: 5, Status: api.CheckpointCompleted, Kind: "terminal", TriggeredAt: at(2), DurationMS: 80, Bytes: 700, Subtasks: 1, Acked: 1, Discarded: true},
			Result:         &api.Result{DurationMS: 2000, ClosingLine: "words=18446744073709551615 ms=2000", Sums: map[string]uint64{"words": 1<<64 - 1}, Texts: map[string]string{"p99": "0.5"}},
		},
		{
			ID: failedID, Name: "broken", State: api.StateFailed, SubmittedAt: at(0), DurationMS: 100, Parallelism: 1,
			LastFailure: &api.Failure{Time: at(2), Task: "map[0]", Cause: "boom", Fatal: true},
		},
	}}
}

// call is one finished call of the command.
type call struct {
	exit           int
	stdout, stderr string
}

// String is the call as a transcript.
func (c call) String() string {
	return fmt.Sprintf("exit %d\n-- stdout --\n%s-- stderr --\n%s", c.exit, c.stdout, c.stderr)
}

// weirCommand calls the command against m (nil: against nobody).
func weirCommand(t *testing.T, m *model, environ []string, args ...string) call {
	t.Helper()
	address := "127.0.0.1:1"
	if m != nil {
		s, err := rest.New(rest.Options{Cluster: m, Version: m.version})
		if err != nil {
			t.Fatal(err)
		}
		ts := httptest.NewServer(s)
		defer ts.Close()
		address = strings.TrimPrefix(ts.URL, "http://")
	}
	var out, talk strings.Builder
	c := &cli{stdin: strings.NewReader(""), stdout: &out, stderr: &talk, environ: append([]string{envAddress + "=" + address, "HOME=" + t.TempDir()}, environ...)}
	exit := c.run(t.Context(), args)
	hide := strings.NewReplacer(address, "ADDRESS", buildflags.Version(), "VERSION")
	return call{exit, hide.Replace(out.String()), hide.Replace(talk.String())}
}
