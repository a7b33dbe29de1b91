package weirtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
)

// disk holds the task-owned files of an operator under test: it outlives its failures.
type disk struct {
	mu    sync.Mutex
	files map[string][]byte // guarded by mu
}

var _ operator.OwnedStore = (*disk)(nil)

// Put implements operator.OwnedStore, and so do those below.
func (d *disk) Put(_ context.Context, name string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] != nil {
		return fmt.Errorf("%s is there already", name)
	}
	d.files[name] = bytes.Clone(b)
	return nil
}

func (d *disk) Get(_ context.Context, f *metapb.OwnedFile) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.files[f.Name]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("%w: %s", operator.ErrNotOwned, f.Name)
}

func (d *disk) Delete(_ context.Context, names ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		delete(d.files, name)
	}
	return nil
}

func (d *disk) List(_ context.Context, prefix string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.files)), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

// OwnedFiles are the names of the task-owned files that the operator, or those before it,
// have written and not deleted.
func (h *Harness[T, B]) OwnedFiles() []string {
	names, err := h.disk.List(h.t.Context(), "")
	if err != nil {
		h.t.Fatal(err)
	}
	return names
}
