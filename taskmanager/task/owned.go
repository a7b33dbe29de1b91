package task

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
)

// ownedStore is where the files of operators lie: the job's checkpoint folder. nil if
// the attempt has none.
func (t *Task) ownedStore() operator.OwnedStore {
	if t.o.Store == nil {
		return nil
	}
	return ownedStore{t.o.Store}
}

// ownedStore implements operator.OwnedStore.
type ownedStore struct{ store objstore.Store }

// Put implements operator.OwnedStore, and so do those below. A name is given once, so a
// file that is there is this one, put by an attempt to do so whose answer was lost.
func (s ownedStore) Put(ctx context.Context, name string, b []byte) error {
	err := objstore.Put(ctx, s.store, name, bytes.NewReader(b))
	if !errors.Is(err, objstore.ErrUnknown) {
		return err
	}
	r, opened := s.store.Open(ctx, name)
	if opened != nil {
		return err
	}
	defer r.Close()
	if r.Size() != int64(len(b)) {
		return err
	}
	return nil // its digest is compared when it is read
}

// maxOwned bounds the size of a file that is read.
const maxOwned = 1 << 30

func (s ownedStore) Get(ctx context.Context, f *metapb.OwnedFile) ([]byte, error) {
	store := s.store
	if f.BasePath != "" {
		var err error
		if store, err = objstore.Parse(f.BasePath); err != nil {
			return nil, err
		}
		if c, ok := store.(io.Closer); ok {
			defer c.Close()
		}
	}
	if f.Size > maxOwned {
		return nil, fmt.Errorf("%d bytes are more than a task-owned file may have", f.Size)
	}
	b, err := objstore.Get(ctx, store, cmp.Or(f.File, f.Name), int64(f.Size))
	if errors.Is(err, objstore.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", operator.ErrNotOwned, err)
	}
	return b, err
}

func (s ownedStore) Delete(ctx context.Context, names ...string) error {
	return s.store.Delete(ctx, names...)
}

func (s ownedStore) List(ctx context.Context, prefix string) (names []string, err error) {
	for info, err := range s.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		names = append(names, info.Name)
	}
	return names, nil
}
