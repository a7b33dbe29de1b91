package cluster

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// TestJobManagerStorage: all state travels in the acks and stands in _metadata, which the
// JobManager alone writes; what is too large for that is said by name.
func TestJobManagerStorage(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 3, settings: []string{"execution.checkpointing.storage=jobmanager"}})
	id := c.started()
	path := c.must("checkpoint", id).lastLine()
	var files []string
	err := filepath.WalkDir(filepath.Dir(path), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "_metadata" && !strings.HasPrefix(d.Name(), ".") {
			files = append(files, path)
		}
		return nil // what is deleted meanwhile is no matter
	})
	if err != nil || len(files) > 0 {
		t.Errorf("there are files beside _metadata: %q, %v", files, err)
	}
	j := c.describe(id)
	for _, p := range c.tasks {
		if p.pid() == j.Vertices[0].Subtasks[0].TaskManagerPID {
			p.kill(t)
		}
	}
	c.counted(id, j.Incarnation)
	savepoint := c.started()
	at := c.must("savepoint", savepoint, filepath.Join(c.dir, "savepoints")).lastLine()
	c.must("snapshot", "verify", at)
	c.restored(at)
	id = c.counting("-D", "execution.checkpointing.jobmanager-storage.max-state-size=10kb", "-D", "restart-strategy.type=none",
		"-D", "execution.checkpointing.tolerable-failed-checkpoints=0")
	j = c.jobUntil(id, "is FAILED", func(j *api.Job) bool { return j.State == api.StateFailed })
	want := []string{"state \"count\" has more than 10240 bytes in one subtask", "execution.checkpointing.jobmanager-storage.max-state-size"}
	for _, w := range want {
		if !strings.Contains(j.LastFailure.Cause, w) {
			t.Errorf("the failure is %q, lacks %q", j.LastFailure.Cause, w)
		}
	}
}
