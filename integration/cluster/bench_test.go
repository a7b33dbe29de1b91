package cluster

import (
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// line3M is what SPEC.md says of workload count with 3,000,000 records and 100,000 keys.
const line3M = "results=3000000 checksum=0e175c090f1b4990"

// TestChecksum runs the workload as a user would, and loses processes on the way.
func TestChecksum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 3})
	args := func(backend string) []string {
		timeout := map[string]string{"heap": "1 s", "pebble": "0 s"}[backend] // once every barrier overtakes
		return []string{"-D", "execution.checkpointing.aligned-checkpoint-timeout=" + timeout, "-D", "restart-strategy.exponential-delay.initial-backoff=100ms", bench(t), "--", "--workload", "count", "--n", "3000000", "--keys", "100000", "--backend", backend, "--parallelism", "2",
			"--checkpoint-ms", "100", "--rate", "1000000"}
	}
	t.Run("undisturbed", func(t *testing.T) {
		s := c.must("run", bench(t), "--", "--workload", "count", "--n", "3000000", "--keys", "100000")
		if !strings.HasPrefix(s.lastLine(), "workload=count n=3000000 ms=") || !strings.HasSuffix(s.lastLine(), line3M) {
			t.Errorf("last line on stdout: %v", s)
		}
	})
	for name, kill := range map[string]func(*api.Job){
		"worker":      func(j *api.Job) { _ = syscall.Kill(worker(t, j), syscall.SIGKILL) },
		"taskmanager": nil,
	} {
		for _, backend := range []string{"heap", "pebble"} {
			t.Run(name+"/"+backend, func(t *testing.T) {
				id := c.submit(args(backend)...)
				follow := c.begin("wait", id, "-o", "json")
				j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
				if kill != nil {
					kill(j)
				} else {
					p := c.user(j)
					pid := workerOn(t, j, p)
					p.kill(t)
					until(t, "the worker dies with its TaskManager", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
					defer func() { p.start(t); c.awaitSlots(3) }()
				}
				j = c.finished(id)
				recovered(t, j)
				if s := follow.await(); s.code != 0 {
					t.Errorf("wait: %v", s)
				}
				if j = c.describe(id); j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) || j.Result.Sums["results"] != 3_000_000 || j.Settings["state.backend.type"] != backend {
					t.Errorf("result %+v with settings %v", j.Result, j.Settings)
				}
			})
		}
	}
}
