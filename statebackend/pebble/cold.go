package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage/remote"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/run"
)

// Shared is what the cold tiers of a worker have in common: one block cache, one
// file cache and one compaction slot.
type Shared struct {
	cache *pdb.Cache
	files *pdb.FileCache
	turns *turns
}

// openFiles is the number of SSTables that all tiers keep open together.
const openFiles = 512

// NewShared returns what cold tiers share, with a block cache of that many bytes.
// Close it after the last backend.
func NewShared(cacheBytes int64) *Shared {
	return &Shared{cache: pdb.NewCache(cacheBytes), files: pdb.NewFileCache(1, openFiles), turns: &turns{}}
}

// Close releases the caches.
func (s *Shared) Close() {
	s.files.Unref()
	s.cache.Unref()
}

// cold is the cold tier of one keyed subtask: a Pebble database that holds the run
// list. It is a cache: nothing of it survives the attempt.
type cold struct {
	dir    string
	shared *Shared
	gate   *gate
	// admitted: the gate was opened.
	admitted bool
	db       *pdb.DB
	iter     *pdb.Iterator // of Scan
	walk     *pdb.Iterator // of Walk
	end      []byte        // upper bound of walk
	behind   behind
}

// options are those of every cold tier. NB: FormatNewest, or the block format is
// one that cannot live in several synctest bubbles and reads slower; no value
// separation, its files cannot be ingested.
func (s *Shared) options(g *gate, dir string, b *behind) *pdb.Options {
	o := &pdb.Options{
		Cache:              s.cache,
		FileCache:          s.files,
		DisableWAL:         true,
		Merger:             merger,
		FormatMajorVersion: pdb.FormatNewest,
		Logger:             quiet{},
		FS:                 unsynced{vfs.Default, &b.closing},
		// Nothing is written through the memtable, so nothing waits for level 0; the runs
		// of a restore may all come to lie there.
		MemTableSize:          1 << 20,
		L0StopWritesThreshold: 1 << 20,
	}
	o.Experimental.RemoteStorage = remote.MakeSimpleFactory(map[remote.Locator]remote.Storage{clippedFiles: remote.NewLocalFS(dir, o.FS), behindFiles: b})
	o.Experimental.CompactionScheduler = g
	o.ApplyCompressionSettings(func() pdb.DBCompressionSettings { return pdb.DBCompressionNone })
	// What Pebble writes never leaves the host and dies with the attempt.
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 16 << 20
	}
	for i := range o.Levels {
		l := &o.Levels[i]
		// Without filters a read looks into a block of each level above that which has the
		// key. The lowest has what is nowhere else: Pebble does not ask its filter, and here
		// none is written.
		l.FilterPolicy = bloom.FilterPolicy(run.FilterBits)
		if i == len(o.Levels)-1 {
			l.FilterPolicy = pdb.NoFilterPolicy
		}
		l.IndexBlockSize = oneLevel
	}
	// With filters a run more costs a read 0.4 µs, and half as many compactions of level 0
	// write half as much.
	o.L0CompactionThreshold = 8
	return o
}

// oneLevel is a size that the index of a file of 16 MiB stays below: one look into the
// cache instead of two.
const oneLevel = 1 << 20

// open makes the database, empty. It compacts nothing before admit.
func (c *cold) open() error {
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("clear the cold tier's folder: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("make the cold tier's folder: %w", err)
	}
	g := c.shared.turns.newGate()
	db, err := pdb.Open(c.dir, c.shared.options(g, c.dir, &c.behind))
	if err != nil {
		return fmt.Errorf("open the cold tier in %s: %w", c.dir, err)
	}
	if err := db.SetCreatorID(creator); err != nil {
		return errors.Join(fmt.Errorf("open the cold tier in %s: %w", c.dir, err), db.Close())
	}
	c.db, c.gate, c.admitted = db, g, false
	return nil
}

// admit lets compactions of this database have their turn from now on.
func (c *cold) admit() {
	if !c.admitted {
		c.admitted = true
		c.gate.admit()
	}
}

// ingest adds a run's files, which must be newer than all ingested before. The
// database takes the files.
func (c *cold) ingest(ctx context.Context, files []string) error {
	if err := c.closeIter(); err != nil {
		return err
	}
	if err := c.db.Ingest(ctx, files); err != nil {
		return fmt.Errorf("ingest %d files into the cold tier: %w", len(files), err)
	}
	c.gate.debt.runs.Add(1)
	return nil
}

// Get implements table.Cold.
func (c *cold) Get(dst, key []byte) ([]byte, bool, error) {
	v, closer, err := c.db.Get(key)
	if errors.Is(err, pdb.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, corrupt(err)
	}
	dst = append(dst, v...)
	return dst, true, closer.Close()
}

// readers is how many goroutines read the keys of a GetMany. What is not in the block
// cache waits for the disk, so there are more of them than processors.
const readers = 4

// GetMany implements table.Cold.
func (c *cold) GetMany(keys [][]byte, f func(i int, value []byte, ok bool) error) error {
	type answer struct {
		value []byte
		ok    bool
		err   error
	}
	answers := make([]answer, len(keys))
	share := max(readersLeast, (len(keys)+readers-1)/readers)
	var wg sync.WaitGroup
	for from := 0; from < len(keys); from += share {
		part := answers[from:min(from+share, len(keys))]
		read := func() {
			for i := range part {
				a := &part[i]
				a.value, a.ok, a.err = c.Get(nil, keys[from+i])
			}
		}
		if from+share < len(keys) {
			wg.Go(read)
		} else {
			read()
		}
	}
	wg.Wait()
	for i, a := range answers {
		if a.err != nil {
			return a.err
		}
		if err := f(i, a.value, a.ok); err != nil {
			return err
		}
	}
	return nil
}

// readersLeast keys are read by one goroutine: fewer are not worth its start.
const readersLeast = 4

// Scan implements table.Cold. f must not use the tier.
func (c *cold) Scan(prefix []byte, f func(key, value []byte) bool) (err error) {
	if c.iter == nil {
		if c.iter, err = c.db.NewIter(nil); err != nil {
			return fmt.Errorf("read the cold tier: %w", err)
		}
	}
	c.iter.SetBounds(prefix, successor(prefix))
	for ok := c.iter.First(); ok; ok = c.iter.Next() {
		v, err := c.iter.ValueAndErr()
		if err != nil {
			return err
		}
		if !f(c.iter.Key(), v) {
			break
		}
	}
	return corrupt(c.iter.Error())
}

// successor is the smallest key above all that begin with prefix.
func successor(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// closeIter closes the iterators: they see nothing of what is ingested later.
func (c *cold) closeIter() error {
	err := c.rest()
	if c.iter == nil {
		return err
	}
	err = errors.Join(err, c.iter.Close())
	c.iter = nil
	return err
}

// Walk implements table.Cold. f must not use the tier.
func (c *cold) Walk(from, to []byte, f func(key, value []byte) bool) (err error) {
	if c.walk == nil {
		if c.walk, err = c.db.NewIter(nil); err != nil {
			return fmt.Errorf("read the cold tier: %w", err)
		}
		c.end = nil
	}
	ok := c.walk.Valid() && bytes.Equal(c.end, to) && bytes.Equal(c.walk.Key(), from)
	if !ok {
		c.end = append(c.end[:0], to...)
		c.walk.SetBounds(from, to)
		ok = c.walk.First()
	}
	for ; ok; ok = c.walk.Next() {
		v, err := c.walk.ValueAndErr()
		if err != nil {
			return corrupt(err)
		}
		if !f(c.walk.Key(), v) {
			return nil
		}
	}
	return corrupt(c.walk.Error())
}

// rest ends the walk: an open iterator keeps files on the disk.
func (c *cold) rest() error {
	if c.walk == nil {
		return nil
	}
	err := c.walk.Close()
	c.walk = nil
	return err
}

// corrupt says of Pebble's error for damaged bytes that the snapshot is: the tier
// holds its files.
func corrupt(err error) error {
	if err != nil && pdb.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", statebackend.ErrCorrupt, err)
	}
	return err
}

func (c *cold) close() error {
	if c.db == nil {
		return nil
	}
	c.gate.debt.runs.Add(closing)
	c.behind.closing.Store(true)
	err := errors.Join(c.closeIter(), c.db.Close(), os.RemoveAll(c.dir))
	c.db, c.gate = nil, nil
	return err
}

// quiet drops what Pebble logs: it has nothing to say that its errors don't.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("weir: BUG: cold tier: "+format, args...))
}
