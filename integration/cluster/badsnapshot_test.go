package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStartFromNoSnapshot: what is no snapshot, or not a whole one, starts no job.
func TestStartFromNoSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 2})
	id := c.started()
	good := c.must("savepoint", id, filepath.Join(c.dir, "savepoints"), "--type", "native").lastLine()
	c.must("cancel", id)
	dir := filepath.Join(c.dir, "bad")
	damaged := func(name string, change func(folder string)) string {
		t.Helper()
		folder := filepath.Join(dir, name)
		if err := os.CopyFS(folder, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		change(folder)
		return folder
	}
	meta := func(change func(b []byte) []byte) func(string) {
		return func(folder string) {
			path := filepath.Join(folder, "_metadata")
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	runs := func(folder string) []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(folder, "*.sst"))
		if err != nil || len(all) == 0 {
			t.Fatalf("no runs in %s: %v", folder, err)
		}
		return all
	}
	one := filepath.Base(runs(good)[0])
	for path, want := range map[string]struct {
		code  int
		words []string
	}{
		filepath.Join(dir, "nothing"): {3, []string{"SNAPSHOT_NOT_FOUND"}},
		damaged("none", func(f string) { _ = os.RemoveAll(f); _ = os.Mkdir(f, 0o700) }): {3, []string{"SNAPSHOT_NOT_FOUND", "empty"}},
		runs(good)[0]: {3, []string{"SNAPSHOT_NOT_FOUND", "it is a file"}},
		damaged("cut", meta(func(b []byte) []byte { return b[:len(b)-1] })):                  {5, []string{"SNAPSHOT_DAMAGED"}},
		damaged("flipped", meta(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })):       {5, []string{"SNAPSHOT_DAMAGED"}},
		damaged("flink", meta(func([]byte) []byte { return []byte("\x49\x60\x67\x2d...") })): {5, []string{"SNAPSHOT_FOREIGN", "Flink"}},
	} {
		s := c.run("run", "-s", path, bench(t), "--", "--workload", "count", "--n", "3000000", "--keys", "100000")
		complaint(t, s, want.code, append(want.words, path)...)
	}
	if jobs := c.list(); len(jobs) != 1 {
		t.Errorf("%d jobs were accepted", len(jobs)-1)
	}
	// A run that is missing, and one that was changed, are found when they are read: by
	// then the job is there, and it says which file of which operator.
	for name, change := range map[string]func(folder string){
		"half": func(f string) {
			if err := os.Remove(filepath.Join(f, one)); err != nil {
				t.Fatal(err)
			}
		},
		"bit": func(f string) { flipAnywhere(t, f) },
	} {
		folder := damaged(name, change)
		s := c.run("run", "-s", folder, "-D", "restart-strategy.type=none", bench(t), "--", "--workload", "count", "--n", "3000000", "--keys", "100000", "--parallelism", "2")
		if s.code != 5 && s.code != 7 || !strings.Contains(s.stderr, ".sst") || !strings.Contains(s.stderr, "count") {
			t.Errorf("%s: %v", name, s)
		}
	}
	c.restored(good)
}

// TestSavepointOnFullDisk: a savepoint that finds no room is an error and nothing else.
func TestSavepointOnFullDisk(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 2})
	small := filepath.Join(c.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("can't mount a small file system: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	id := c.started()
	for _, kind := range []string{"canonical", "native"} {
		s := c.run("savepoint", id, small, "--type", kind)
		if s.code == 0 || !strings.Contains(s.stderr, "no space left on device") || !strings.Contains(s.stderr, small) {
			t.Errorf("%s: %v", kind, s)
		}
		left, err := os.ReadDir(small)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: %d files are left, %v", kind, len(left), err)
		}
	}
	if j := c.finished(id); !strings.HasSuffix(j.Result.ClosingLine, line3M) || j.Restarts > 0 || j.Checkpoints.Failed > 0 {
		t.Errorf("the job is the worse for it: %+v, %d restarts, %+v", j.Result, j.Restarts, j.Checkpoints)
	}
	// A stop has ended the job before it copies: the checkpoint is kept, and it is said where.
	s := c.run("stop", c.started(), "-p", small)
	complaint(t, s, 4, "no space left on device", "the job has stopped, and its state is kept in ")
	_, kept, _ := strings.Cut(s.stderr, "its state is kept in ")
	kept, _, _ = strings.Cut(kept, " ")
	c.restored(strings.TrimSpace(kept))
}
