package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/statebackend/objstore"
)

// Run tests a store; open returns an empty one.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s objstore.Store)
	}{
		{"what is committed is read back", readBack},
		{"nothing is visible before commit", invisible},
		{"a name is written once", once},
		{"one of many wins a name", race},
		{"delete is idempotent", deletes},
		{"list by prefix", lists},
		{"folders come and go", folders},
		{"import", imports},
		{"bad names are refused", badNames},
		{"a cancelled context does nothing", cancelled},
		{"an open reader outlives delete", outlives},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s objstore.Store, name string, b []byte) {
	t.Helper()
	if err := objstore.Put(t.Context(), s, name, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, s objstore.Store, prefix string) (found []string) {
	t.Helper()
	for i, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, i.Name)
	}
	slices.Sort(found)
	return found
}

func want(t *testing.T, s objstore.Store, prefix string, want ...string) {
	t.Helper()
	if got := names(t, s, prefix); !slices.Equal(got, want) {
		t.Fatalf("list %q: got %q, want %q", prefix, got, want)
	}
}

func readBack(t *testing.T, s objstore.Store) {
	for _, size := range []int{0, 1, 4096, 1<<20 + 7} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i * 7)
		}
		name := fmt.Sprintf("job/shared/run-%d", size)
		put(t, s, name, b)
		got, err := objstore.Get(t.Context(), s, name, 1<<21)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%s: %d bytes, %v", name, len(got), err)
		}
		r, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() != int64(size) {
			t.Fatalf("size %d, want %d", r.Size(), size)
		}
		if size > 100 {
			part := make([]byte, 50)
			if err := objstore.ReadFull(r, part, 40); err != nil || !bytes.Equal(part, b[40:90]) {
				t.Fatalf("part: %v", err)
			}
		}
		if err := objstore.ReadFull(r, make([]byte, 2), int64(size)-1+int64(btoi(size == 0))); err == nil {
			t.Fatal("read beyond the end succeeded")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := objstore.Get(t.Context(), s, "job/shared/run-4096", 4095); err == nil {
		t.Fatal("Get beyond its limit succeeded")
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func invisible(t *testing.T, s objstore.Store) {
	w, err := s.Create(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("half"))
	if _, err := s.Open(t.Context(), "a/b"); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("open before commit: %v", err)
	}
	want(t, s, "")
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err == nil {
		t.Fatal("commit after abort succeeded")
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Fatal("write after abort succeeded")
	}
	want(t, s, "")
	put(t, s, "a/b", []byte("whole"))
	want(t, s, "", "a/b")
}

func once(t *testing.T, s objstore.Store) {
	put(t, s, "x", []byte("first"))
	err := objstore.Put(t.Context(), s, "x", strings.NewReader("second"))
	if !errors.Is(err, objstore.ErrExists) {
		t.Fatalf("second put: %v", err)
	}
	b, err := objstore.Get(t.Context(), s, "x", 100)
	if err != nil || string(b) != "first" {
		t.Fatalf("%q, %v", b, err)
	}
}

func race(t *testing.T, s objstore.Store) {
	var won atomic.Int32
	var wg sync.WaitGroup
	var ws []objstore.Writer
	for i := range 8 {
		w, err := s.Create(t.Context(), "d/x")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "%d", i)
		ws = append(ws, w)
	}
	var winner atomic.Int32
	for i, w := range ws {
		wg.Go(func() {
			switch err := w.Commit(t.Context()); {
			case err == nil:
				won.Add(1)
				winner.Store(int32(i))
			case !errors.Is(err, objstore.ErrExists):
				t.Errorf("commit: %v", err)
			}
		})
	}
	wg.Wait()
	b, err := objstore.Get(t.Context(), s, "d/x", 100)
	if won.Load() != 1 || err != nil || string(b) != fmt.Sprint(winner.Load()) {
		t.Fatalf("%d won; content %q, winner %d, %v", won.Load(), b, winner.Load(), err)
	}
	want(t, s, "", "d/x")
}

func deletes(t *testing.T, s objstore.Store) {
	put(t, s, "a/x", nil)
	put(t, s, "a/y", nil)
	if err := s.Delete(t.Context(), "a/x", "a/none", "none/none/none", "a/y", "a/x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, s, "")
	if _, err := s.Open(t.Context(), "a/x"); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatal(err)
	}
	put(t, s, "f", nil)
	if _, err := s.Open(t.Context(), "f/below"); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("open below an object: %v", err)
	}
	if err := s.Delete(t.Context(), "f/below"); err != nil {
		t.Fatalf("delete below an object: %v", err)
	}
}

func lists(t *testing.T, s objstore.Store) {
	for _, n := range []string{"j/shared/r1", "j/shared/r2", "j/chk-1/_metadata", "j/chk-10/_metadata", "j2/x"} {
		put(t, s, n, []byte(n))
	}
	want(t, s, "j/shared/", "j/shared/r1", "j/shared/r2")
	want(t, s, "j/chk-1", "j/chk-1/_metadata", "j/chk-10/_metadata")
	want(t, s, "j/chk-1/", "j/chk-1/_metadata")
	want(t, s, "j", "j/chk-1/_metadata", "j/chk-10/_metadata", "j/shared/r1", "j/shared/r2", "j2/x")
	want(t, s, "none/")
	want(t, s, "j/shared/r1", "j/shared/r1")
	for i, err := range s.List(t.Context(), "j/shared/r1") {
		if err != nil || i.Size != int64(len(i.Name)) {
			t.Fatal(i, err)
		}
	}
	n := 0
	for range s.List(t.Context(), "") {
		n++
		break
	}
	if n != 1 {
		t.Fatal(n)
	}
}

func folders(t *testing.T, s objstore.Store) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				name := fmt.Sprintf("p/q/r/x%d", i)
				if err := objstore.Put(t.Context(), s, name, strings.NewReader("x")); err != nil {
					t.Error(err)
				}
				if err := s.Delete(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want(t, s, "")
}

func imports(t *testing.T, s objstore.Store) {
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Import(t.Context(), s, local, "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Import(t.Context(), s, local, "a/b/c"); !errors.Is(err, objstore.ErrExists) {
		t.Fatalf("second import: %v", err)
	}
	if err := os.Remove(local); err != nil {
		t.Fatal(err)
	}
	b, err := objstore.Get(t.Context(), s, "a/b/c", 100)
	if err != nil || string(b) != "content" {
		t.Fatalf("%q, %v", b, err)
	}
	err = objstore.Import(t.Context(), s, local, "a/b/d")
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("import of a missing file: %v", err)
	}
	want(t, s, "", "a/b/c")
}

func badNames(t *testing.T, s objstore.Store) {
	for _, n := range []string{"", "/", "/etc/passwd", "a//b", "a/", "..", "../x", "a/../../x", "a/./b", ".x", "a/.tmp-x",
		"a\x00b", "a\\b", "a b", "a%2f..", "a:b", strings.Repeat("x", 300), strings.Repeat("a/", 600) + "a", "ä", "a\n"} {
		if _, err := s.Create(t.Context(), n); !errors.Is(err, objstore.ErrName) {
			t.Errorf("create %.40q: %v", n, err)
		}
		if _, err := s.Open(t.Context(), n); !errors.Is(err, objstore.ErrName) {
			t.Errorf("open %.40q: %v", n, err)
		}
		if err := s.Delete(t.Context(), n); !errors.Is(err, objstore.ErrName) {
			t.Errorf("delete %.40q: %v", n, err)
		}
	}
}

func cancelled(t *testing.T, s objstore.Store) {
	put(t, s, "x", nil)
	w, err := s.Create(t.Context(), "y")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Create(ctx, "z"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Open(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Delete(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	want(t, s, "", "x")
}

func outlives(t *testing.T, s objstore.Store) {
	put(t, s, "x", []byte("content"))
	r, err := s.Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := s.Delete(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	// On S3 such a reader may fail; it must not read something else.
	b := make([]byte, 7)
	if err := objstore.ReadFull(r, b, 0); err == nil && string(b) != "content" {
		t.Fatalf("%q", b)
	}
}
