package settings

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordinator"
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

// TestFallback: what is asked for depends on the program, unless it is said.
func TestFallback(t *testing.T) {
	plain, publishes := &metapb.Plan{Operators: []*metapb.Operator{{Uid: "in"}}}, &metapb.Plan{Operators: []*metapb.Operator{{Uid: "in"}, {Uid: "out", Commits: true}}}
	for typed, want := range map[string][2]coordinator.Fallback{
		"":       {coordinator.FallbackAlways, coordinator.FallbackAsk},
		"always": {coordinator.FallbackAlways, coordinator.FallbackAlways},
		"ask":    {coordinator.FallbackAsk, coordinator.FallbackAsk},
	} {
		settings := map[string]string{}
		if typed != "" {
			settings["execution.checkpointing.fallback"] = typed
		}
		for i, plan := range []*metapb.Plan{plain, publishes} {
			s, err := Of(nil, plan, settings, "/ha")
			if err != nil {
				t.Fatal(err)
			}
			c := s.CheckpointOf(plan)
			if c.Fallback != want[i] || i == 1 && !slices.Equal(c.TwoPhase, []string{"out"}) {
				t.Errorf("%q, plan %d: %v, %q", typed, i, c.Fallback, c.TwoPhase)
			}
		}
	}
}
