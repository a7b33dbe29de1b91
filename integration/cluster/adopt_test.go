package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
)

// threeManagers is a cluster in which a leader can be lost twice.
func threeManagers(t *testing.T, taskManagers int, settings ...string) *Cluster {
	return newCluster(t, layout{jobManagers: 3, taskManagers: taskManagers, external: true, settings: settings})
}

// killLeader kills the leading JobManager and returns the receipt of the next one, when
// there is nothing left to be taken over.
func (c *Cluster) killLeader() *api.Takeover {
	c.t.Helper()
	before := c.receipt(0)
	c.managers[c.leads()].kill(c.t)
	return c.receipt(before.Epoch).Takeover
}

// receipt waits for that of a leader after the given epoch.
func (c *Cluster) receipt(after uint64) (l api.Leader) {
	c.t.Helper()
	until(c.t, "a leader has taken everything over", func() bool {
		var err error
		l, err = c.client.Takeover(c.t.Context())
		return err == nil && l.Epoch > after && (after == 0 || l.Takeover != nil && l.Takeover.Open == 0)
	})
	return l
}

// adopted demands a receipt without a restart.
func (c *Cluster) adopted(r *api.Takeover, subtasks int) {
	c.t.Helper()
	if r.Adopted != subtasks || r.Restarted != 0 || r.Jobs != 1 || r.LeaderlessMS == 0 {
		c.t.Errorf("receipt %+v, want %d adopted and none restarted", r, subtasks)
	}
	c.t.Logf("%d attempts adopted, %d subtasks restarted after %d ms without a leader", r.Adopted, r.Restarted, r.LeaderlessMS)
}

func subtasks(j *api.Job) (n int) {
	for _, v := range j.Vertices {
		n += v.Parallelism
	}
	return n
}

// exact demands the right result of workload count, and as many restarts.
func (c *Cluster) exact(id string, restarts int) {
	c.t.Helper()
	j := c.finished(id)
	if j.Restarts != restarts || restarts == 0 && (j.Checkpoints.RestoredFrom != nil || j.Incarnation != 1) {
		c.t.Errorf("%d restarts, want %d; incarnation %d, restored from %+v", j.Restarts, restarts, j.Incarnation, j.Checkpoints.RestoredFrom)
	}
	if j = c.describe(id); j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) {
		c.t.Errorf("result %+v", j.Result)
	}
}

// TestAdopt kills the leader under a running job, and the next one: no subtask restarts.
func TestAdopt(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 2)
	id := c.countingAt(200_000)
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(2))
	follow := c.begin("wait", id, "-o", "json")
	for range 2 {
		c.adopted(c.killLeader(), subtasks(j))
		last := c.describe(id).Checkpoints.Completed
		c.jobUntil(id, "has checkpoints of this leader", func(j *api.Job) bool { return j.Checkpoints.Completed >= last+2 })
	}
	s := c.must("cluster", "leader", "-o", "json")
	var l api.Leader
	if err := json.Unmarshal([]byte(s.stdout), &l); err != nil || l.Takeover == nil || l.Takeover.Restarted != 0 {
		t.Errorf("weir cluster leader: %v, %v", err, s)
	}
	c.exact(id, 0)
	if s := follow.await(); s.code != 0 || !strings.Contains(s.stdout, line3M) {
		t.Errorf("a wait across the kills: %v", s)
	}
}

// TestAdoptStopped: a leader that is asked to end resigns; the next one need not wait.
func TestAdoptStopped(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, slots: 2}) // the only one, with its own etcd
	id := c.countingAt(150_000)
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(2))
	before := c.receipt(0)
	c.managers[0].signal(t, syscall.SIGTERM)
	c.managers[0].await(t)
	c.managers[0].start(t)
	c.adopted(c.receipt(before.Epoch).Takeover, subtasks(j))
	c.exact(id, 0)
}

// TestAdoptFrozen: a leader sleeps through its lease; when it wakes up it changes nothing,
// and what it may have sent is refused.
func TestAdoptFrozen(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 2)
	id := c.countingAt(100_000, "-D", "execution.checkpointing.num-retained=50")
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(1))
	leader := c.leads()
	before := c.receipt(0)
	c.managers[leader].signal(t, syscall.SIGSTOP)
	rest := *c
	rest.rest = append(append([]string{}, c.rest[:leader]...), c.rest[leader+1:]...)
	var err error
	if rest.client, err = client.New(client.Options{Address: strings.Join(rest.rest, ","), Wait: patience}); err != nil {
		t.Fatal(err)
	}
	c.adopted(rest.receipt(before.Epoch).Takeover, subtasks(j))
	last := rest.describe(id).Checkpoints.Completed
	rest.jobUntil(id, "has checkpoints of this leader", func(j *api.Job) bool { return j.Checkpoints.Completed >= last+2 })
	c.managers[leader].signal(t, syscall.SIGCONT)
	until(t, "the one that slept says that it leads no longer", func() bool {
		return strings.Contains(c.managers[leader].text(), "the leadership is lost") || strings.Contains(c.managers[leader].text(), "stops leading")
	})
	rest.exact(id, 0)
}

// TestAdoptBackpressured: barriers are stuck behind records when the leader is lost. Channels
// that wait for them are let go at once.
func TestAdoptBackpressured(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 2)
	id := c.countingAt(150_000, "-D", "execution.checkpointing.aligned-checkpoint-timeout=0", "-D", "execution.checkpointing.unaligned.enabled=false")
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(1))
	until(t, "a checkpoint is under way", func() bool { return c.describe(id).Checkpoints.InProgress > 0 })
	c.adopted(c.killLeader(), subtasks(j))
	c.exact(id, 0)
}

// TestAdoptSavepoint: a savepoint was asked for; it ends well under the next leader.
func TestAdoptSavepoint(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 2)
	id := c.countingAt(150_000)
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(1))
	dir := filepath.Join(c.dir, "savepoints")
	take := c.begin("savepoint", id, dir, "-o", "json")
	until(t, "it is asked for", func() bool {
		return strings.Contains(c.managers[c.leads()].text(), "operation begins")
	})
	c.adopted(c.killLeader(), subtasks(j))
	if s := take.await(); s.code != 0 {
		t.Errorf("savepoint across the kill: %v", s)
	}
	found, err := filepath.Glob(filepath.Join(dir, "savepoint-*", "_metadata"))
	if err != nil || len(found) != 1 {
		t.Errorf("savepoints %q, %v", found, err)
	}
	c.exact(id, 0)
}

// TestAdoptRescale: a rescale was asked for. Whatever it had come to, it ends under the next
// leader, and nothing is counted twice.
func TestAdoptRescale(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 3)
	id := c.countingAt(150_000)
	c.jobUntil(id, "has checkpoints", hasCheckpoint(1))
	change := c.begin("rescale", id, "-p", "1")
	until(t, "it is asked for", func() bool {
		return strings.Contains(c.managers[c.leads()].text(), "operation begins")
	})
	r := c.killLeader()
	t.Logf("receipt %+v", r)
	if s := change.await(); s.code != 0 {
		t.Errorf("rescale across the kill: %v", s)
	}
	if j := c.jobUntil(id, "runs", runs); j.Parallelism != 1 {
		t.Errorf("parallelism %d after the rescale", j.Parallelism)
	}
	c.jobUntil(id, "is FINISHED", func(j *api.Job) bool { return j.State == api.StateFinished })
	if j := c.describe(id); j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) {
		t.Errorf("result %+v", j.Result)
	}
}

// TestAdoptRequests: jobs are submitted, stopped and cancelled while leaders die. Each request
// ends in a definite answer, and what it promised is so.
func TestAdoptRequests(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 2)
	run := c.begin("run", "-d", bench(t), "--", "--workload", "count", "--n", "3000000", "--keys", "100000", "--parallelism", "2",
		"--checkpoint-ms", "100", "--rate", "150000")
	leader := c.leads()
	c.managers[leader].kill(t)
	s := run.await()
	if s.code != 0 {
		t.Fatalf("run across the kill: %v", s)
	}
	c.managers[leader].start(t)
	id := s.lastLine()
	if list := c.must("list", "-o", "name"); list.stdout != id+"\n" {
		t.Errorf("jobs %q, want %q once", list.stdout, id)
	}
	c.jobUntil(id, "has checkpoints", hasCheckpoint(1))
	stop := c.begin("stop", id, "-p", filepath.Join(c.dir, "savepoints"))
	until(t, "it is asked for", func() bool { return strings.Contains(c.managers[c.leads()].text(), "operation begins") })
	leader = c.leads()
	c.managers[leader].kill(t)
	if s = stop.await(); s.code != 0 {
		t.Errorf("stop across the kill: %v", s)
	}
	c.managers[leader].start(t)
	if j := c.describe(id); j.State != api.StateFinished || j.Restarts > 0 {
		t.Errorf("the job is %s after %d restarts", j.State, j.Restarts)
	}
	other := c.countingAt(100_000)
	c.jobUntil(other, "runs", runs)
	cancel := c.begin("cancel", other)
	leader = c.leads()
	c.managers[leader].kill(t)
	if s = cancel.await(); s.code != 0 {
		t.Errorf("cancel across the kill: %v", s)
	}
	if j := c.describe(other); j.State != "CANCELED" {
		t.Errorf("the job is %s", j.State)
	}
}

// TestAdoptNothing: a TaskManager goes with the leader. Its part of the job can't go on, so
// the region restarts, whole; what is left of it ends first.
func TestAdoptNothing(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 3)
	id := c.countingAt(150_000)
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(1))
	victim := c.user(j)
	before := c.receipt(0)
	c.managers[c.leads()].kill(t)
	victim.kill(t)
	r := c.receipt(before.Epoch).Takeover
	if r.Adopted != 0 || r.Restarted != subtasks(j) {
		t.Errorf("receipt %+v", r)
	}
	c.exact(id, 1)
}

// TestAdoptGap measures how long the output pauses when the leader is killed: records
// arrive on. The figure is reported, not asserted.
func TestAdoptGap(t *testing.T) {
	t.Parallel()
	c := threeManagers(t, 2)
	out := filepath.Join(c.dir, "progress")
	id := c.submit("-p", "2", trouble(t), "--", "--mode", "beat", "--rate", "2000", "--n", "100000000", "--output", out)
	j := c.jobUntil(id, "has checkpoints", func(j *api.Job) bool { return runs(j) })
	until(t, "it beats", func() bool { b, err := os.ReadFile(out + "-0"); return err == nil && len(b) > 0 })
	c.adopted(c.killLeader(), subtasks(j))
	c.must("cancel", id)
	for i := range 2 {
		t.Logf("subtask %d of the sink, which takes a record each ms: longest gap %v", i, longestGap(t, fmt.Sprintf("%s-%d", out, i)))
	}
}

// longestGap is the longest time between two lines, each a time in ns.
func longestGap(t *testing.T, path string) time.Duration {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var last, longest int64
	for line := range strings.Lines(string(b)) {
		var at int64
		if _, err := fmt.Sscan(line, &at); err != nil {
			break // cut off
		}
		if last > 0 {
			longest = max(longest, at-last)
		}
		last = at
	}
	return time.Duration(longest)
}
