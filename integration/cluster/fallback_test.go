package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/savepoint"
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

// TestDamagedRunAsks: of such a job it is not a _metadata but a run that the newest checkpoint
// alone lists which is damaged. It is found when a subtask reads it: the job asks just so,
// and from the checkpoint that it names nothing is lost.
func TestDamagedRunAsks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, slots: 2})
	program, output := trouble(t), filepath.Join(c.dir, "output")
	id := c.submit("-D", "execution.checkpointing.num-retained=50", "-D", "execution.checkpointing.interval=200ms", "-D", "execution.checkpointing.data-inline-threshold=0",
		"-D", "state.backend.type=heap", program, "--", "--n", "400000", "--rate", "50000", "--output", output)
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(5))
	c.managers[0].kill(t)
	c.killWorker(j, c.tasks[0])
	newest := j.LastCheckpoint
	older := map[string]bool{}
	runs := func(n uint64) map[string]string {
		return c.runs(filepath.Join(filepath.Dir(newest.Path), fmt.Sprintf("chk-%d", n)))
	}
	for name := range runs(newest.ID - 1) {
		older[name] = true
	}
	damaged := map[string]bool{}
	metadata, _ := files(t, filepath.Dir(newest.Path))
	for n := range metadata { // some may have completed since
		if n < newest.ID {
			continue
		}
		for name, path := range runs(n) {
			if !older[name] && !damaged[name] {
				flip(t, path)
				damaged[name] = true
			}
		}
	}
	if len(damaged) == 0 {
		t.Fatalf("checkpoint %d lists no run of its own", newest.ID)
	}
	c.managers[0].start(t)
	if s := c.run("wait", id, "--timeout", "50s"); s.code != 7 || !strings.Contains(s.stderr, "without consent") {
		t.Fatalf("wait for a job that should ask: %v", s)
	}
	good := filepath.Join(filepath.Dir(newest.Path), fmt.Sprintf("chk-%d", newest.ID-1))
	for _, part := range []string{"what out published", "weir run -s " + good + " ", ".sst", "execution.checkpointing.fallback=always"} {
		if cause := c.describe(id).LastFailure.Cause; !strings.Contains(cause, part) {
			t.Errorf("the failure does not say %q: %s", part, cause)
		}
	}
	before := published(t, output)
	if len(before) != len(slices.Compact(slices.Clone(before))) {
		t.Error("results are doubled without consent")
	}
	c.finished(c.submit("-s", good, program, "--", "--n", "400000", "--rate", "400000", "--output", output))
	if distinct := slices.Compact(published(t, output)); len(distinct) != 400000 {
		t.Errorf("%d distinct results, want 400000", len(distinct))
	}
}

// runs are the run files that a checkpoint lists, by name, and their paths.
func (c *Cluster) runs(checkpoint string) map[string]string {
	c.t.Helper()
	s, err := savepoint.Open(c.t.Context(), checkpoint)
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	all := map[string]string{}
	for _, op := range s.Metadata().Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				for _, f := range r.Files {
					all[f.Name] = filepath.Join(s.Base(), f.Name)
				}
			}
		}
	}
	return all
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
