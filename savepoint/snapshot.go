package savepoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
)

// Errors by what the caller does about them.
var (
	// ErrNotFound: there is no snapshot at the path.
	ErrNotFound = errors.New("no snapshot there")
	// ErrDamaged: bytes of the snapshot are missing or not what was written.
	ErrDamaged = errors.New("snapshot is damaged")
	// ErrNewer: a newer version of Weir wrote it.
	ErrNewer = errors.New("snapshot of a newer version")
	// ErrForeign: it is another program's, or says what is not allowed.
	ErrForeign = errors.New("not a snapshot of Weir")
	// ErrTarget: the target folder cannot be written to, or has something else in it.
	ErrTarget = errors.New("target folder cannot be used")
)

// Snapshot is one savepoint or checkpoint, opened for reading.
type Snapshot struct {
	meta   *metapb.CheckpointMetadata
	folder string // absolute, of the _metadata
	size   int64  // bytes of _metadata
	types  codec.Types
	read   *progress // of a copy; nil = nobody looks

	mu     sync.Mutex
	stores map[string]objstore.Store // guarded by mu: by base path
}

// Open reads the _metadata of the snapshot at path: its folder or the _metadata
// itself, as a path or a file:// URI. Runs are checked when they are read; Verify
// reads them all. Close it in the end.
func Open(ctx context.Context, path string) (*Snapshot, error) {
	return openAs(ctx, path, metadata.FileName)
}

// openAs is Open of a snapshot whose _metadata has that name.
func openAs(ctx context.Context, path, name string) (*Snapshot, error) {
	folder, err := folderOf(path)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{folder: folder, stores: map[string]objstore.Store{}}
	store, err := s.store(folder)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", path, err)
	}
	file, err := objstore.Get(ctx, store, name, metadata.MaxSize)
	if err == nil {
		s.size = int64(len(file))
		s.meta, err = decode(file)
	} else if errors.Is(err, objstore.ErrNotFound) {
		err = fmt.Errorf("%w: %s", ErrNotFound, whatIsIn(folder))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot %s: %w", path, err), s.Close())
	}
	return s, nil
}

// decode is metadata.Decode with the errors of this package.
func decode(file []byte) (*metapb.CheckpointMetadata, error) {
	m, err := metadata.Decode(file)
	switch {
	case err == nil:
		return m, nil
	case len(file) >= 4 && string(file[:4]) == flinkMagic:
		return nil, fmt.Errorf("%w: its _metadata is Flink's", ErrForeign)
	case errors.Is(err, metadata.ErrVersion):
		return nil, fmt.Errorf("%w: %w", ErrNewer, err)
	case errors.Is(err, metadata.ErrInvalid):
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
}

// flinkMagic begins Flink's _metadata.
const flinkMagic = "\x49\x60\x67\x2d"

// folderOf is the absolute folder of the snapshot at path.
func folderOf(path string) (string, error) {
	local, err := objstore.LocalPath(path)
	if err != nil {
		return "", fmt.Errorf("snapshot %s: %w", path, err)
	}
	st, err := os.Stat(local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if filepath.Base(local) == metadata.FileName {
			if st, err := os.Stat(filepath.Dir(local)); err == nil && st.IsDir() {
				return filepath.Dir(local), nil // says what the folder has instead
			}
		}
		return "", fmt.Errorf("snapshot %s: %w: it does not exist", path, ErrNotFound)
	case err != nil:
		return "", fmt.Errorf("snapshot %s: %w", path, err)
	case st.IsDir():
		return local, nil
	case filepath.Base(local) == metadata.FileName:
		return filepath.Dir(local), nil
	}
	return "", fmt.Errorf("snapshot %s: %w: it is a file, want the folder of a snapshot or its %s", path, ErrNotFound, metadata.FileName)
}

// whatIsIn says what a folder without _metadata is.
func whatIsIn(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err.Error()
	}
	var inside []string
	for _, e := range entries {
		if e.Name() == deleting {
			return "its deletion was begun and not finished: delete it again"
		}
		if _, err := os.Stat(filepath.Join(folder, e.Name(), metadata.FileName)); err == nil {
			inside = append(inside, e.Name())
		}
	}
	switch {
	case len(entries) == 0:
		return "the folder is empty"
	case len(inside) > 0:
		slices.SortFunc(inside, newerFirst)
		return fmt.Sprintf("the folder is not a snapshot but holds some: say which, such as %s", filepath.Join(folder, inside[0]))
	}
	return fmt.Sprintf("the folder has no %s: it is not a snapshot, or one that was never completed", metadata.FileName)
}

// newerFirst orders names such as chk-9 and chk-10 by their numbers, greatest first.
func newerFirst(a, b string) int {
	if len(a) != len(b) {
		return len(b) - len(a)
	}
	return strings.Compare(b, a)
}

// Metadata is the content of _metadata. It must not be changed.
func (s *Snapshot) Metadata() *metapb.CheckpointMetadata { return s.meta }

// Folder is the absolute folder of the _metadata.
func (s *Snapshot) Folder() string { return s.folder }

// Base is the absolute folder that the names of run files are relative to.
func (s *Snapshot) Base() string {
	if s.meta.SelfContained {
		return s.folder
	}
	return filepath.Dir(s.folder)
}

// Close releases the folders that were read from.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, store := range s.stores {
		if c, ok := store.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	s.stores = nil
	return errors.Join(errs...)
}

// store is the store in folder base, opened once.
func (s *Snapshot) store(base string) (objstore.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store := s.stores[base]; store != nil {
		return store, nil
	}
	store, err := objstore.OpenExisting(base)
	if err != nil {
		return nil, err
	}
	s.stores[base] = store
	return store, nil
}

// opener opens the files of r where they are.
func (s *Snapshot) opener(r *metapb.Run) run.Opener {
	base := r.BasePath
	if base == "" {
		base = s.Base()
	}
	return func(ctx context.Context, name string) (objstore.Reader, error) {
		store, err := s.store(base)
		if err != nil {
			return nil, err
		}
		r, err := store.Open(ctx, name)
		if err != nil || s.read == nil {
			return r, err
		}
		return countedReader{r, s.read}, nil
	}
}
