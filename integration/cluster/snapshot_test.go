package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// TestSnapshotVerbs: what can be done with the checkpoint that a cancelled job leaves,
// without a cluster.
func TestSnapshotVerbs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, slots: 2})
	dir := filepath.Join(c.dir, "checkpoints")
	id := c.counting("-D", "execution.checkpointing.dir="+dir)
	c.jobUntil(id, "has two checkpoints", hasCheckpoint(2))
	c.must("cancel", id)
	path := c.jobUntil(id, "is CANCELED", func(j *api.Job) bool { return j.State == api.StateCanceled }).LastCheckpoint.Path
	offline := func(args ...string) said {
		return begin(t, append([]string{"-m", "127.0.0.1:1", "snapshot"}, args...)...).await()
	}
	good := func(args ...string) said {
		t.Helper()
		s := offline(args...)
		if s.code != 0 {
			t.Fatalf("weir snapshot %s: %v", strings.Join(args, " "), s)
		}
		return s
	}
	if s := good("list", dir, "-o", "name"); !strings.Contains(s.stdout, path+"\n") {
		t.Errorf("list: %v lacks %s", s, path)
	}
	d := object(t, good("describe", path, "-o", "json").stdout)
	has(t, "describe", d, "location", "type", "job-id", "checkpoint-id", "operators", "self-contained", "refers-to")
	if d["job-id"] != id || d["self-contained"] != false || d["type"] != "checkpoint" {
		t.Errorf("describe: %v", d)
	}
	if s := good("describe", filepath.Join(path, "_metadata")); !strings.Contains(s.stdout, "count") {
		t.Errorf("describe does not name the operator: %v", s)
	}
	good("verify", path)
	savepoint := filepath.Join(c.dir, "moved", "savepoint")
	for _, kind := range []string{"native", "canonical"} {
		to := filepath.Join(c.dir, kind)
		if s := good("copy", path, to, "--type", kind); s.lastLine() != to {
			t.Errorf("copy: %v", s)
		}
		good("verify", to)
		if d := object(t, good("describe", to, "-o", "json").stdout); d["type"] != "savepoint-"+kind || d["self-contained"] != true {
			t.Errorf("a %s copy is %v", kind, d)
		}
		if s := good("diff", path, to); !strings.Contains(s.stdout, "in both") {
			t.Errorf("diff: %v", s)
		}
	}
	complaint(t, offline("copy", path, dir), 4, "TARGET_FOLDER")
	if err := os.MkdirAll(filepath.Dir(savepoint), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(c.dir, "canonical"), savepoint); err != nil {
		t.Fatal(err)
	}
	good("verify", savepoint)
	// One bit of one file.
	flipAnywhere(t, savepoint)
	complaint(t, offline("verify", savepoint), 5, "is damaged", "SNAPSHOT_DAMAGED")
	complaint(t, offline("verify", c.dir), 3, "SNAPSHOT_NOT_FOUND")
	complaint(t, offline("delete", path, "--offline"), 2, "--yes")
	complaint(t, offline("delete", path, "--yes"), 6, "no JobManager answers")
	good("delete", path, "--yes", "--offline")
	complaint(t, offline("verify", path), 3, "SNAPSHOT_NOT_FOUND")
}

// flipAnywhere flips a bit in the middle of the largest file below dir.
func flipAnywhere(t *testing.T, dir string) {
	t.Helper()
	largest, most := "", int64(0)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > most {
			largest, most = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatalf("no file below %s: %v", dir, err)
	}
	b, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.Chmod(largest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
