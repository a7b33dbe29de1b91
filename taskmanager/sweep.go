package taskmanager

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// sweepInterval is how often what ended jobs left behind is looked over.
	sweepInterval = time.Hour
	// keepFor is how long it is kept after its last change: as long as the JobManager
	// keeps ended jobs by default.
	keepFor = 7 * 24 * time.Hour
)

// remove deletes the folder of an ended worker, which may hold gigabytes of state, in a
// goroutine of its own: the loop has heartbeats to send.
func (t *TaskManager) remove(dir string) {
	t.cleaning.Go(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.log.Warn("folder of an ended worker stays behind until the next sweep", "cause", err)
		}
	})
}

// sweepNow removes logs of jobs that have no worker here, binaries that none of the
// workers runs, and folders of workers that a killed agent left, once they are old. It
// runs beside the loop; what can't be removed is tried again at the next sweep.
func (t *TaskManager) sweepNow() {
	jobs, binaries, folders := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, w := range t.workers {
		jobs[w.start.JobId] = true
		binaries[binaryName(w.start.BinarySha256)] = true
		folders[filepath.Base(w.data)] = true
	}
	// A folder of a worker is of use to nobody but that worker. Those of workers that
	// start from here on are not in the list.
	workers := filepath.Join(t.cfg.Data, "workers")
	left, err := os.ReadDir(workers)
	oldest := time.Now().Add(-keepFor)
	t.cleaning.Go(func() {
		errs := []error{
			err,
			removeOld(filepath.Join(t.cfg.Data, "logs"), oldest, jobs),
			removeOld(filepath.Join(t.cfg.Data, "binaries"), oldest, binaries),
		}
		for _, e := range left {
			if !folders[e.Name()] {
				errs = append(errs, os.RemoveAll(filepath.Join(workers, e.Name())))
			}
		}
		if err := errors.Join(errs...); err != nil {
			t.log.Warn("some of what ended jobs left stays behind", "cause", err)
		}
	})
}

// removeOld removes the entries of dir that nothing in them changed since oldest,
// except those in keep.
func removeOld(dir string, oldest time.Time, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if keep[e.Name()] || newest(path).After(oldest) {
			continue
		}
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// newest is the last change of path or of anything in it; the zero time if it is
// gone.
func newest(path string) (at time.Time) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
		return nil
	})
	return at
}
