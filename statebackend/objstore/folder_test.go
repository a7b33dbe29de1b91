package objstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRemoveFolder: only when nothing is in it, and twice is once.
func TestRemoveFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "job")
	s, err := OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := Put(t.Context(), s, "shared/x", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveFolder(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "shared", "x")); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), "shared/x"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.RemoveFolder(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
