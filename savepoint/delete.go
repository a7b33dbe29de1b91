package savepoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
)

// Deleted is what Delete has removed.
type Deleted struct {
	Location string `json:"location"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"` // of the runs that went
	// Kept counts the run files that other checkpoints of the same folder still list, or
	// that lie elsewhere.
	Kept int `json:"kept"`
}

// deleting is the name that the content of _metadata has while a snapshot is deleted: whoever
// deletes it again finds in it what is left to be done.
const deleting = "_deleting"

// Delete removes the snapshot at path: _metadata first, so that nobody finds a half of
// it, then the runs that nobody else lists. Of a checkpoint those are the ones that no
// other checkpoint in its job's folder lists; if one of those can't be read, or a job
// still writes there, runs could be lost that are needed, so the caller makes sure that
// the job has ended. Runs of a snapshot that was restored from are never removed.
//
// What a deletion that was cut off has left goes when it is deleted again; until then it is
// no snapshot any more. A folder of which the _metadata is damaged is not touched: what
// belongs to it isn't known.
func Delete(ctx context.Context, path string) (Deleted, error) {
	s, err := Open(ctx, path)
	if errors.Is(err, ErrNotFound) {
		half, herr := openAs(ctx, path, deleting)
		if errors.Is(herr, ErrNotFound) {
			return Deleted{}, err
		}
		s, err = half, herr
	}
	if err != nil {
		return Deleted{}, err
	}
	d, err := s.delete(ctx)
	if err != nil {
		err = fmt.Errorf("delete snapshot %s: %w", s.folder, err)
	}
	return d, errors.Join(err, s.Close())
}

func (s *Snapshot) delete(ctx context.Context) (Deleted, error) {
	d := Deleted{Location: s.folder}
	needed, err := s.neededByOthers(ctx)
	if err != nil {
		return d, err
	}
	base, err := s.store(s.Base())
	if err != nil {
		return d, err
	}
	folder, err := s.store(s.folder)
	if err != nil {
		return d, err
	}
	if err := begin(s.folder); err != nil {
		return d, err
	}
	names, kept := s.ownFiles(needed)
	d.Kept = kept
	for name, size := range names {
		if err := base.Delete(ctx, name); err != nil {
			return d, err
		}
		d.Files++
		d.Bytes += size
	}
	if err := folder.Delete(ctx, deleting); err != nil {
		return d, err
	}
	if err := os.Remove(s.folder); err != nil && !errors.Is(err, os.ErrNotExist) {
		return d, fmt.Errorf("something else lies in the folder: %w", err)
	}
	if !s.meta.SelfContained && filepath.Base(s.Base()) == s.meta.JobId {
		_ = os.Remove(s.Base()) // only if it was the job's last
	}
	return d, nil
}

// begin gives _metadata in folder its other name, as far as that has not been done. It needs
// no room: a full disk is a reason to delete.
func begin(folder string) error {
	err := os.Rename(filepath.Join(folder, metadata.FileName), filepath.Join(folder, deleting))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close()) // before anything of it goes
}

// ownFiles are the files that go with the snapshot, with their sizes as far as they are
// known; kept counts listings of those that stay.
func (s *Snapshot) ownFiles(needed map[string]bool) (names map[string]int64, kept int) {
	names = map[string]int64{}
	for _, op := range s.meta.Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				for _, f := range r.Files {
					if r.BasePath != "" || needed[f.Name] {
						kept++
					} else {
						names[f.Name] = int64(cmp.Or(f.PackSize, f.Size))
					}
				}
			}
		}
	}
	for _, p := range channelParts(s.meta) {
		if p.c.File != "" && !needed[p.c.File] {
			names[p.c.File] = 0
		}
	}
	for _, p := range ownedParts(s.meta, s.meta.SelfContained) {
		if p.f.BasePath == "" && !needed[p.place()] {
			names[p.place()] = int64(p.f.Size)
		}
	}
	return names, kept
}

// neededByOthers are the files that other checkpoints of the job's folder list.
func (s *Snapshot) neededByOthers(ctx context.Context) (map[string]bool, error) {
	needed := map[string]bool{}
	if s.meta.SelfContained {
		return needed, nil
	}
	siblings, err := os.ReadDir(s.Base())
	if err != nil {
		return nil, err
	}
	for _, e := range siblings {
		at := filepath.Join(s.Base(), e.Name())
		if at == s.folder || !strings.HasPrefix(e.Name(), "chk-") {
			continue
		}
		other, err := Open(ctx, at)
		if errors.Is(err, ErrNotFound) {
			continue // never completed
		}
		if err != nil {
			return nil, fmt.Errorf("which of its files others need can't be told: %w", err)
		}
		addFiles(needed, other.meta)
		if err := other.Close(); err != nil {
			return nil, err
		}
	}
	return needed, nil
}

// addFiles adds the names of the files that m needs below its own base.
func addFiles(needed map[string]bool, m *metapb.CheckpointMetadata) {
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				for _, f := range r.Files {
					if r.BasePath == "" {
						needed[f.Name] = true
					}
				}
			}
			for _, c := range sub.ChannelStates {
				needed[c.File] = true
			}
			for _, f := range sub.Owned {
				needed[f.Name] = true
			}
		}
	}
	for _, name := range m.StillReads {
		needed[name] = true
	}
}

// globEscape makes path match itself only.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
