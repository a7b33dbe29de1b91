package cluster

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// started is a job of three million records that has begun to count them.
func (c *Cluster) started(settings ...string) (id string) {
	c.t.Helper()
	id = c.counting(settings...)
	c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	return id
}

// restored starts the same job from a snapshot and demands that nothing was lost or
// doubled.
func (c *Cluster) restored(path string, settings ...string) *api.Job {
	c.t.Helper()
	j := c.finished(c.counting(append([]string{"-s", path}, settings...)...))
	if !strings.HasSuffix(j.Result.ClosingLine, line3M) {
		c.t.Errorf("from %s: %q, want …%s", path, j.Result.ClosingLine, line3M)
	}
	return j
}

// location is the field of that name.
func location(t *testing.T, s said) string {
	t.Helper()
	var o struct{ Location string }
	if err := json.Unmarshal([]byte(s.stdout), &o); err != nil || o.Location == "" {
		t.Fatalf("no location: %v (%v)", s, err)
	}
	return o.Location
}

// TestSavepointVerbs: a job is saved, stopped, cancelled and started again, and counts right.
func TestSavepointVerbs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 2, slots: 4})
	folder := filepath.Join(c.dir, "savepoints")
	for _, kind := range []string{"canonical", "native"} {
		t.Run("savepoint "+kind, func(t *testing.T) {
			id := c.started()
			path := location(t, c.must("savepoint", id, folder, "--type", kind, "-o", "json"))
			if !strings.HasPrefix(path, folder+"/savepoint-"+id[:6]+"-") {
				t.Errorf("the savepoint lies in %s", path)
			}
			c.must("snapshot", "verify", path)
			if d := object(t, c.must("snapshot", "describe", path, "-o", "json").stdout); d["self-contained"] != true || d["type"] != "savepoint-"+kind {
				t.Errorf("it is %v", d)
			}
			if j := c.finished(id); !strings.HasSuffix(j.Result.ClosingLine, line3M) || j.Restarts > 0 {
				t.Errorf("the job itself: %+v, %d restarts", j.Result, j.Restarts)
			}
			for _, backend := range []string{"heap", "pebble"} {
				c.restored(path, "-D", "state.backend.type="+backend)
			}
			c.must("snapshot", "verify", path) // NO_CLAIM: it is still there
			c.must("savepoint", "-d", path)
			complaint(t, c.run("snapshot", "verify", path), 3, "SNAPSHOT_NOT_FOUND")
			complaint(t, c.run("run", "-s", path, bench(t), "--", "--workload", "count", "--n", "1", "--keys", "1"), 3, path)
		})
	}
	t.Run("stop", func(t *testing.T) {
		id := c.started("-D", "execution.checkpointing.savepoint-dir="+folder)
		s := c.must("stop", id, "-o", "json")
		if o := object(t, s.stdout); o["state"] != "FINISHED" || !strings.Contains(s.stderr, "weir run -s") {
			t.Errorf("stop: %v", s)
		}
		path := location(t, s)
		// The same request again is the same operation, and not a second one.
		if again := c.must("stop", id, "--trigger-id", object(t, s.stdout)["request-id"].(string)); again.lastLine() != path {
			t.Errorf("asked again: %v", again)
		}
		complaint(t, c.run("stop", id), 4, "FINISHED")
		c.restored(path+"/_metadata", "--restore-mode", "legacy")
	})
	t.Run("stop --drain", func(t *testing.T) {
		id := c.started()
		s := c.must("stop", "-p", folder, "--drain", id)
		if !strings.Contains(s.stderr, "it was drained") {
			t.Errorf("stop --drain: %v", s)
		}
		c.must("snapshot", "verify", s.lastLine())
	})
	t.Run("cancel -s", func(t *testing.T) {
		id := c.started()
		path := c.must("cancel", id, "-s", folder).lastLine()
		if j := c.jobUntil(id, "is CANCELED", func(j *api.Job) bool { return j.State == api.StateCanceled }); j.LastCheckpoint == nil {
			t.Errorf("its checkpoints are gone")
		}
		c.restored("file://"+path, "--restore-mode", "claim")
		complaint(t, c.run("snapshot", "verify", path), 3, "SNAPSHOT_NOT_FOUND") // the job owned it
	})
	t.Run("retained", func(t *testing.T) {
		id := c.started()
		path := c.must("checkpoint", id, "--full").lastLine()
		c.must("cancel", id)
		c.restored(path, "--map-uid", "count=count")
		c.must("snapshot", "verify", path)
	})
	t.Run("rescale", func(t *testing.T) {
		id := c.started()
		c.must("rescale", id, "-p", "3")
		if j := c.jobUntil(id, "runs", runs); j.Parallelism != 3 {
			t.Errorf("parallelism %d", j.Parallelism)
		}
		c.must("rescale", id, "count=2")
		if j := c.finished(id); !strings.HasSuffix(j.Result.ClosingLine, line3M) {
			t.Errorf("counted %+v", j.Result)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		id := c.started()
		complaint(t, c.run("savepoint", id), 2, "execution.checkpointing.savepoint-dir", "weir savepoint")
		complaint(t, c.run("stop", id), 2, "execution.checkpointing.savepoint-dir")
		complaint(t, c.run("savepoint", id, "s3://bucket/x"), 2, "s3")
		complaint(t, c.run("savepoint", id, "/proc/none"), 4, "/proc/none")
		complaint(t, c.run("rescale", id, "cuont=2"), 2, "cuont")
		complaint(t, c.run("savepoint", "-d", filepath.Join(c.dir, "none")), 3, "none")
		complaint(t, c.run("run", "-s", filepath.Join(c.dir, "none"), bench(t), "--", "--workload", "count", "--n", "1", "--keys", "1"), 3, "none")
		complaint(t, c.run("savepoint", id, folder, "--trigger-id", "no/id"), 2, "trigger id")
		if j := c.finished(id); !strings.HasSuffix(j.Result.ClosingLine, line3M) || j.Restarts > 0 {
			t.Errorf("the job is the worse for it: %+v, %d restarts", j.Result, j.Restarts)
		}
	})
}
