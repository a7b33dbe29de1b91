package cluster

import (
	"syscall"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// TestFrozenTaskManager: one that is silent is replaced. When it wakes up it must not
// add to what its successor does.
func TestFrozenTaskManager(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 3, settings: []string{"heartbeat.timeout=3s"}})
	id := c.counting()
	j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	p := c.user(j)
	p.signal(t, syscall.SIGSTOP)
	if err := syscall.Kill(workerOn(t, j, p), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pid := workerOn(t, j, p)
	j = c.jobUntil(id, "runs elsewhere", func(j *api.Job) bool { return runs(j) && j.Restarts > 0 })
	if c.user(j) == p {
		t.Errorf("the job runs on the TaskManager that is silent")
	}
	for _, frozen := range []int{p.pid(), pid} {
		if err := syscall.Kill(frozen, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	c.counted(id, 1)
	until(t, "the old worker is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	c.awaitSlots(3) // it is welcome again
}
