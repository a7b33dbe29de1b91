package objects

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir + "/objects"
}

func TestPutGetRemove(t *testing.T) {
	s, _ := open(t)
	want := []byte("a job's binary")
	for range 2 { // the same again is no error
		sum, size, err := s.Put(bytes.NewReader(want), 100)
		if err != nil || size != int64(len(want)) || sum != sha256.Sum256(want) {
			t.Fatalf("put: %x, %d bytes, %v", sum, size, err)
		}
	}
	sum := sha256.Sum256(want)
	r, size, err := s.Get(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || size != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("got %q, %d bytes, %v", got, size, err)
	}
	release := s.Hold(sum[:])
	if err := s.Remove(sum[:]); err != nil {
		t.Fatal(err)
	}
	if r, _, err := s.Get(sum[:]); err != nil {
		t.Errorf("removed though it is held: %v", err)
	} else if err := r.Close(); err != nil {
		t.Error(err)
	}
	release()
	for range 2 { // gone already is fine
		if err := s.Remove(sum[:]); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Get(sum[:]); !errors.Is(err, ErrNoObject) {
		t.Errorf("after removal: %v", err)
	}
}

// TestPutFails: too large, or a reader that breaks off: nothing is left in the folder.
func TestPutFails(t *testing.T) {
	s, dir := open(t)
	for name, r := range map[string]io.Reader{
		"too large":  strings.NewReader("12345"),
		"broken off": io.MultiReader(strings.NewReader("12"), broken{}),
	} {
		if _, _, err := s.Put(r, 4); err == nil {
			t.Errorf("%s: stored", name)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%d files left: %v, %v", len(left), left, err)
	}
	if _, _, err := s.Get([]byte("../../etc/passwd")); !errors.Is(err, ErrNoObject) {
		t.Errorf("a name that is no digest: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
