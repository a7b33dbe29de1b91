package taskmanager

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// sweepInterval is how often what ended jobs left behind is looked over.
	sweepInterval = time.Hour
	// keepFor is how long it is kept after its last change, and keepMost of how many jobs:
	// as the JobManager keeps ended jobs by default.
	keepFor  = 7 * 24 * time.Hour
	keepMost = 100
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
// workers runs, and folders of workers that a killed agent left, once they are old or
// there are many younger ones. It
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
			removeOld(filepath.Join(t.cfg.Data, "logs"), oldest, keepMost, jobs),
			removeOld(filepath.Join(t.cfg.Data, "binaries"), oldest, keepMost, binaries),
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

// removeOld removes the entries of dir that nothing in them changed since oldest, and
// those that most others are younger than, except those in keep.
func removeOld(dir string, oldest time.Time, most int, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type aged struct {
		path string
		at   time.Time
	}
	var all []aged
	for _, e := range entries {
		if !keep[e.Name()] {
			path := filepath.Join(dir, e.Name())
			all = append(all, aged{path, newest(path)})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return b.at.Compare(a.at) }) // youngest first
	var errs []error
	for i, e := range all {
		if i >= most || !e.at.After(oldest) {
			errs = append(errs, os.RemoveAll(e.path))
		}
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
