package objstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// FS is a Store in a folder of a file system that several processes, or hosts, may
// share. An object is a file below the folder; while it is written it has a
// temporary name (tempPrefix) in its final folder, which List does not show.
//
// The folder is opened once, through os.Root: no name and no symbolic link leads
// out of it.
type FS struct {
	root *os.Root
	path string // absolute

	mu    sync.Mutex
	known map[string]bool // guarded by mu: folders that exist durably
}

// tempPrefix begins the names of files that are not objects yet. No object's name
// has a segment that begins with a dot.
const tempPrefix = ".tmp-"

// maxTries bounds how often a folder is made again because somebody pruned it in
// between: each try needs another prune at the same moment.
const maxTries = 100

// OpenFS opens the store in the folder at path, which is created.
func OpenFS(path string) (*FS, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := mkdirDurable(path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return openRoot(path)
}

func openRoot(path string) (*FS, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &FS{root: root, path: path, known: map[string]bool{".": true}}, nil
}

// OpenExisting opens the store that uri names, as Parse does, but does not create its
// folder: ErrNotFound says that it isn't there. Close it in the end.
func OpenExisting(uri string) (*FS, error) {
	path, err := LocalPath(uri)
	if err != nil {
		return nil, err
	}
	s, err := openRoot(path)
	if err != nil {
		return nil, fsErrorOf(err)
	}
	return s, nil
}

// fsErrorOf marks err with what fsError makes of it.
func fsErrorOf(err error) error {
	if marked := fsError(err); marked != err {
		return fmt.Errorf("%w: %w", marked, err)
	}
	return err
}

// Close releases the folder. Objects that are open stay readable.
func (s *FS) Close() error { return s.root.Close() }

// URL implements Store.
func (s *FS) URL() string { return (&url.URL{Scheme: "file", Path: s.path}).String() }

// Path is the folder, absolute.
func (s *FS) Path() string { return s.path }

// Create implements Store.
func (s *FS) Create(ctx context.Context, name string) (Writer, error) {
	if err := begin(ctx, "create", name); err != nil {
		return nil, err
	}
	if _, err := s.root.Lstat(name); err == nil {
		return nil, fmt.Errorf("create object %s: %w", name, ErrExists)
	}
	dir := path.Dir(name)
	temp := path.Join(dir, tempPrefix+rand.Text())
	var f *os.File
	err := s.inFolder(dir, func() (err error) {
		f, err = s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create object %s: %w", name, err)
	}
	return &fsWriter{s: s, name: name, temp: temp, f: f}, nil
}

// inFolder runs f, which needs folder dir; if the folder has just been removed
// (Delete prunes empty ones) it is made again.
func (s *FS) inFolder(dir string, f func() error) error {
	for try := 0; ; try++ {
		err := s.mkdir(dir)
		if err == nil {
			err = f()
		}
		if !errors.Is(err, fs.ErrNotExist) || try == maxTries {
			return err
		}
		s.forget(dir)
	}
}

// mkdir makes folder dir of the store durably.
func (s *FS) mkdir(dir string) error {
	s.mu.Lock()
	known := s.known[dir]
	s.mu.Unlock()
	if known {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.mkdir(parent); err != nil {
		return err
	}
	err := s.root.Mkdir(dir, 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if errors.Is(err, fs.ErrNotExist) {
			s.forget(parent)
		}
		return err
	}
	// Also when it exists: who made it may not have synced yet.
	if err := s.syncFolder(parent); err != nil {
		return err
	}
	s.mu.Lock()
	s.known[dir] = true
	s.mu.Unlock()
	return nil
}

// forget drops dir, and what is above it, from the folders known to exist.
func (s *FS) forget(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; dir != "."; dir = path.Dir(dir) {
		delete(s.known, dir)
	}
}

func (s *FS) syncFolder(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// fsWriter writes a temporary file.
type fsWriter struct {
	s          *FS
	name, temp string
	f          *os.File // nil once committed or aborted
}

func (w *fsWriter) Write(p []byte) (int, error) {
	if w.f == nil {
		return 0, errEnded(w.name)
	}
	n, err := w.f.Write(p)
	if err != nil {
		return n, fmt.Errorf("write object %s: %w", w.name, err)
	}
	return n, nil
}

func (w *fsWriter) Commit(ctx context.Context) error {
	if w.f == nil {
		return errEnded(w.name)
	}
	if err := begin(ctx, "commit", w.name); err != nil {
		return err
	}
	err := w.f.Sync()
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	w.f = nil
	if err != nil {
		w.s.root.Remove(w.temp)
		return fmt.Errorf("commit object %s: %w", w.name, err)
	}
	if err := w.s.publish(w.temp, w.name); err != nil {
		w.s.root.Remove(w.temp)
		return fmt.Errorf("commit object %s: %w", w.name, err)
	}
	return nil
}

func (w *fsWriter) Abort() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	if rerr := w.s.root.Remove(w.temp); err == nil {
		err = rerr
	}
	if err != nil {
		return fmt.Errorf("abort object %s: %w", w.name, err)
	}
	return nil
}

// publish gives the durable file temp its final name, unless that is taken, and
// makes the name durable.
func (s *FS) publish(temp, name string) error {
	dir, err := s.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := renameNoReplace(dir, path.Base(temp), path.Base(name)); err != nil {
		return renameError(err)
	}
	return syncPublished(dir, path.Base(name))
}

// renameError is fsError for an operation that a device or a server may have done
// although it says that it failed.
func renameError(err error) error {
	for _, e := range []error{syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
	}
	return fsError(err)
}

// syncPublished makes a new name in dir durable. If that fails, the object is
// visible but may not be after a power cut, and who reads back must not take it for
// durable: it is taken away again.
func syncPublished(dir *os.File, base string) error {
	if err := dir.Sync(); err != nil {
		_ = unlinkFile(dir, base)
		return fmt.Errorf("%w: its folder cannot be made durable: %w", ErrUnknown, err)
	}
	return nil
}

// fsError turns errors of the file system into those of the contract.
func fsError(err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return ErrNotFound
	}
	return err
}

// ImportFile implements Importer: a hard link where the file lies on the store's
// device, else a copy.
func (s *FS) ImportFile(ctx context.Context, local, name string) error {
	if err := begin(ctx, "import", name); err != nil {
		return err
	}
	if err := s.linkIn(local, name); err == nil || !cannotLink(err) {
		if err != nil {
			return fmt.Errorf("import object %s: %w", name, err)
		}
		return nil
	}
	return CopyFile(ctx, s, local, name)
}

func (s *FS) linkIn(local, name string) error {
	f, err := os.Open(local)
	if err != nil {
		return err // of the source: its ErrNotExist is not the object's
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if _, err := s.root.Lstat(name); err == nil {
		return ErrExists
	}
	dirName := path.Dir(name)
	var dir *os.File
	err = s.inFolder(dirName, func() (err error) {
		if dir, err = s.root.Open(dirName); err != nil {
			return err
		}
		if err = linkFile(local, dir, path.Base(name)); err != nil {
			dir.Close()
		}
		return err
	})
	if err != nil {
		if cannotLink(err) {
			return err
		}
		return renameError(err)
	}
	defer dir.Close()
	return syncPublished(dir, path.Base(name))
}

// cannotLink reports whether err says that a hard link is impossible but a copy may
// not be.
func cannotLink(err error) bool {
	for _, e := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Open implements Store.
func (s *FS) Open(ctx context.Context, name string) (Reader, error) {
	if err := begin(ctx, "open", name); err != nil {
		return nil, err
	}
	// Not blocking: a FIFO in the folder must not hang who opens it.
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open object %s: %w", name, fsError(err))
	}
	r, err := newFileReader(f)
	if err != nil {
		return nil, fmt.Errorf("open object %s: %w", name, err)
	}
	return r, nil
}

// OpenFile opens a local file as a Reader.
func OpenFile(path string) (Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return newFileReader(f)
}

type fileReader struct {
	*os.File
	size int64
}

func newFileReader(f *os.File) (Reader, error) {
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is not a regular file", ErrNotFound)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return fileReader{f, st.Size()}, nil
}

func (r fileReader) Size() int64 { return r.size }

// Delete implements Store. Folders that become empty are removed.
func (s *FS) Delete(ctx context.Context, names ...string) error {
	var errs []error
	for _, name := range names {
		if err := begin(ctx, "delete", name); err != nil {
			errs = append(errs, err)
			continue
		}
		err := s.root.Remove(name)
		if err != nil && fsError(err) != ErrNotFound {
			errs = append(errs, fmt.Errorf("delete object %s: %w", name, err))
			continue
		}
		s.prune(path.Dir(name))
	}
	return errors.Join(errs...)
}

// prune removes dir and the folders above it as far as they are empty.
func (s *FS) prune(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		st, err := s.root.Lstat(dir)
		if err == nil && !st.IsDir() {
			return
		}
		s.forget(dir)
		if err == nil && s.root.Remove(dir) != nil {
			return // not empty
		}
	}
}

// RemoveFolder removes the folder that the store is, if nothing is in it. The store is of
// no use afterwards.
func (s *FS) RemoveFolder() error {
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// List implements Store.
func (s *FS) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		err := s.walk(ctx, prefix, func(name string, st fs.FileInfo) bool {
			if strings.HasPrefix(path.Base(name), ".") {
				return true
			}
			return yield(Info{name, st.Size()}, nil)
		})
		if err != nil {
			yield(Info{}, fmt.Errorf("list objects %q: %w", prefix, err))
		}
	}
}

// walk calls f for each regular file whose name begins with prefix, until f returns
// false.
func (s *FS) walk(ctx context.Context, prefix string, f func(string, fs.FileInfo) bool) error {
	start := "."
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		start = prefix[:i]
		if err := ValidName(start); err != nil {
			return err
		}
	}
	return fs.WalkDir(s.root.FS(), start, func(name string, d fs.DirEntry, err error) error {
		if cerr := context.Cause(ctx); cerr != nil {
			return cerr
		}
		if err != nil {
			if fsError(err) == ErrNotFound {
				return nil // deleted meanwhile
			}
			return err
		}
		if d.IsDir() {
			below := name + "/"
			if name != "." && !strings.HasPrefix(below, prefix) && !strings.HasPrefix(prefix, below) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !strings.HasPrefix(name, prefix) {
			return nil
		}
		st, err := d.Info()
		if err != nil {
			if fsError(err) == ErrNotFound {
				return nil
			}
			return err
		}
		if !f(name, st) {
			return fs.SkipAll
		}
		return nil
	})
}

// Sweep removes temporary files below prefix that were last written before the
// given time: what writers left that died before Commit or Abort. A live writer's
// file that it removes makes that writer's Commit fail.
func (s *FS) Sweep(ctx context.Context, prefix string, before time.Time) (removed int, err error) {
	var old []string
	err = s.walk(ctx, prefix, func(name string, st fs.FileInfo) bool {
		if strings.HasPrefix(path.Base(name), tempPrefix) && st.ModTime().Before(before) {
			old = append(old, name)
		}
		return true
	})
	errs := []error{err}
	for _, name := range old {
		if err := s.root.Remove(name); err != nil && fsError(err) != ErrNotFound {
			errs = append(errs, err)
			continue
		}
		removed++
		s.prune(path.Dir(name))
	}
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("sweep temporary files %q: %w", prefix, err)
	}
	return removed, nil
}

// mkdirDurable makes the folder at path and those above it, each synced into its
// parent.
func mkdirDurable(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if st, serr := os.Stat(path); serr != nil {
			return serr
		} else if !st.IsDir() {
			return fmt.Errorf("%s is not a folder", path)
		}
		return nil
	}
	parent := filepath.Dir(path)
	if errors.Is(err, fs.ErrNotExist) && parent != path {
		if err := mkdirDurable(parent); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o755)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	d, err := os.Open(parent)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
