package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/stream"
)

// Commit implements operator.Committer: it publishes the pending files that
// checkpoint id, or an earlier one, names.
func (w *files) Commit(id stream.CheckpointID) error {
	var folders []string
	all := w.list.Get()
	left := make([]pending, 0, len(all))
	for _, p := range all {
		if p.Checkpoint == 0 || p.Checkpoint > uint64(id) {
			left = append(left, p)
			continue
		}
		if err := w.publish(p); err != nil {
			return fmt.Errorf("publish output file: %w", err)
		}
		if dir := filepath.Dir(p.Finished); !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	for _, dir := range folders {
		if err := syncFolder(dir); err != nil {
			return fmt.Errorf("publish output files: %w", err)
		}
	}
	w.list.Set(left)
	w.restored = false // what was restored is named by the restored checkpoint
	return nil
}

// publish gives a pending file its final name, if it has not got it yet. Nothing is
// overwritten.
func (w *files) publish(p pending) error {
	info, err := os.Lstat(p.Unfinished)
	if errors.Is(err, fs.ErrNotExist) {
		return w.published(p)
	}
	if err != nil {
		return err
	}
	if info.Size() != p.Size {
		return fmt.Errorf("%s has %d bytes, %d were written and made durable", p.Unfinished, info.Size(), p.Size)
	}
	// A link and a removal are a rename that fails if there is a file of that name.
	err = os.Link(p.Unfinished, p.Finished)
	switch {
	case err == nil:
		return removed(p.Unfinished)
	case errors.Is(err, fs.ErrNotExist):
		return w.published(p) // by another job, just now
	case errors.Is(err, fs.ErrExist):
		if other, err := os.Lstat(p.Finished); err == nil && os.SameFile(info, other) {
			return removed(p.Unfinished) // an attempt died between the link and the removal
		}
		return fmt.Errorf("%s can't become %s: both exist", p.Unfinished, p.Finished)
	}
	// A file system without hard links. Names are given once, so nobody else makes the
	// file between the two calls.
	if _, err := os.Lstat(p.Finished); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s can't become %s: both exist", p.Unfinished, p.Finished)
	}
	return os.Rename(p.Unfinished, p.Finished)
}

// removed removes a file that has its final name, too. Jobs that were started from one
// savepoint publish what it names at the same time.
func removed(unfinished string) error {
	if err := os.Remove(unfinished); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// published checks that a file that is not pending any more is finished.
func (w *files) published(p pending) error {
	info, err := os.Lstat(p.Finished)
	switch {
	case err == nil && info.Size() == p.Size:
		return nil
	case err == nil:
		return fmt.Errorf("%s is gone, and %s has %d bytes instead of %d", p.Unfinished, p.Finished, info.Size(), p.Size)
	case errors.Is(err, fs.ErrNotExist) && w.restored:
		// An earlier attempt has published it and its reader has removed it since; or it is
		// lost. To fail here would end every job whose output is consumed.
		w.setup.Log().Error("output file is neither pending nor finished: taken as published and removed since",
			"unfinished", p.Unfinished, "finished", p.Finished, "bytes", p.Size)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is gone, and there is no %s", p.Unfinished, p.Finished)
	}
	return err
}

// sweep removes the unfinished files of older incarnations that no restored state
// names. Subtask 0 does it, which has all of the state.
func (w *files) sweep() error {
	entries, err := os.ReadDir(w.config.dir)
	if err != nil {
		return fmt.Errorf("sweep output folder: %w", err)
	}
	restored := w.list.Get()
	for _, e := range entries {
		// By name alone: the folder may have been given under another path then.
		named := slices.ContainsFunc(restored, func(p pending) bool { return filepath.Base(p.Unfinished) == e.Name() })
		if named || !w.names.leftover(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(w.config.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep output folder: %w", err)
		}
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
