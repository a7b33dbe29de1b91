package errstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/objstore/errstore"
)

func put(t *testing.T, s objstore.Store, name string) error {
	return objstore.Put(t.Context(), s, name, strings.NewReader("content of "+name))
}

func exists(t *testing.T, s objstore.Store, name string) bool {
	r, err := s.Open(t.Context(), name)
	if err == nil {
		r.Close()
	}
	return err == nil
}

func TestScript(t *testing.T) {
	m := objstore.NewMemory("test")
	s := errstore.New(m,
		errstore.Fault{Op: errstore.Commit, Match: "shared/*", Skip: 1, Times: 1, Kind: errstore.Applied},
		errstore.Fault{Op: errstore.Commit, Match: "lost", Kind: errstore.Lost},
		errstore.Fault{Op: errstore.Write, Match: "full", Kind: errstore.Full},
		errstore.Fault{Op: errstore.Delete, Match: "shared/2", Times: 1, Kind: errstore.Fail},
		errstore.Fault{Op: errstore.Read, Match: "shared/1", Times: 1, Kind: errstore.Truncate},
		errstore.Fault{Op: errstore.Read, Match: "shared/1", Times: 1, Kind: errstore.Flip},
	)
	if err := put(t, s, "shared/1"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "shared/2"); !errors.Is(err, objstore.ErrUnknown) || !exists(t, m, "shared/2") {
		t.Fatal(err)
	}
	if err := put(t, s, "shared/3"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "lost"); !errors.Is(err, objstore.ErrUnknown) || exists(t, m, "lost") {
		t.Fatal(err)
	}
	if err := put(t, s, "full"); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, objstore.ErrUnknown) || exists(t, m, "full") {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "shared/2", "shared/3"); !errors.Is(err, errstore.ErrInjected) {
		t.Fatal(err)
	}
	if !exists(t, m, "shared/2") || exists(t, m, "shared/3") {
		t.Fatal("the rest of the names was not deleted")
	}
	if _, err := objstore.Get(t.Context(), s, "shared/1", 100); err == nil {
		t.Fatal("truncated read succeeded")
	}
	for i, same := range []bool{false, true} {
		b, err := objstore.Get(t.Context(), s, "shared/1", 100)
		if err != nil || (string(b) == "content of shared/1") != same {
			t.Fatalf("read %d: %q, %v", i, b, err)
		}
	}
	want := []string{"commit shared/2 applied", "commit lost lost", "write full full", "delete shared/2 fail", "read shared/1 truncate", "read shared/1 flip"}
	if got := s.Injected(); !slices.Equal(got, want) {
		t.Fatalf("injected %q", got)
	}
}

func TestSlowRunsOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := errstore.New(objstore.NewMemory("test"), errstore.Fault{Op: errstore.Commit, Kind: errstore.Slow, Delay: time.Hour})
		start := time.Now()
		if err := put(t, s, "x"); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Hour {
			t.Fatal(d)
		}
	})
}

func TestSameSeedSameFaults(t *testing.T) {
	trace := func(seed uint64) string {
		s := errstore.Seeded(objstore.NewMemory("test"), seed, errstore.Rates{errstore.Fail: 0.1, errstore.Applied: 0.2, errstore.Lost: 0.1, errstore.Full: 0.1})
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintln(&b, put(t, s, fmt.Sprintf("x%d", i)))
		}
		if len(s.Injected()) == 0 {
			t.Fatal("no fault")
		}
		return b.String() + fmt.Sprint(s.Injected())
	}
	if first, again := trace(1), trace(1); first != again {
		t.Fatal("the same seed gave two traces")
	}
	if trace(1) == trace(2) {
		t.Fatal("the seed does not matter")
	}
}
