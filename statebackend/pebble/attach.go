package pebble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/remote"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend/runlist"
)

const (
	// clippedFiles is the place, to Pebble, of files of which only a part counts: the
	// tier's own folder.
	clippedFiles remote.Locator = "clipped"
	// behindFiles is that of files that are read elsewhere until they are in the folder.
	behindFiles remote.Locator = "behind"
	// creator is an id that Pebble wants before it takes such files. Nothing is shared
	// by it: any number will do.
	creator = 1
)

// attach adds the runs of a list, oldest first. Files of which only a part counts are
// attached with bounds, nothing is rewritten: they stay in the folder, which goes with
// the tier. What lies outside the subtask's range may come along: nobody asks for it.
func (c *cold) attach(ctx context.Context, runs []runlist.Linked) error {
	for _, r := range runs {
		if r.Clip == nil {
			if err := c.ingest(ctx, r.Files); err != nil {
				return err
			}
			continue
		}
		if err := c.closeIter(); err != nil {
			return err
		}
		var external []pdb.ExternalFile
		for i, f := range r.Files {
			file := pdb.ExternalFile{
				Locator: clippedFiles, ObjName: filepath.Base(f), Size: uint64(r.Clip[i].Size),
				StartKey: r.Clip[i].From, EndKey: r.Clip[i].To, HasPointKey: true,
			}
			if r.Behind != nil && r.Behind[i] != nil {
				file.Locator, file.ObjName = behindFiles, r.Behind[i].Name()
				c.behind.add(r.Behind[i])
			}
			external = append(external, file)
		}
		if _, err := c.db.IngestExternalFiles(ctx, external); err != nil {
			return fmt.Errorf("attach %d clipped files to the cold tier: %w", len(external), err)
		}
	}
	return nil
}

// unsynced is a file system that leaves it to the kernel when bytes reach the disk:
// the tier is a cache that dies with its attempt, and a sync takes milliseconds of
// the mailbox goroutine.
type unsynced struct {
	vfs.FS
	closing *atomic.Bool
}

func (u unsynced) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// Create implements vfs.FS, and so do those below.
func (u unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := u.file(u.FS.Create(name, c))
	if err == nil && strings.HasSuffix(name, ".sst") {
		f = untilClosing{f, u.closing}
	}
	return f, err
}

func (u unsynced) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := u.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return untilClosing{f, u.closing}, nil
}

// untilClosing is a table that can be read and written until the tier is being closed:
// from then on only a compaction does, Pebble waits for its compactions, and one that
// fails has ended, at the next block that is not in the cache or at the end of a table
// (0.7 s for ~100 MB otherwise, which a failover would wait for).
type untilClosing struct {
	vfs.File
	closing *atomic.Bool
}

var errClosing = errors.New("the cold tier is being closed")

// ReadAt implements vfs.File.
func (f untilClosing) ReadAt(p []byte, off int64) (int, error) {
	if f.closing.Load() {
		return 0, errClosing
	}
	return f.File.ReadAt(p, off)
}

// Write implements vfs.File.
func (f untilClosing) Write(p []byte) (int, error) {
	if f.closing.Load() {
		return 0, errClosing
	}
	return f.File.Write(p)
}

func (u unsynced) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return u.file(u.FS.OpenReadWrite(name, c, opts...))
}

func (u unsynced) OpenDir(name string) (vfs.File, error) { return u.file(u.FS.OpenDir(name)) }

func (u unsynced) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return u.file(u.FS.ReuseForWrite(from, to, c))
}

func (u unsynced) Unwrap() vfs.FS { return u.FS }

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                         { return nil }
func (unsyncedFile) SyncData() error                     { return nil }
func (unsyncedFile) SyncTo(int64) (full bool, err error) { return false, nil }
