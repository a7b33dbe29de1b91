package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// TestFallbackOfTwoPhaseSinks: the newest checkpoints of a job that publishes files with
// them are damaged while the JobManager is away. The job fails rather than publish again,
// says what would be doubled, and can be started from the checkpoint that it names; with
// execution.checkpointing.fallback=always it goes back by itself.
func TestFallbackOfTwoPhaseSinks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, slots: 2})
	program := trouble(t)
	run := func(output string, settings ...string) (id string, newest *api.Checkpoint, good string) {
		args := append([]string{"-D", "execution.checkpointing.num-retained=50", "-D", "execution.checkpointing.interval=100ms"}, settings...)
		id = c.submit(append(args, program, "--", "--n", "400000", "--rate", "50000", "--output", output)...)
		j := c.jobUntil(id, "has checkpoints", hasCheckpoint(8))
		c.managers[0].kill(t)
		c.killWorker(j, c.tasks[0]) // else the job goes on, and reads no checkpoint
		newest = j.LastCheckpoint
		metadata, _ := files(t, filepath.Dir(newest.Path))
		for n, path := range metadata {
			switch {
			case n >= newest.ID-2:
				flip(t, path)
			case n == newest.ID-3:
				good = filepath.Dir(path)
			}
		}
		c.managers[0].start(t)
		return id, newest, good
	}
	output := filepath.Join(c.dir, "asks")
	id, _, good := run(output)
	if s := c.run("wait", id, "--timeout", "50s"); s.code != 7 || !strings.Contains(s.stderr, "without consent") {
		t.Fatalf("wait for a job that should ask: %v", s)
	}
	before := published(t, output)
	if len(before) != len(slices.Compact(slices.Clone(before))) {
		t.Error("results are doubled without consent")
	}
	text := c.must("describe", id).stdout
	j := c.describe(id)
	for _, part := range []string{"what out published", "weir run -s " + good + " ", "execution.checkpointing.fallback=always", "cannot be read"} {
		if !strings.Contains(j.LastFailure.Cause, part) {
			t.Errorf("the failure does not say %q: %s", part, j.LastFailure.Cause)
		}
	}
	if !strings.Contains(text, "without consent") {
		t.Errorf("weir describe does not tell of it:\n%s", text)
	}
	// Consent.
	again := c.submit("-s", good, program, "--", "--n", "400000", "--rate", "400000", "--output", output)
	c.finished(again)
	after := published(t, output)
	if distinct := slices.Compact(slices.Clone(after)); len(distinct) != 400000 {
		t.Errorf("%d distinct results, want 400000", len(distinct))
	}
	if len(after) == 400000 {
		t.Error("nothing is doubled: nothing had been published with the damaged checkpoints")
	}
	// By itself.
	id, newest, _ := run(filepath.Join(c.dir, "always"), "-D", "execution.checkpointing.fallback=always")
	if j := c.finished(id); j.Checkpoints.RestoredFrom == nil || j.Checkpoints.RestoredFrom.ID != newest.ID-3 {
		t.Errorf("restored from %+v, want %d", j.Checkpoints.RestoredFrom, newest.ID-3)
	}
}

// published are the lines of the finished files in a folder, sorted.
func published(t *testing.T, folder string) (lines []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Fields(string(b))...)
	}
	slices.Sort(lines)
	return lines
}
