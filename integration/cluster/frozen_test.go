package cluster

import (
	"strings"
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

// TestFrozenLeader: a leader that sleeps through its lease must not act when it wakes up.
func TestFrozenLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{jobManagers: 2, taskManagers: 2, external: true})
	id := c.counting("-D", "execution.checkpointing.num-retained=50")
	j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	leader := c.leads()
	frozen := c.managers[leader]
	frozen.signal(t, syscall.SIGSTOP)
	only := *c
	only.rest = c.rest[1-leader : 2-leader] // the frozen one accepts connections and is silent
	until(t, "the standby leads", func() bool {
		s := begin(t, "-m", only.rest[0], "wait", id, "--for=running", "--timeout", "1s").await()
		return s.code == 0
	})
	frozen.signal(t, syscall.SIGCONT)
	c.standsBy(leader, 1-leader)
	if s := only.must("wait", id, "-o", "json"); !strings.Contains(s.stdout, line3M) {
		t.Errorf("wait: %v", s)
	}
	if now := only.describe(id); now.Incarnation <= j.Incarnation || now.Checkpoints.RestoredFrom == nil {
		t.Errorf("incarnation %d, %d before; restored from %+v", now.Incarnation, j.Incarnation, now.Checkpoints.RestoredFrom)
	}
}
