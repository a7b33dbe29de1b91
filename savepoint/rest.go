package savepoint

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/statebackend/objstore"
)

// DeleteRest removes what a deletion that was cut off has left of the self-contained
// snapshot at path. Delete takes the _metadata first, so that it is a folder without one;
// if it holds anything but files of a snapshot, or folders, nothing is touched.
func DeleteRest(ctx context.Context, path string) error {
	folder, err := objstore.LocalPath(path)
	if err != nil {
		return err
	}
	if filepath.Base(folder) == metadata.FileName {
		folder = filepath.Dir(folder)
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !isOurs(e.Name()) || e.Name() == metadata.FileName {
			return nil
		}
	}
	for _, e := range entries {
		err = errors.Join(err, context.Cause(ctx), os.Remove(filepath.Join(folder, e.Name())))
	}
	if err == nil {
		err = os.Remove(folder)
	}
	return err
}
