package objects

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Store keeps immutable objects by their SHA-256. Any goroutine may call it.
type Store struct {
	root *os.Root
	mu   struct {
		sync.Mutex
		held map[string]int // by digest: submissions that are about to name them
	}
}

// ErrNoObject says that the store has no object of that digest.
var ErrNoObject = errors.New("no such object in the high-availability store")

// Open opens the store below dir, which is made.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o700); err != nil {
		return nil, fmt.Errorf("make high-availability.storageDir: %w", err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "objects"))
	if err != nil {
		return nil, fmt.Errorf("open high-availability.storageDir: %w", err)
	}
	s := &Store{root: root}
	s.mu.held = map[string]int{}
	return s, nil
}

// Hold keeps an object from being removed until release is called: a submission puts
// it, or finds it there, before there is a record that names it.
func (s *Store) Hold(sum []byte) (release func()) {
	key := string(sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.held[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.held[key]--; s.mu.held[key] == 0 {
			delete(s.mu.held, key)
		}
	}
}

// Put stores what r gives and returns its digest and size. More than limit bytes
// are refused.
func (s *Store) Put(r io.Reader, limit int64) (sum [sha256.Size]byte, size int64, err error) {
	tmp := ".put-" + rand.Text()
	f, err := s.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return sum, 0, fmt.Errorf("store object: %w", err)
	}
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, h), io.LimitReader(r, limit+1))
	if err == nil && size > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	copy(sum[:], h.Sum(nil))
	if err == nil {
		err = s.root.Rename(tmp, hex.EncodeToString(sum[:]))
	}
	if err == nil {
		err = s.syncFolder()
	}
	if err != nil {
		if rerr := s.root.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return sum, 0, fmt.Errorf("store object: %w", err)
	}
	return sum, size, nil
}

func (s *Store) syncFolder() error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get returns the object and its size.
func (s *Store) Get(sum []byte) (io.ReadCloser, int64, error) {
	if len(sum) != sha256.Size {
		return nil, 0, fmt.Errorf("digest of %d bytes: %w", len(sum), ErrNoObject)
	}
	f, err := s.root.Open(hex.EncodeToString(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%x: %w", sum, ErrNoObject)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open object %x: %w", sum, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open object %x: %w", sum, err), f.Close())
	}
	return f, info.Size(), nil
}

// Remove deletes an object, unless it is held; that it is gone already is fine.
func (s *Store) Remove(sum []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.held[string(sum)] > 0 {
		return nil
	}
	err := s.root.Remove(hex.EncodeToString(sum))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete object %x: %w", sum, err)
	}
	return nil
}
