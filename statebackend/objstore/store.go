package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

var (
	// ErrExists: an object of that name is there already; it was not touched.
	ErrExists = errors.New("object exists already")
	// ErrNotFound: there is no object of that name.
	ErrNotFound = errors.New("object not found")
	// ErrUnknown: the operation failed in a way that leaves open whether it took
	// effect. Read back before acting on it (I4).
	ErrUnknown = errors.New("result unknown")
	// ErrName: the name cannot be that of an object.
	ErrName = errors.New("invalid object name")
)

// Store keeps durable immutable objects under slash-separated names (ValidName).
type Store interface {
	// Create begins an object. Nothing is visible under the name before Commit. It
	// may fail with ErrExists; the answer that counts is Commit's.
	Create(ctx context.Context, name string) (Writer, error)
	// Open opens an object for reading, or fails with ErrNotFound.
	Open(ctx context.Context, name string) (Reader, error)
	// Delete removes objects. Names that do not exist are no error; after a failure
	// the rest of the names has still been tried.
	Delete(ctx context.Context, names ...string) error
	// List yields the objects whose names begin with prefix ("" = all), in no
	// particular order; an error ends it. Objects created or deleted meanwhile may
	// or may not be seen.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// URL names the store: Parse gives the same one back, in this process or another,
	// where the scheme allows it.
	URL() string
}

// Writer writes one object. Either Commit or Abort must be called; Abort after
// Commit does nothing, so `defer w.Abort()` is right.
type Writer interface {
	io.Writer
	// Commit makes the object durable and visible. ErrExists: the name was taken.
	Commit(ctx context.Context) error
	// Abort drops what was written.
	Abort() error
}

// Reader reads one object. ReadAt may be called in parallel.
type Reader interface {
	io.ReaderAt
	io.Closer
	// Size is the object's length in bytes.
	Size() int64
}

// Part reads n bytes of r from off as if they were an object; closing it closes r. They must
// lie within r.
func Part(r Reader, off, n int64) Reader { return part{io.NewSectionReader(r, off, n), r} }

type part struct {
	*io.SectionReader
	io.Closer
}

// Info describes a listed object.
type Info struct {
	Name string
	Size int64 // bytes
}

// Importer is implemented by stores that can take a local file over without
// copying its bytes.
type Importer interface {
	// ImportFile makes the local file at path an object, durable and visible as by
	// Commit. The file stays where it is and must never be written again.
	ImportFile(ctx context.Context, path, name string) error
}

// Import stores the local file at path as an object: by the store's fast path if
// it has one, else by copying.
func Import(ctx context.Context, s Store, path, name string) error {
	if im, ok := s.(Importer); ok {
		return im.ImportFile(ctx, path, name)
	}
	return CopyFile(ctx, s, path, name)
}

// CopyFile stores a copy of the local file at path as an object.
func CopyFile(ctx context.Context, s Store, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	defer f.Close()
	return Put(ctx, s, name, f)
}

// Put stores what r yields as an object.
func Put(ctx context.Context, s Store, name string, r io.Reader) error {
	w, err := s.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	buf := make([]byte, 256<<10)
	for {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("write object %s: %w", name, err)
		}
		n, rerr := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if rerr == io.EOF {
			return w.Commit(ctx)
		}
		if rerr != nil {
			return fmt.Errorf("write object %s: read its source: %w", name, rerr)
		}
	}
}

// Get reads an object of at most limit bytes whole.
func Get(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, fmt.Errorf("read object %s: it has %d bytes, more than %d", name, r.Size(), limit)
	}
	b := make([]byte, r.Size())
	if err := ReadFull(r, b, 0); err != nil {
		return nil, fmt.Errorf("read object %s: %w", name, err)
	}
	return b, nil
}

// ReadFull fills b with the bytes at off. io.ErrUnexpectedEOF: the object ends
// before.
func ReadFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const (
	maxName    = 1024 // bytes: S3's limit
	maxSegment = 200  // bytes: file systems allow 255, a temporary name adds to it
)

// ValidName reports why name cannot be that of an object (ErrName), or nil. A name
// is one or more segments separated by '/', of letters, digits and "-_.=+@,~"; no
// segment begins with a dot, so neither "..", nor an absolute path, nor a temporary
// file can be named.
func ValidName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%w: %d bytes long, must have 1 to %d", ErrName, len(name), maxName)
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == "" || seg[0] == '.' || len(seg) > maxSegment {
			return fmt.Errorf("%w: %.64q: a segment is empty, too long or begins with a dot", ErrName, name)
		}
		if i := strings.IndexFunc(seg, badRune); i >= 0 {
			return fmt.Errorf("%w: %.64q: %q is not allowed", ErrName, name, seg[i:i+1])
		}
	}
	return nil
}

func badRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_.=+@,~", r)
}

// Parse opens the store that uri names: a path or file:///path. The folder is
// created.
func Parse(uri string) (Store, error) {
	path, err := LocalPath(uri)
	if err != nil {
		return nil, err
	}
	return OpenFS(path)
}

// LocalPath is the absolute path that uri (a path or file:///path) names.
func LocalPath(uri string) (string, error) {
	if uri == "" {
		return "", errors.New("storage location is empty: want a path or file:///path")
	}
	if strings.IndexByte(uri, 0) >= 0 {
		return "", fmt.Errorf("storage location %q holds a NUL byte", uri)
	}
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok || strings.ContainsAny(scheme, "/\\.") {
		return filepath.Abs(uri)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", fmt.Errorf("storage location: %w", err)
	}
	if u.Scheme != "file" {
		return "", fmt.Errorf("storage location %q: scheme %q is not supported: want a path or file:///path", uri, u.Scheme)
	}
	if u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return "", fmt.Errorf("storage location %q: want file:///path, without host, query or fragment", uri)
	}
	return filepath.Clean(u.Path), nil
}
