package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

// TestConfiguration: what the JobManager is told by a file counts for jobs, unless they
// say otherwise; variables count more than the file.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, late: true})
	file := filepath.Join(c.dir, "weir.yaml")
	if err := os.WriteFile(file, []byte("parallelism.default: 2\nstate:\n  backend.type: hashmap\ntaskmanager.numberOfTaskSlots: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.managers[0].args = append(c.managers[0].args, "--config", file)
	c.tasks[0].args = append([]string{}, "taskmanager", "--jobmanager", c.rpc[0], "--data", filepath.Join(c.dir, "taskmanager-0"))
	c.tasks[0].env = []string{"WEIR_CONFIG=" + file, "WEIR_TASKMANAGER_NUMBEROFTASKSLOTS=4"}
	c.managers[0].start(t)
	c.tasks[0].start(t)
	c.awaitSlots(4)
	for _, m := range []struct {
		args        []string
		parallelism int
		backend     string
	}{
		{nil, 2, "heap"},
		{[]string{"-p", "3"}, 3, "heap"},
		{[]string{"-D", "state.backend.type=rocksdb"}, 2, "pebble"},
	} {
		id := c.submit(append(m.args, bench(t), "--", "--n", "1000")...)
		c.finished(id)
		if j := c.describe(id); j.Parallelism != m.parallelism || j.Settings["state.backend.type"] != m.backend {
			t.Errorf("%v ran as %d/%s, want %d/%s", m.args, j.Parallelism, j.Settings["state.backend.type"], m.parallelism, m.backend)
		}
	}
	if o, err := c.client.Overview(t.Context()); err != nil || o.SlotsTotal != 4 {
		t.Errorf("%+v, %v", o, err)
	}
}
