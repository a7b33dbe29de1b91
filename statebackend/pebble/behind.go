package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/objstorage/remote"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/runlist"
)

// behind is the storage, to Pebble, of files that are not in the tier's folder yet: it
// reads those of the run list, and does nothing else.
type behind struct {
	closing atomic.Bool // the tier is being closed; see unsynced.Open

	mu    sync.Mutex
	files map[string]*runlist.Behind // guarded by mu: by name
}

var errReadOnly = errors.New("weir: BUG: the cold tier writes to files that it only reads")

func (s *behind) add(b *runlist.Behind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string]*runlist.Behind{}
	}
	s.files[b.Name()] = b
}

func (s *behind) file(name string) (*runlist.Behind, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.files[name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("file %s of the cold tier: %w", name, objstore.ErrNotFound)
}

// ReadObject implements remote.Storage.
func (s *behind) ReadObject(ctx context.Context, name string) (remote.ObjectReader, int64, error) {
	b, err := s.file(name)
	if err != nil {
		return nil, 0, err
	}
	r, err := b.Open(ctx)
	if err != nil {
		return nil, 0, err
	}
	return objectReader{r, &s.closing}, b.Size(), nil
}

// Size implements remote.Storage.
func (s *behind) Size(name string) (int64, error) {
	b, err := s.file(name)
	if err != nil {
		return 0, err
	}
	return b.Size(), nil
}

// IsNotExistError implements remote.Storage.
func (s *behind) IsNotExistError(err error) bool { return errors.Is(err, objstore.ErrNotFound) }

// CreateObject implements remote.Storage.
func (s *behind) CreateObject(string) (io.WriteCloser, error) { return nil, errReadOnly }

// List implements remote.Storage.
func (s *behind) List(string, string) ([]string, error) { return nil, errReadOnly }

// Delete implements remote.Storage. Pebble may ask for it when it has no use for a file
// any more: it is the JobManager's to delete.
func (s *behind) Delete(string) error { return nil }

// Close implements io.Closer.
func (s *behind) Close() error { return nil }

type objectReader struct {
	r       objstore.Reader
	closing *atomic.Bool
}

// ReadAt implements remote.ObjectReader.
func (o objectReader) ReadAt(_ context.Context, p []byte, off int64) error {
	if o.closing.Load() {
		return errClosing
	}
	return objstore.ReadFull(o.r, p, off)
}

// Close implements remote.ObjectReader.
func (o objectReader) Close() error { return o.r.Close() }
