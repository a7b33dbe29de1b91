package settings

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/metapb"
)

// A cluster without a common folder has no files of a job that names none.
func TestStorage(t *testing.T) {
	const storage, dir = "execution.checkpointing.storage", "execution.checkpointing.dir"
	cluster := map[string]string{storage: "jobmanager", "execution.checkpointing.jobmanager-storage.max-state-size": "1mb"}
	s, err := Of(cluster, &metapb.Plan{}, nil, "/ha")
	if err != nil || !s.AllInline || s.InlineThreshold != 1<<20 || s.CheckpointDir != "/ha/checkpoints" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Of(cluster, &metapb.Plan{}, map[string]string{storage: "filesystem"}, "/ha"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("files in the JobManager's folder: %v", err)
	}
	if s, err := Of(cluster, &metapb.Plan{}, map[string]string{storage: "filesystem", dir: "/shared"}, "/ha"); err != nil || s.AllInline || s.InlineThreshold != 20<<10 {
		t.Errorf("%+v, %v", s, err)
	}
}
