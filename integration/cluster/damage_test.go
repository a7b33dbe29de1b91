package cluster

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// TestFullDisk: checkpoints fail while the disk is full, and the result is right.
func TestFullDisk(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1, slots: 2})
	for name, tolerable := range map[string]string{"tolerated": "1000", "restarted": "0"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(c.dir, "small-"+name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
				t.Skipf("can't mount a small file system: %v", err)
			}
			defer func() {
				if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}()
			id := c.counting("-D", "execution.checkpointing.dir="+dir, "-D", "execution.checkpointing.tolerable-failed-checkpoints="+tolerable)
			j := c.jobUntil(id, "has a failed checkpoint, or a restart", func(j *api.Job) bool {
				return j.Checkpoints.Failed > 2 || j.Restarts > 0
			})
			if text := fmt.Sprintf("%+v %+v", j.Checkpoints.History, j.LastFailure); !strings.Contains(text, "no space left on device") || !strings.Contains(text, dir) {
				t.Errorf("the full disk is not named: %s", text)
			}
			if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=500m"); err != nil {
				t.Fatal(err)
			}
			j = c.finished(id)
			if (j.Restarts > 0) != (name == "restarted") {
				t.Errorf("%d restarts: %+v", j.Restarts, j.Failures)
			}
			if !strings.HasSuffix(j.Result.ClosingLine, line3M) {
				t.Errorf("result %+v", j.Result)
			}
		})
	}
}

// damage says what happens to the file at path.
type damage func(t *testing.T, path string)

func truncate(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 0x10
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// files lists the files of a checkpoint folder of a job: _metadata by checkpoint, and
// all others.
func files(t *testing.T, job string) (metadata map[uint64]string, others []string) {
	t.Helper()
	metadata = map[uint64]string{}
	err := filepath.WalkDir(job, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if e.Name() != "_metadata" {
			others = append(others, path)
			return nil
		}
		var id uint64
		if _, err := fmt.Sscanf(filepath.Base(filepath.Dir(path)), "chk-%d", &id); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		metadata[id] = path
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return metadata, others
}

// TestDamage: files of a retained checkpoint are damaged while the JobManager is away.
// Newer ones only: an older checkpoint is restored, and the log says so. All of them:
// the job fails, names a file, and keeps the rest.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]damage{"truncated": truncate, "flipped": flip} {
		for _, runs := range []bool{false, true} {
			for _, all := range []bool{false, true} {
				what := "metadata"
				if runs {
					what = "run"
				}
				t.Run(fmt.Sprintf("%s/%s/all=%v", what, name, all), func(t *testing.T) { damaged(t, d, runs, all) })
			}
		}
	}
}

func damaged(t *testing.T, d damage, runs, all bool) {
	c := newCluster(t, layout{taskManagers: 1, slots: 2})
	id := c.counting("-D", "execution.checkpointing.num-retained=50", "-D", "execution.checkpointing.interval=100ms")
	j := c.jobUntil(id, "has checkpoints", hasCheckpoint(4))
	c.managers[0].kill(t)
	c.killWorker(j, c.tasks[0]) // else the job goes on, and reads no checkpoint
	newest := j.LastCheckpoint.ID
	metadata, others := files(t, filepath.Dir(j.LastCheckpoint.Path))
	first := newest // the oldest checkpoint that is damaged
	if all {
		first = 0
	}
	var victims []string
	if runs {
		keep, err := os.Stat(metadata[first-1])
		if err != nil && !all {
			t.Fatal(err)
		}
		for _, path := range others {
			info, err := os.Stat(path)
			if err == nil && info.Size() > 0 && (all || info.ModTime().After(keep.ModTime())) {
				victims = append(victims, path)
			}
		}
	} else {
		for n, path := range metadata {
			if n >= first {
				victims = append(victims, path)
			}
		}
	}
	if len(victims) == 0 {
		t.Fatalf("nothing to damage among %v and %v", metadata, others)
	}
	for _, path := range victims {
		d(t, path)
	}
	c.managers[0].start(t)
	if !all {
		j = c.finished(id)
		if from := j.Checkpoints.RestoredFrom; from == nil || from.ID >= newest {
			t.Errorf("restored from %+v; %d and newer ones are damaged", from, newest)
		}
		if !strings.HasSuffix(j.Result.ClosingLine, line3M) {
			t.Errorf("result %+v", j.Result)
		}
	} else {
		s := c.run("wait", id, "--timeout", "50s")
		if s.code != 7 || !strings.Contains(s.stderr, "FAILED") {
			t.Errorf("wait for a job without a whole checkpoint: %v", s)
		}
		j = c.describe(id)
		if text := fmt.Sprintf("%+v", j.Failures); j.LastFailure == nil || !names(text, victims) {
			t.Errorf("the failures name no damaged file: %s", text)
		}
		for _, path := range append(victims, others...) {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("a file of the failed job is gone: %v", err)
			}
		}
	}
	if log := c.managers[0].text(); !names(log, victims) {
		t.Errorf("the log names none of the damaged files %v:\n%s", victims, log)
	}
}

// names says whether the text names one of these files, by the end of its path.
func names(text string, paths []string) bool {
	for _, p := range paths {
		if strings.Contains(text, filepath.Join(filepath.Base(filepath.Dir(p)), filepath.Base(p))) {
			return true
		}
	}
	return false
}
