package run

import (
	"context"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// Read yields the live entries of the list within groups: every Entry is a KindSet.
func (l List) Read(ctx context.Context, open Opener, groups stream.KeyGroupRange) *Merged {
	return Merge(l.iters(ctx, open, groups), true)
}

func (l List) iters(ctx context.Context, open Opener, groups stream.KeyGroupRange) []Source {
	s := make([]Source, len(l))
	for i, r := range l {
		s[i] = NewIter(ctx, r, open, groups)
	}
	return s
}

// schemas is the run's schema table, empty if no file of the run is visible.
func (it *Iter) schemas() ([]Schema, error) {
	if it.table == nil && it.err == nil {
		it.advance()
	}
	if it.table == nil {
		return nil, it.err
	}
	return it.table.prop.Schemas, nil
}

// upload puts a run's files into a store.
func upload(t testing.TB, r Run, s objstore.Store, fs vfs.FS, dir string) {
	t.Helper()
	for _, f := range r.Files {
		rd, err := LocalOpener(fs, dir)(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := objstore.Put(t.Context(), s, f.Name, io.NewSectionReader(rd, 0, rd.Size())); err != nil {
			t.Fatal(err)
		}
		if err := rd.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
