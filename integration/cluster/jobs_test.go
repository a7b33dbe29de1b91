package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// submit runs a job detached and returns its id.
func (c *Cluster) submit(args ...string) string {
	c.t.Helper()
	s := c.must(append([]string{"run", "-d"}, args...)...)
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(s.lastLine()) {
		c.t.Fatalf("weir run -d: the last line is no job id: %v", s)
	}
	return s.lastLine()
}

// describe is `weir describe JOB -o json`.
func (c *Cluster) describe(id string) *api.Job {
	c.t.Helper()
	s := c.must("describe", id, "-o", "json")
	var j api.Job
	if err := json.Unmarshal([]byte(s.stdout), &j); err != nil {
		c.t.Fatalf("%v in\n%s", err, s.stdout)
	}
	return &j
}

// jobUntil asks for a job until something is so of it. A leader that is away is waited for.
func (c *Cluster) jobUntil(id, what string, so func(*api.Job) bool) *api.Job {
	c.t.Helper()
	var last *api.Job
	until(c.t, "job "+id+" "+what, func() bool {
		j, err := c.client.Job(context.Background(), id)
		if err != nil {
			return false
		}
		last = j
		if so(j) {
			return true
		}
		if api.Terminal(j.State) {
			c.t.Fatalf("job %s is %s before this was so: %s\nfailures: %+v", id, j.State, what, j.Failures)
		}
		return false
	})
	return last
}

// finished waits for a job's end and demands that it is FINISHED.
func (c *Cluster) finished(id string) *api.Job {
	c.t.Helper()
	return c.jobUntil(id, "is FINISHED", func(j *api.Job) bool { return j.State == api.StateFinished })
}

func runs(j *api.Job) bool {
	if j.State != api.StateRunning || len(j.Vertices) == 0 {
		return false
	}
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			if s.State != "RUNNING" && s.State != "FINISHED" {
				return false
			}
		}
	}
	return true
}

// hasCheckpoint is so of a job that runs and has a checkpoint with this number or more.
func hasCheckpoint(n uint64) func(*api.Job) bool {
	return func(j *api.Job) bool { return runs(j) && j.LastCheckpoint != nil && j.LastCheckpoint.ID >= n }
}

// user is a TaskManager of the cluster that runs a part of the job.
func (c *Cluster) user(j *api.Job) *process {
	c.t.Helper()
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			for _, p := range c.tasks {
				if s.TaskManagerPID != 0 && s.TaskManagerPID == p.pid() {
					return p
				}
			}
		}
	}
	c.t.Fatalf("no TaskManager of the cluster runs job %s", j.ID)
	return nil
}

// worker is the process id of a worker of the job.
func worker(t testing.TB, j *api.Job) int {
	t.Helper()
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			if s.WorkerPID != 0 {
				return s.WorkerPID
			}
		}
	}
	t.Fatalf("job %s has no worker", j.ID)
	return 0
}

// workerOn is the process id of the job's worker on a TaskManager.
func workerOn(t testing.TB, j *api.Job, p *process) int {
	t.Helper()
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			if s.TaskManagerPID == p.pid() && s.WorkerPID != 0 {
				return s.WorkerPID
			}
		}
	}
	t.Fatalf("job %s has no worker on %s", j.ID, p.name)
	return 0
}

// recovered demands that a job went through a failure and came back from a checkpoint.
func recovered(t testing.TB, j *api.Job) {
	t.Helper()
	if j.Restarts < 1 || j.Checkpoints.RestoredFrom == nil || j.LastFailure == nil {
		t.Errorf("the job took another path: %d restarts, restored from %+v, last failure %+v", j.Restarts, j.Checkpoints.RestoredFrom, j.LastFailure)
	}
}

// complaint demands an error of the command's form: one message, its hints, code and
// exit code, with all of the words, and without a stack.
func complaint(t testing.TB, s said, code int, words ...string) {
	t.Helper()
	from := strings.LastIndex("\n"+s.stderr, "\nerror: ")
	if s.code != code || from < 0 || !regexp.MustCompile(fmt.Sprintf(`\[[A-Z_]+, exit %d\]\n$`, code)).MatchString(s.stderr) {
		t.Errorf("want an error with exit code %d: %v", code, s)
		return
	}
	text := s.stderr[from:]
	if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
		t.Errorf("want an error with %q: %v", words, s)
	}
	if strings.Contains(text, "goroutine ") || strings.Count(text, "\n") > 5 {
		t.Errorf("too long for an error: %v", s)
	}
}

// killWorker kills the worker of a job on a TaskManager.
func (c *Cluster) killWorker(j *api.Job, p *process) {
	c.t.Helper()
	if err := syscall.Kill(workerOn(c.t, j, p), syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
}
