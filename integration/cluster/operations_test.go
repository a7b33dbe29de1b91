package cluster

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// verified demands that an operation has ended, well or with one clear error; a savepoint
// that there is must be whole.
func (c *Cluster) verified(s said) (location string) {
	c.t.Helper()
	if s.code != 0 {
		complaint(c.t, s, s.code)
		return ""
	}
	location = s.lastLine()
	c.must("snapshot", "verify", location)
	return location
}

// TestSavepointsInTrouble: what happens to savepoints when something else happens to the job.
// The job itself counts right in the end, whatever it was.
func TestSavepointsInTrouble(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{jobManagers: 2, taskManagers: 3, slots: 2, external: true})
	folder := filepath.Join(c.dir, "savepoints")
	right := func(t *testing.T, id string) {
		t.Helper()
		if j := c.finished(id); !strings.HasSuffix(j.Result.ClosingLine, line3M) {
			t.Errorf("counted %+v", j.Result)
		}
	}
	detached := func(t *testing.T, args ...string) (trigger string) {
		t.Helper()
		return c.must(append(args, "--detached")...).lastLine()
	}
	t.Run("two at once", func(t *testing.T) {
		id := c.started()
		first, second := detached(t, "savepoint", id, folder), detached(t, "savepoint", id, folder, "--type", "native")
		a := c.verified(c.must("savepoint", id, "--trigger-id", first))
		b := c.verified(c.must("savepoint", id, "--trigger-id", second))
		if a == b {
			t.Errorf("both are %s", a)
		}
		right(t, id)
	})
	t.Run("cancel meanwhile", func(t *testing.T) {
		id := c.started()
		trigger := detached(t, "savepoint", id, folder)
		c.must("cancel", id)
		if path := c.verified(c.run("savepoint", id, "--trigger-id", trigger)); path != "" {
			c.restored(path)
		}
	})
	t.Run("a worker is killed", func(t *testing.T) {
		id := c.started()
		trigger := detached(t, "savepoint", id, folder)
		c.tasks[0].kill(t)
		if path := c.verified(c.run("savepoint", id, "--trigger-id", trigger)); path != "" {
			c.restored(path)
		}
		c.tasks[0].start(t)
		right(t, id)
	})
	t.Run("the leader is killed", func(t *testing.T) {
		id := c.started()
		leader := c.leads()
		trigger := detached(t, "savepoint", id, folder)
		c.managers[leader].kill(t)
		path := c.verified(c.must("savepoint", id, "--trigger-id", trigger)) // the next one goes on with it
		c.managers[leader].start(t)
		right(t, id)
		c.restored(path)
	})
	t.Run("the leader is killed while a job stops", func(t *testing.T) {
		id := c.started()
		leader := c.leads()
		trigger := detached(t, "stop", id, "-p", folder)
		c.managers[leader].kill(t)
		s := c.run("stop", id, "--trigger-id", trigger)
		c.managers[leader].start(t)
		if path := c.verified(s); path != "" {
			if j := c.describe(id); j.State != api.StateFinished {
				t.Errorf("the job is %s", j.State)
			}
			c.restored(path)
		} else {
			right(t, id)
		}
	})
	t.Run("stop while it restarts", func(t *testing.T) {
		id := c.started()
		for _, p := range c.tasks {
			p.kill(t)
		}
		s := c.begin("stop", id, "-p", folder)
		for _, p := range c.tasks {
			p.start(t)
		}
		if path := c.verified(s.await()); path != "" {
			c.restored(path)
		} else {
			right(t, id)
		}
	})
}
