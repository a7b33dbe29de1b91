package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// get reads a path of the REST API.
func (c *Cluster) get(path string) (status int, text string) {
	c.t.Helper()
	r, err := http.Get("http://" + c.rest[0] + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// object decodes JSON without knowing the types of this repository.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

// has demands that an object has all of these fields.
func has(t *testing.T, what string, m any, fields ...string) {
	t.Helper()
	o, ok := m.(map[string]any)
	for _, f := range fields {
		if _, there := o[f]; !ok || !there {
			t.Errorf("%s has no field %q: %v", what, f, m)
		}
	}
}

// TestVerbs is a day in the life of the command line.
func TestVerbs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 2, slots: 2})
	t.Run("probes", func(t *testing.T) {
		for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/readyz?verbose": 200} {
			if status, text := c.get(path); status != want {
				t.Errorf("GET %s: %d %s", path, status, text)
			}
		}
		_, text := c.get("/overview")
		o := object(t, text)
		has(t, "/overview", o, "taskmanagers", "slots-total", "slots-available", "jobs-running", "jobs-finished", "jobs-cancelled", "jobs-failed", "flink-version", "flink-commit")
		if o["taskmanagers"] != 2.0 || o["slots-total"] != 4.0 {
			t.Errorf("/overview: %s", text)
		}
	})
	t.Run("running", func(t *testing.T) { steady(t, c) })
	t.Run("settings", func(t *testing.T) { precedence(t, c) })
	t.Run("follow", func(t *testing.T) {
		for _, detach := range []bool{true, false} {
			follow := c.begin("run", trouble(t))
			var id string
			until(t, "the job runs", func() bool {
				for _, j := range c.list() {
					if j.Name == "trouble-steady" && runs(j) {
						id = j.ID
					}
				}
				return id != ""
			})
			want := 7
			if detach {
				want = 130
				if err := follow.cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			} else {
				c.must("cancel", id)
			}
			if s := follow.await(); s.code != want || !detach && !strings.Contains(s.stderr, "CANCELED") {
				t.Errorf("want exit code %d: %v", want, s)
			}
			if j := c.describe(id); detach != (j.State == api.StateRunning) {
				t.Errorf("the job is %s", j.State)
			}
			c.must("cancel", id)
		}
	})
	t.Run("failed", func(t *testing.T) {
		s := c.run("run", "-D", "restart-strategy.type=none", trouble(t), "--", "-mode", "fail")
		complaint(t, s, 7, "FAILED", "number 1000 is refused")
		s = c.run("run", "-D", "restart-strategy.type=fixed-delay", "-D", "restart-strategy.fixed-delay.attempts=2", "-D", "restart-strategy.fixed-delay.delay=10ms", trouble(t), "--", "-mode", "panic")
		complaint(t, s, 7, "FAILED", "number 1000 is one too many")
		jobs := c.list()
		if len(jobs) == 0 {
			t.Fatal("the list is empty")
		}
		failures := 0
		for _, j := range jobs {
			if j.Name != "trouble-panic" {
				continue
			}
			failures = len(j.Failures)
			if j.Restarts != 2 || !j.LastFailure.Fatal || !strings.HasPrefix(j.LastFailure.Task, "count[") {
				t.Errorf("%d restarts, last failure %+v", j.Restarts, j.LastFailure)
			}
		}
		if failures != 3 {
			t.Errorf("%d failures in view, want 3", failures)
		}
	})
}

// list is `weir list -a -o json`.
func (c *Cluster) list() []*api.Job {
	c.t.Helper()
	var jobs []*api.Job
	s := c.must("list", "-a", "-o", "json")
	if err := json.Unmarshal([]byte(s.stdout), &jobs); err != nil {
		c.t.Fatalf("%v in %s", err, s.stdout)
	}
	return jobs
}

// steady goes through the verbs with a job that runs until it is cancelled.
func steady(t *testing.T, c *Cluster) {
	id := c.submit("-p", "2", "-D", "execution.checkpointing.interval=200ms", trouble(t))
	follow := c.begin("wait", id) // in place of a run that follows: the job is its own
	c.must("wait", id, "--for=running", "--timeout", "50s")
	c.must("wait", id[:6], "--for", "checkpoint", "--timeout=50s")
	if s := c.run("wait", "trouble-steady", "--for=finished", "--timeout", "100ms"); s.code != 8 {
		t.Errorf("wait with a timeout: %v", s)
	}
	m := object(t, c.must("-o", "json", "describe", id).stdout)
	has(t, "describe", m, "id", "name", "state", "vertices", "restarts", "last-completed-checkpoint", "result", "last-failure")
	has(t, "the checkpoint", m["last-completed-checkpoint"], "id", "path", "bytes", "duration")
	vertices, _ := m["vertices"].([]any)
	if m["state"] != "RUNNING" || m["id"] != id || len(vertices) == 0 {
		t.Fatalf("describe: %v", m)
	}
	for _, v := range vertices {
		has(t, "a vertex", v, "uid", "parallelism", "subtasks")
		for _, s := range v.(map[string]any)["subtasks"].([]any) {
			has(t, "a subtask", s, "state", "taskmanager-id", "taskmanager-pid", "worker-pid")
			if pid := s.(map[string]any)["taskmanager-pid"]; pid != float64(c.tasks[0].pid()) && pid != float64(c.tasks[1].pid()) {
				t.Errorf("TaskManager's process is %v", pid)
			}
		}
	}
	if jobs := c.list(); len(jobs) != 1 || jobs[0].ID != id {
		t.Errorf("list: %+v", jobs)
	}
	if s := c.must("list"); !strings.Contains(s.stdout, id[:8]) || !strings.Contains(s.stdout, "RUNNING") {
		t.Errorf("list: %v", s)
	}
	if s := c.must("cancel", id); !strings.Contains(s.stderr, "is kept: ") {
		t.Errorf("cancel: %v", s)
	}
	if j := c.describe(id); j.LastCheckpoint == nil || j.LastCheckpoint.Discarded {
		t.Errorf("the last checkpoint of a cancelled job: %+v", j.LastCheckpoint)
	} else if _, err := os.Stat(filepath.Join(strings.TrimPrefix(j.LastCheckpoint.Path, "file://"), "_metadata")); err != nil {
		t.Error(err)
	}
	if s := follow.await(); s.code != 7 || !strings.Contains(s.stderr, "CANCELED") {
		t.Errorf("a wait for one that is cancelled: %v", s)
	}
	c.must("cancel", id) // it is so already
	complaint(t, c.run("describe", "no-such-job"), 3, "no-such-job")
	until(t, "the slots are free again", func() bool {
		o, err := c.client.Overview(t.Context())
		return err == nil && o.SlotsAvailable == o.SlotsTotal
	})
}

// precedence: program flags count when they are typed, and then most.
func precedence(t *testing.T, c *Cluster) {
	for name, p := range map[string]struct {
		args        []string
		parallelism int
		backend     string
	}{
		"defaults":          {[]string{bench(t), "--", "--workload", "count", "--n", "1000", "--keys", "10"}, 1, "pebble"},
		"command":           {[]string{"-p", "3", "-D", "state.backend.type=pebble", bench(t), "--", "--workload", "count", "--n", "1000"}, 3, "pebble"},
		"alias":             {[]string{"-p", "3", "-D", "state.backend.type=hashmap", bench(t), "--", "--workload", "count", "--n", "1000"}, 3, "heap"},
		"program over both": {[]string{"-p", "3", "-D", "state.backend.type=pebble", bench(t), "--", "--n", "1000", "--backend", "heap", "--parallelism", "2"}, 2, "heap"},
	} {
		t.Run(name, func(t *testing.T) {
			id := c.submit(p.args...)
			c.finished(id)
			j := c.describe(id)
			complaint(t, c.run("cancel", id), 4, "is FINISHED")
			if j.Parallelism != p.parallelism || j.Settings["state.backend.type"] != p.backend || j.Result.Sums["results"] != 1000 {
				t.Errorf("ran as %d/%s, want %d/%s; result %+v", j.Parallelism, j.Settings["state.backend.type"], p.parallelism, p.backend, j.Result)
			}
		})
	}
}

// TestTaskManagerFirst: a TaskManager waits for its JobManager, without many words.
func TestTaskManagerFirst(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, late: true})
	tm := c.tasks[0]
	tm.start(t)
	until(t, "the TaskManager says that it looks for its JobManager", func() bool { return strings.Contains(tm.text(), c.rpc[0]) })
	tries := regexp.MustCompile(`(?m)^.*level=(WARN|INFO|ERROR).*$`)
	c.managers[0].start(t)
	c.awaitSlots(1)
	before := len(tries.FindAllString(tm.text(), -1))
	if before > 5 { // starts, no JobManager, registered
		t.Errorf("%d lines before it is registered:\n%s", before, tm.text())
	}
	// Without its JobManager it stays, says so once, and comes back.
	c.managers[0].kill(t)
	c.managers[0].start(t)
	c.awaitSlots(1)
	if n := len(tries.FindAllString(tm.text(), -1)); n > before+5 {
		t.Errorf("%d lines more for one change:\n%s", n-before, tm.text())
	}
	// Both stop cleanly.
	for _, p := range []*process{tm, c.managers[0]} {
		p.signal(t, syscall.SIGTERM)
		if code := p.await(t); code != 0 {
			t.Errorf("SIGTERM ends %s with exit code %d:\n%s", p.name, code, p.text())
		}
	}
	if s := c.run("list"); s.code != 6 {
		t.Errorf("list without a cluster: %v", s)
	}
}
