package cluster

import (
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
)

// counting submits workload count, slow enough to be disturbed.
func (c *Cluster) counting(settings ...string) string {
	c.t.Helper()
	return c.countingAt(600_000, settings...)
}

// countingAt is counting with so many records a second.
func (c *Cluster) countingAt(rate int, settings ...string) string {
	c.t.Helper()
	args := append([]string{"-D", "restart-strategy.exponential-delay.initial-backoff=100ms"}, settings...)
	return c.submit(append(args, bench(c.t), "--", "--workload", "count", "--n", "3000000", "--keys", "100000", "--parallelism", "2",
		"--checkpoint-ms", "100", "--rate", strconv.Itoa(rate))...)
}

// counted demands the right result of it, after a restart from a checkpoint.
func (c *Cluster) counted(id string, incarnation uint64) {
	c.t.Helper()
	j := c.finished(id)
	if j.Incarnation <= incarnation || j.Checkpoints.RestoredFrom == nil {
		c.t.Errorf("the job was not restored: incarnation %d, %d before, restored from %+v", j.Incarnation, incarnation, j.Checkpoints.RestoredFrom)
	}
	if j = c.describe(id); j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) {
		c.t.Errorf("result %+v", j.Result)
	}
}

// TestJobManagerComesBack kills the only JobManager; it is started on the same folder.
func TestJobManagerComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 2})
	id := c.counting()
	follow := c.begin("wait", id, "-o", "json")
	j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	before := c.receipt(0)
	c.managers[0].kill(t)
	c.managers[0].start(t)
	c.adopted(c.receipt(before.Epoch).Takeover, subtasks(j))
	c.exact(id, 0)
	if s := follow.await(); s.code != 0 || !strings.Contains(s.stdout, line3M) {
		t.Errorf("a wait across the kill: %v", s)
	}
	// Once more, without a running job: what has ended is remembered.
	c.managers[0].signal(t, syscall.SIGTERM)
	if code := c.managers[0].await(t); code != 0 {
		t.Errorf("SIGTERM ends the JobManager with exit code %d:\n%s", code, c.managers[0].text())
	}
	c.managers[0].start(t)
	c.awaitSlots(2)
	if j := c.describe(id); j.State != api.StateFinished || j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) {
		t.Errorf("after a restart the job is %s, result %+v", j.State, j.Result)
	}
}

// TestStandbyTakesOver kills the leader of two JobManagers with an external etcd.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{jobManagers: 2, taskManagers: 2, external: true})
	id := c.counting()
	j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	leader := c.leads()
	standby := 1 - leader
	c.redirects(standby, leader, id)
	if s := begin(t, "-m", c.rest[standby], "list", "-o", "name").await(); s.code != 0 || s.stdout != id+"\n" {
		t.Errorf("list at the standby: %v", s)
	}
	before := c.receipt(0)
	c.managers[leader].kill(t)
	// The one that is dead is named first: the command finds the other.
	s := begin(t, "-m", c.rest[leader]+","+c.rest[standby], "wait", id, "--for=running", "--timeout", "50s").await()
	if s.code != 0 {
		t.Errorf("wait with the dead and the new leader: %v", s)
	}
	c.adopted(c.receipt(before.Epoch).Takeover, subtasks(j))
	c.exact(id, 0)
	if now := c.leads(); now != standby {
		t.Errorf("JobManager %d leads, want %d", now, standby)
	}
	// The one that was killed comes back as the standby.
	c.managers[leader].start(t)
	c.standsBy(leader, standby)
	c.redirects(leader, standby, id)
}

// standsBy waits until a JobManager names another one as the leader.
func (c *Cluster) standsBy(standby, leader int) {
	c.t.Helper()
	cl, err := client.New(client.Options{Address: c.rest[standby]})
	if err != nil {
		c.t.Fatal(err)
	}
	until(c.t, "JobManager "+c.rest[standby]+" stands by", func() bool {
		l, err := cl.Leader(c.t.Context())
		return err == nil && !l.Self && l.RESTAddress == c.rest[leader]
	})
}

// leads is the number of the JobManager that leads.
func (c *Cluster) leads() int {
	c.t.Helper()
	var address string
	until(c.t, "there is a leader", func() bool {
		l, err := c.client.Leader(c.t.Context())
		address = l.RESTAddress
		return err == nil && address != ""
	})
	for i, rest := range c.rest {
		if rest == address {
			return i
		}
	}
	c.t.Fatalf("the leader is at %s, where no JobManager of the cluster is", address)
	return 0
}

// redirects demands that the standby sends clients on.
func (c *Cluster) redirects(standby, leader int, id string) {
	c.t.Helper()
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := plain.Get("http://" + c.rest[standby] + "/jobs/" + id)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Body.Close()
	if want := "http://" + c.rest[leader] + "/jobs/" + id; r.StatusCode != http.StatusTemporaryRedirect || r.Header.Get("Location") != want {
		c.t.Errorf("the standby answers %s, Location %q, want %q", r.Status, r.Header.Get("Location"), want)
	}
}
