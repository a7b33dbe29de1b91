package objstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/objstore/errstore"
	"github.com/weirstream/weir/statebackend/objstore/storetest"
)

func openFS(t *testing.T) *objstore.FS {
	s, err := objstore.OpenFS(filepath.Join(t.TempDir(), "deep", "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Run("fs", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) objstore.Store { return openFS(t) })
	})
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) objstore.Store { return objstore.NewMemory("test") })
	})
	t.Run("errstore without faults", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) objstore.Store { return errstore.New(objstore.NewMemory("test")) })
	})
}

func TestEmptyFoldersAreRemoved(t *testing.T) {
	s := openFS(t)
	if err := objstore.Put(t.Context(), s, "job/chk-1/_metadata", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "job/chk-1/_metadata"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.Path()); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	if err := objstore.Put(t.Context(), s, "job/chk-1/_metadata", strings.NewReader("x")); err != nil {
		t.Fatalf("after pruning: %v", err)
	}
}

func TestSymbolicLinksDoNotLeadOut(t *testing.T) {
	s := openFS(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(s.Path(), "way")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "way/secret"); err == nil {
		t.Fatal("a symbolic link led out of the store")
	}
	if _, err := s.Create(t.Context(), "way/new"); err == nil {
		t.Fatal("created through a symbolic link")
	}
	if err := s.Delete(t.Context(), "way/secret"); err == nil {
		t.Fatal("deleted through a symbolic link")
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Fatal(err)
	}
}

func TestImportLinks(t *testing.T) {
	s := openFS(t)
	local := filepath.Join(filepath.Dir(s.Path()), "run.sst")
	if err := os.WriteFile(local, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Import(t.Context(), s, local, "shared/run.sst"); err != nil {
		t.Fatal(err)
	}
	a, err := os.Stat(local)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(s.Path(), "shared/run.sst"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) {
		t.Fatal("copied although the file is on the store's device")
	}
}

func TestSweepRemovesOldTemporaries(t *testing.T) {
	s := openFS(t)
	w, err := s.Create(t.Context(), "a/b/c")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	if n, err := s.Sweep(t.Context(), "", time.Unix(0, 0)); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Sweep(t.Context(), "a/", time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := w.Commit(t.Context()); err == nil {
		t.Fatal("commit of a swept file succeeded")
	}
	if left, err := os.ReadDir(s.Path()); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	real, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"file://" + dir + "/a":          dir + "/a",
		"file://localhost" + dir + "/a": dir + "/a",
		"file:" + dir + "/a":            dir + "/a",
		dir + "/b/c":                    dir + "/b/c",
		"rel/x":                         real + "/rel/x",
		"./with:colon":                  real + "/with:colon",
		"file://" + dir + "/sp%20ace":   dir + "/sp ace",
	} {
		s, err := objstore.Parse(uri)
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		if got := s.(*objstore.FS).Path(); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
		again, err := objstore.Parse(s.URL())
		if err != nil || again.URL() != s.URL() {
			t.Errorf("%s: its URL %s does not parse: %v", uri, s.URL(), err)
		}
	}
	if err := os.WriteFile("file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"", "s3://bucket/x", "hdfs://h/x", "file://host/x", "file:rel", "file:///x?y", "memory:x", "a\x00b", dir + "/file", dir + "/file/below"} {
		if _, err := objstore.Parse(uri); err == nil {
			t.Errorf("%q parsed", uri)
		}
	}
}

func TestFIFOIsNoObject(t *testing.T) {
	s := openFS(t)
	if err := mkfifo(filepath.Join(s.Path(), "fifo")); err != nil {
		t.Skip(err)
	}
	if _, err := s.Open(t.Context(), "fifo"); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatal(err)
	}
	for i, err := range s.List(t.Context(), "") {
		t.Fatal(i, err)
	}
}
