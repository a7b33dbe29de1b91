package runlist

import (
	"bytes"
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// INTERIM until statebackend/run is there.

type writer struct {
	w    *sstable.Writer
	path string
}

func newWriter(path string) (*writer, error) {
	f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &writer{sstable.NewWriter(objstorageprovider.NewFileWritable(f), sstable.WriterOptions{TableFormat: sstable.TableFormatPebblev6, Compression: sstable.SnappyCompression}), path}, nil
}

func (w *writer) set(k, v []byte) error { return w.w.Set(k, v) }
func (w *writer) delete(k []byte) error { return w.w.Delete(k) }
func (w *writer) close() (int64, error) {
	if err := w.w.Close(); err != nil {
		return 0, err
	}
	st, err := os.Stat(w.path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

type cursor struct {
	r    *sstable.Reader
	it   sstable.Iterator
	key  []byte
	val  []byte
	del  bool
	clip stream.KeyGroupRange
	age  int
}

type merger struct{ cs []*cursor }

func (m *merger) add(r *sstable.Reader, clip stream.KeyGroupRange, age int) error {
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	c := &cursor{r: r, it: it, clip: clip, age: age}
	m.cs = append(m.cs, c)
	return c.step(true)
}

func (c *cursor) step(first bool) error {
	for {
		kv := c.it.Next
		if first {
			kv = c.it.First
			first = false
		}
		p := kv()
		if p == nil {
			c.key = nil
			return c.it.Error()
		}
		if !c.clip.Contains(groupOf(p.K.UserKey)) {
			continue
		}
		c.key = append(c.key[:0], p.K.UserKey...)
		c.del = p.K.Kind() == pebble.InternalKeyKindDelete
		v, _, err := p.V.Value(nil)
		c.val = append(c.val[:0], v...)
		return err
	}
}

func (m *merger) addFile(p string, clip stream.KeyGroupRange, age int) error {
	b, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	return m.addBytes(b, clip, age)
}

func (m *merger) addBytes(b []byte, clip stream.KeyGroupRange, age int) error {
	r, err := sstable.NewMemReader(b, sstable.ReaderOptions{})
	if err != nil {
		return err
	}
	return m.add(r, clip, age)
}

func (m *merger) addReader(r objstore.Reader, clip stream.KeyGroupRange, age int) error {
	b := make([]byte, r.Size())
	err := errors.Join(objstore.ReadFull(r, b, 0), r.Close())
	if err != nil {
		return err
	}
	return m.addBytes(b, clip, age)
}

func (m *merger) next() (k, v []byte, del bool, err error) {
	var best *cursor
	for _, c := range m.cs {
		if c.key == nil {
			continue
		}
		if best == nil {
			best = c
			continue
		}
		if n := bytes.Compare(c.key, best.key); n < 0 || n == 0 && c.age > best.age {
			best = c
		}
	}
	if best == nil {
		return nil, nil, false, nil
	}
	k, v, del = bytes.Clone(best.key), bytes.Clone(best.val), best.del
	for _, c := range m.cs {
		if c.key != nil && bytes.Equal(c.key, k) {
			if err := c.step(false); err != nil {
				return nil, nil, false, err
			}
		}
	}
	return k, v, del, nil
}

func (m *merger) close() error {
	var errs []error
	for _, c := range m.cs {
		errs = append(errs, c.it.Close(), c.r.Close())
	}
	return errors.Join(errs...)
}
